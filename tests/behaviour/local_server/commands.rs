//! Other commands of the local server: what they print when something is not as their user expects.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use tests::{DataDir, Local, World, annals_local, connect};

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn token(data_dir: &DataDir) -> Command {
    let mut command = annals_local(&data_dir.0);
    command.args(["token", "--role", "staff"]);
    command
}

/// Without a server with this folder, the token is useful only later: the user may have meant another folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_alone_on_standard_output_and_a_warning_that_no_server_runs_on_standard_error() {
    let data_dir = DataDir::fresh();
    let first = run(token(&data_dir)).await;
    let folder = data_dir.0.display().to_string();
    let warned = |output: &Output| {
        let warning = stderr_of(output);
        assert!(
            warning.starts_with(&format!("warning: no server runs with the folder {folder}"))
                && warning.contains("ANNALS_DATA_DIR"),
            "{warning}"
        );
        warning.contains("a new key is created there")
    };
    assert!(warned(&first));
    let printed = String::from_utf8(first.stdout.clone()).unwrap();
    assert_eq!(
        (printed.lines().count(), printed.trim().split('.').count()),
        (1, 3),
        "{printed}"
    );
    assert!(!warned(&run(token(&data_dir)).await), "the key is there now");
    // The server that is started with the folder accepts the first token.
    let mut server = Local::start(&data_dir.0);
    let url = format!("{}/api/v1/events", server.address());
    let asked = reqwest::Client::new().get(url).bearer_auth(printed.trim());
    assert_eq!(asked.send().await.unwrap().status(), 200);
    let beside = run(token(&data_dir)).await;
    assert_eq!((stderr_of(&beside).as_str(), beside.status.success()), ("", true));
    // Neither an orderly end nor a kill leaves the impression of a server.
    assert!(server.stop());
    assert!(!warned(&run(token(&data_dir)).await));
    let mut killed = Local::start(&data_dir.0);
    killed.kill();
    assert!(!warned(&run(token(&data_dir)).await));
    // A key that is given explicitly needs no folder.
    let elsewhere = DataDir::fresh();
    let mut named = token(&elsewhere);
    named.env("JWT_SECRET", "a secret of more than thirty-two bytes");
    assert_eq!(stderr_of(&run(named).await), "");
    assert!(!elsewhere.0.exists());
}

/// With DATABASE_URL the server does not lock the folder's cluster, but its key is in the folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_database_counts_as_a_server_of_the_folder() {
    let (world, data_dir) = (World::new().await, DataDir::fresh());
    let mut command = annals_local(&data_dir.0);
    let owner = tests::cluster().url_of(&world.database);
    command.env("DATABASE_URL", owner).env("ANNALS_PORT", "0");
    let server = tokio::task::spawn_blocking(|| Local::start_with(command))
        .await
        .unwrap();
    assert!(
        server.announcement.contains("psql \"$DATABASE_URL\""),
        "{}",
        server.announcement
    );
    let beside = run(token(&data_dir)).await;
    assert_eq!((stderr_of(&beside).as_str(), beside.status.success()), ("", true));
}

/// Codes 0, 1 and 130 are in the tests of the commands: each of them ends with its code there.
#[test]
fn a_wrong_command_line_ends_with_2_and_the_help_lists_the_exit_codes() {
    let output = annals_local(&DataDir::fresh().0).arg("tokn").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(stderr_of(&output).contains("'token'"), "{}", stderr_of(&output));
    let help = annals_local(&DataDir::fresh().0).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let codes = help.split_once("Exit codes:\n").expect("exit codes").1.lines();
    let codes: Vec<&str> = codes.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(codes, ["0", "1", "2", "130"], "{help}");
}

#[test]
fn a_shell_completes_commands_and_options() {
    let script = |shell: &str| {
        let output = annals_local(&DataDir::fresh().0)
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let complete = |words: &str, last: &str| {
        let ask = format!(
            "{}\nCOMP_WORDS=({words} {last}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             $(complete -p annals-local | sed 's/.*-F \\([^ ]*\\).*/\\1/') annals-local '{last}' ''\necho \"${{COMPREPLY[@]}}\"",
            script("bash")
        );
        let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
        assert!(output.status.success(), "{}", stderr_of(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("annals-local", "eve"), "events");
    assert_eq!(complete("annals-local events tail", "--js"), "--json");
    assert!(script("zsh").starts_with("#compdef annals-local"));
    assert!(script("fish").contains("complete -c annals-local"));
}

async fn edit_a_migration(owner_url: &str) {
    let owner = connect(owner_url).await;
    let edited = "update annals.schema_history set checksum = '1' where name = 'append'";
    owner.batch_execute(edited).await.unwrap();
}

#[tokio::test]
async fn the_error_about_a_data_folder_of_another_development_version_says_what_to_do() {
    let data_dir = DataDir::fresh();
    let cluster = Cluster::start(Options::persistent(&data_dir.0).with_settings(FAST_BUT_UNSAFE))
        .await
        .unwrap();
    annals_store::migrate(&cluster.url()).await.unwrap();
    edit_a_migration(&cluster.url()).await;
    cluster.stop().await.unwrap();
    let folder = data_dir.0.display().to_string();
    for arguments in [&[][..], &["verify"]] {
        let mut command = annals_local(&data_dir.0);
        command.env("ANNALS_PORT", "0").args(arguments);
        let refused = run(command).await;
        assert_eq!(
            (refused.status.code(), refused.stdout.len()),
            (Some(1), 0),
            "{refused:?}"
        );
        let words = stderr_of(&refused);
        for part in [
            "__append",
            "another development version",
            &format!("mv {folder} {folder}.old"),
            "nothing was changed",
        ] {
            assert!(words.contains(part), "{part} is missing: {words}");
        }
        assert!(!words.contains("filesystem"), "{words}");
    }
    assert!(data_dir.postmaster().is_none(), "PostgreSQL was stopped again");
}

#[tokio::test]
async fn the_error_about_a_database_of_another_version_says_what_to_do() {
    let world = World::new().await;
    let address = world.superuser_url.clone();
    let migrate = async || {
        let mut command = annals_local(&DataDir::fresh().0);
        command.env("DATABASE_URL", &address).arg("migrate");
        let refused = run(command).await;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        stderr_of(&refused)
    };
    let owner = world.superuser().await;
    let newer = "insert into annals.schema_history select 9999, 'later', applied_on, checksum from annals.schema_history where name = 'append'";
    owner.batch_execute(newer).await.unwrap();
    let words = migrate().await;
    assert!(
        words.contains("V9999__later") && words.contains("DATABASE_URL") && words.contains("newer"),
        "{words}"
    );
    owner
        .batch_execute("delete from annals.schema_history where version = 9999")
        .await
        .unwrap();
    edit_a_migration(&world.superuser_url).await;
    let words = migrate().await;
    assert!(
        words.contains("__append") && words.contains("use an empty database"),
        "{words}"
    );
}

/// Without a terminal, a line every few seconds shows that it is still running. A lock makes it take as long as on a large log.
#[tokio::test]
async fn verify_prints_its_progress_while_it_runs() {
    let world = World::new().await;
    let owner = world.owner().await;
    owner
        .batch_execute("begin; lock table annals.events in access exclusive mode")
        .await
        .unwrap();
    let mut command = annals_local(&DataDir::fresh().0);
    command
        .env("DATABASE_URL", &world.address)
        .arg("verify")
        .stdin(Stdio::null());
    let verifying = tokio::spawn(run(command));
    tokio::time::sleep(Duration::from_secs(12)).await;
    owner.batch_execute("rollback").await.unwrap();
    let verified = verifying.await.unwrap();
    let words = stderr_of(&verified);
    assert!(verified.status.success() && verified.stdout.is_empty(), "{verified:?}");
    assert!(words.starts_with("verify: counting events\n"), "{words}");
    assert!(words.trim_end().ends_with("0 differences"), "{words}");
}
