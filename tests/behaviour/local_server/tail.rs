//! `events tail` prints every event as it is recorded, in order, and ends on Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{DataDir, Local, Person, World, annals_local};
use tokio_postgres::Client;

/// A limit that only a failure reaches.
const LIMIT: Duration = Duration::from_secs(60);

/// The running command. It is ended with this value, also when a test fails.
struct Tail {
    process: Child,
    lines: Receiver<String>,
    _stderr: BufReader<ChildStderr>,
}

impl Tail {
    /// Starts it, and waits until it follows the log.
    fn start(mut command: Command, arguments: &[&str]) -> Self {
        command.args(["events", "tail"]).args(arguments).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = read_lines(process.stdout.take().unwrap());
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        stderr.read_line(&mut said).unwrap();
        assert!(said.starts_with("following the log after event number "), "{said}");
        Self {
            process,
            lines,
            _stderr: stderr,
        }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("another line")
    }

    fn next_json(&self) -> Value {
        serde_json::from_str(&self.next()).unwrap()
    }

    /// Ends it as Ctrl-C does; returns its exit code and the lines that were left.
    fn interrupt(&mut self) -> (Option<i32>, Vec<String>) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let code = self.process.wait().unwrap().code();
        (code, self.lines.iter().collect())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The lines, read on a thread, so that waiting for one has a limit.
fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let _nobody_waits = sender.send(line.unwrap());
        }
    });
    lines
}

fn on(world: &World) -> Command {
    let mut command = annals_local(&DataDir::fresh().0);
    command.env("DATABASE_URL", &world.address);
    command
}

/// Appends by SQL in the session's current transaction, and returns the event's number.
async fn append(session: &Client, id: &str) -> i64 {
    let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}});
    let post = "select (public.post_event($1::text::jsonb) ->> 'event_number')::bigint";
    session.query_one(post, &[&event.to_string()]).await.unwrap().get(0)
}

/// A reader that goes on after the highest number that it has seen would print the later event and miss the earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_commits_behind_a_later_number_is_printed_before_it() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world
        .append(&staff, "customer.created", "OLD", json!({"name": "Ada"}))
        .await;
    let (slow, quick) = (world.session_of(&staff).await, world.session_of(&staff).await);
    let mut tail = Tail::start(on(&world), &["--json"]);
    slow.batch_execute("begin").await.unwrap();
    let first = append(&slow, "SLOW").await;
    let second = append(&quick, "QUICK").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        tail.lines.try_recv().is_err(),
        "nothing is printed while an earlier number may appear"
    );
    slow.batch_execute("commit").await.unwrap();
    let printed = [tail.next_json(), tail.next_json()];
    let numbers = printed.each_ref().map(|event| event["event_number"].as_i64().unwrap());
    assert_eq!(numbers, [first, second]);
    // Whole events, as the API returns them.
    let page = world.get(&staff, "/events?order=asc").await;
    assert_eq!(printed, page.items()[1..]);
    assert_eq!(tail.interrupt(), (Some(130), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_begins_after_a_number_and_prints_only_the_types_that_were_asked_for() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for (event_type, id, data) in [
        ("customer.created", "C-1", json!({"name": "Ada"})),
        ("order.created", "O-1", json!({"customer_id": "C-1"})),
        ("customer.created", "C-2", json!({"name": "Bob"})),
    ] {
        world.append(&staff, event_type, id, data).await;
    }
    let stored = world.get(&staff, "/events?order=asc").await;
    let number = |place: usize| stored.items()[place]["event_number"].to_string();

    let mut customers = Tail::start(on(&world), &["--after", "0", "--type", "customer.*"]);
    let words: Vec<String> = customers.next().split_whitespace().map(str::to_owned).collect();
    let first = &stored.items()[0];
    let expected = [
        &number(0),
        first["created_at"].as_str().unwrap(),
        "customer.created",
        "customer/C-1",
        "v1",
        first["created_by"].as_str().unwrap(),
    ];
    assert_eq!(words, expected);
    assert!(customers.next().contains("customer/C-2"));
    assert_eq!(customers.interrupt(), (Some(130), Vec::new()));

    let mut rest = Tail::start(on(&world), &["--after", &number(1)]);
    assert!(rest.next().starts_with(&number(2)));
    assert_eq!(rest.interrupt(), (Some(130), Vec::new()));

    let unknown = tokio::task::spawn_blocking(move || {
        let mut command = on(&world);
        command
            .args(["events", "tail", "--type", "custmer.*"])
            .output()
            .unwrap()
    });
    let unknown = unknown.await.unwrap();
    let words = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(words.contains("the catalog has no event type custmer.*"), "{words}");
}

/// The command uses the server's cluster. It does not start one, because then no server could start while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_needs_a_running_server_and_ends_with_it() {
    let data_dir = DataDir::fresh();
    let alone = annals_local(&data_dir.0).args(["events", "tail"]).output().unwrap();
    let words = String::from_utf8(alone.stderr).unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(words.contains("no server runs with the folder"), "{words}");
    assert!(!data_dir.0.exists(), "nothing is created");

    let mut server = Local::start(&data_dir.0);
    let mut tail = Tail::start(annals_local(&data_dir.0), &[]);
    let event = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"name": "Ada"}});
    server.post(&reqwest::Client::new(), "/events", &event, 201).await;
    assert!(tail.next().contains("customer/C-1"));
    assert!(server.stop());
    assert_eq!(tail.process.wait().unwrap().code(), Some(1));
}
