//! `replay` on the command line prints lines of JSON to a pipe, which may be closed at any point, and clear error messages.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tests::{DataDir, Local, Person, World, annals_local};
use uuid::Uuid;

use super::{PATIENCE, assert_streams_in_order, customer, numbers};

/// The command on a world's database, which is in the tests' cluster.
pub(super) fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = annals_local(&DataDir::fresh().0);
    command
        .env("DATABASE_URL", &world.address)
        .arg("replay")
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end on another thread, because this runtime must keep serving connections.
pub(super) async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn lines(output: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(output).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(super) fn stderr_of(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap().trim()
}

pub(super) async fn position(world: &World, name: &str) -> i64 {
    let sql = "select coalesce(max(position), -1) from annals.checkpoints where name = $1";
    world.owner().await.query_one(sql, &[&name]).await.unwrap().get(0)
}

#[tokio::test]
async fn events_are_printed_as_lines_of_json_and_a_second_run_continues() {
    let (world, staff) = (World::new().await, Person::staff());
    let other = Person::staff().in_tenant(Uuid::from_u128(7));
    customer(&world, &staff, "C-1", 3).await;
    customer(&world, &other, "C-2", 1).await;
    let listed = world.all_pages(&staff, "/events?order=asc").await;
    let arguments = [
        "--checkpoint",
        "daily report",
        "--tenant",
        &Uuid::nil().to_string(),
        "--batch-size",
        "3",
    ];

    let first = run(command(&world, &arguments)).await;
    assert!(first.status.success(), "{}", stderr_of(&first));
    assert_eq!(lines(&first.stdout), listed);
    let (one_line, last) = (stderr_of(&first), listed[3]["event_number"].as_i64().unwrap());
    assert!(
        one_line.starts_with("4 events in ") && one_line.lines().count() == 1,
        "{one_line}"
    );
    assert!(position(&world, "daily report").await >= last);

    customer(&world, &staff, "C-3", 0).await;
    let second = run(command(&world, &arguments)).await;
    assert_eq!(
        lines(&second.stdout),
        world.all_pages(&staff, "/events?order=asc").await[4..]
    );
    let all = run(command(&world, &["--type", "customer.registered", "--type", "order.*"])).await;
    let ids: Vec<Value> = lines(&all.stdout)
        .iter()
        .map(|event| event["aggregate_id"].clone())
        .collect();
    assert_eq!(ids, ["C-1", "C-2", "C-3"]);
    let now = chrono::Utc::now().to_rfc3339();
    let none = run(command(&world, &["--from", &now])).await;
    assert!(none.status.success() && none.stdout.is_empty(), "{}", stderr_of(&none));
    let until_now = run(command(&world, &["--to", &now])).await;
    assert_eq!(lines(&until_now.stdout).len(), 7);
}

#[tokio::test]
async fn errors_are_reported_and_no_event_is_printed() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 0).await;
    let taken = ["--checkpoint", "mine", "--type", "customer.*"];
    assert!(run(command(&world, &taken)).await.status.success());
    for (arguments, expected) in [
        (&["--from", "yesterday"][..], "RFC 3339"),
        (&["--to", "2026-02-30T00:00:00Z"], "RFC 3339"),
        (
            &["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
            "the period ends before it begins",
        ),
        (&["--type", "custmer.*"], "the catalog has no event type custmer.*"),
        (&["--batch-size", "0"], "from 1 to 10000"),
        (&["--batch-size", "10001"], "from 1 to 10000"),
        (&["--batch-size", "many"], "from 1 to 10000"),
        (&["--tenant", "acme"], "acme"),
        (&["--checkpoint", "sweep"], "must not be sweep"),
        (&["--checkpoint", ""], "must not be empty"),
        (&["--checkpoint", "a\u{202E}b"], "printable"),
        (
            &["--checkpoint", "mine"],
            "checkpoint_taken: the checkpoint mine belongs to a consumer that reads",
        ),
        (&["--workers", "2"], "--queue"),
        (&["--workers", "0", "--queue", "https://sqs.example.com/q"], "--workers"),
    ] {
        let output = run(command(&world, arguments)).await;
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            stderr_of(&output).contains(expected),
            "{arguments:?}: {}",
            stderr_of(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Reads a number of whole lines, and leaves the rest in the pipe.
fn read_lines(child: &mut Child, count: usize) -> (Vec<Value>, BufReader<std::process::ChildStdout>) {
    let mut stdout = BufReader::with_capacity(1, child.stdout.take().unwrap());
    let mut read = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        read.push(serde_json::from_str(&line).unwrap());
    }
    (read, stdout)
}

/// More events than a pipe can hold, so that the command is still running when its reader stops.
async fn more_than_a_pipe_holds(world: &World, staff: &Person) {
    for stream in 0..10 {
        customer(world, staff, &format!("C-{stream}"), 99).await;
    }
}

fn all_numbers(runs: &[Vec<Value>]) -> Vec<i64> {
    let distinct: BTreeSet<i64> = runs.iter().flat_map(|run| numbers(run)).collect();
    distinct.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn if_the_reader_closes_the_pipe_the_command_ends_quietly_without_moving_the_checkpoint() {
    let (world, staff) = (World::new().await, Person::staff());
    more_than_a_pipe_holds(&world, &staff).await;
    let arguments = ["--checkpoint", "head", "--batch-size", "50"];
    let mut child = command(&world, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (read, stdout) = read_lines(&mut child, 60);
    drop(stdout);
    let ended = child.wait_with_output().unwrap();
    assert!(
        !ended.status.success() && ended.stderr.is_empty(),
        "{}",
        stderr_of(&ended)
    );
    let reached = position(&world, "head").await;
    let all = lines(&run(command(&world, &[])).await.stdout);
    assert!(
        reached < *numbers(&all).last().unwrap(),
        "the run did not reach the end"
    );

    let rest = lines(&run(command(&world, &arguments)).await.stdout);
    assert!(
        numbers(&rest).iter().all(|number| *number > reached),
        "what was delivered is not delivered again"
    );
    // The pipe accepted more than the reader read; what was left in it is lost with the reader.
    assert_eq!(
        numbers(&rest).len(),
        numbers(&all).iter().filter(|number| **number > reached).count()
    );
    assert_eq!(numbers(&read), numbers(&all)[..60]);
}

/// The command ends on Ctrl-C even while it waits for a reader that no longer reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_command_even_if_its_output_is_not_read() {
    let (world, staff) = (World::new().await, Person::staff());
    more_than_a_pipe_holds(&world, &staff).await;
    let mut child = command(&world, &["--checkpoint", "stalled"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (_read, _stdout) = read_lines(&mut child, 1);
    let asked = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(asked.unwrap().success());
    let asked = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if asked.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(position(&world, "stalled").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_runs_of_a_repeatedly_killed_command_together_have_every_event_and_each_stream_in_order() {
    let (world, staff) = (World::new().await, Person::staff());
    more_than_a_pipe_holds(&world, &staff).await;
    let arguments = ["--checkpoint", "killed", "--batch-size", "30"];
    let mut runs = Vec::new();
    for count in [1, 45, 200] {
        let before = position(&world, "killed").await;
        let mut child = command(&world, &arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (mut read, mut stdout) = read_lines(&mut child, count);
        child.kill().unwrap();
        child.wait().unwrap();
        // What is still in the pipe counts as delivered; its last line may be incomplete.
        let mut left = String::new();
        stdout.read_to_string(&mut left).unwrap();
        let whole = left.rsplit_once('\n').map_or("", |(whole, _)| whole);
        read.extend(lines(whole.as_bytes()));
        let reached = position(&world, "killed").await;
        assert!(
            numbers(&read).iter().all(|number| *number > before),
            "a batch before the checkpoint is not repeated"
        );
        assert!(
            numbers(&read).last().is_some_and(|last| *last >= reached),
            "the checkpoint does not pass undelivered events"
        );
        runs.push(read);
    }
    let last = run(command(&world, &arguments)).await;
    assert!(last.status.success(), "{}", stderr_of(&last));
    runs.push(lines(&last.stdout));
    let all = lines(&run(command(&world, &[])).await.stdout);
    assert_eq!(all_numbers(&runs), numbers(&all));
    assert!(
        runs.iter().all(|run| run.len() < all.len()),
        "every run was cut off or continued"
    );
    for run in &runs {
        assert!(numbers(run).is_sorted_by(|one, next| one < next));
        assert_streams_in_order(run);
    }
}

/// While a server runs, the command reads from the server's cluster. Otherwise it starts the cluster itself, and stops it.
#[tokio::test(flavor = "multi_thread")]
async fn the_private_cluster_is_read_with_and_without_a_running_server() {
    let data_dir = DataDir::fresh();
    let mut local = Local::start(&data_dir.0);
    let event = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"name": "Ada"}});
    local.post(&reqwest::Client::new(), "/events", &event, 201).await;
    let replay = || {
        let mut command = annals_local(&data_dir.0);
        command.args(["replay", "--checkpoint", "both"]);
        command
    };
    let beside = run(replay()).await;
    assert!(beside.status.success(), "{}", stderr_of(&beside));
    assert_eq!(lines(&beside.stdout)[0]["aggregate_id"], "C-1");
    let later = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"phone": "1"}});
    local.post(&reqwest::Client::new(), "/events", &later, 201).await;
    assert!(local.stop(), "the server continues until it is stopped");

    let alone = run(replay()).await;
    assert_eq!(lines(&alone.stdout)[0]["aggregate_version"], 2, "{}", stderr_of(&alone));
    assert!(data_dir.postmaster().is_none(), "the cluster is stopped with it");
}
