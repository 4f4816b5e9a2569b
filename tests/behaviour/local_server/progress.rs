//! Progress is drawn on a terminal, and nothing of it is written to a file or a pipe.

use std::process::{Command, Stdio};

use local::cluster::OWNER;
use tests::{DataDir, Local, annals_local, cluster, connect};

/// What the command shows on a terminal, which the program `script` makes.
fn on_a_terminal(command: &Command) -> String {
    let program = format!(
        "{} {}",
        quoted(command.get_program()),
        command.get_args().map(quoted).collect::<Vec<_>>().join(" ")
    );
    let mut script = Command::new("script");
    script
        .args(["-qec", &program, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.output().expect("script, of util-linux");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn quoted(word: &std::ffi::OsStr) -> String {
    format!("'{}'", word.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_verify_and_rebuild_draw_a_bar_on_a_terminal_only() {
    let data_dir = DataDir::fresh();
    let mut server = Local::start(&data_dir.0);
    let command = |name: &str| {
        let mut command = annals_local(&data_dir.0);
        command.arg(name);
        command
    };
    for name in ["demo", "verify", "rebuild"] {
        let shown = on_a_terminal(&command(name));
        assert!(shown.contains(" events, ") && shown.contains('\r'), "{name}: {shown:?}");
    }
    let piped = command("demo").output().unwrap();
    assert_eq!(String::from_utf8(piped.stderr).unwrap(), "");
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_shows_on_a_terminal_that_it_is_at_work_and_says_how_much_it_did() {
    let name = format!("empty_{}", std::process::id());
    let admin = connect(&cluster().superuser_url_of("postgres")).await;
    let create = format!("create database {name} owner {OWNER}");
    admin.batch_execute(&create).await.unwrap();
    let mut command = annals_local(&DataDir::fresh().0);
    command.env("DATABASE_URL", cluster().url_of(&name)).arg("migrate");
    let shown = on_a_terminal(&command);
    assert!(shown.contains("migrating the database, "), "{shown:?}");
    assert!(shown.trim_end().ends_with(" migrations applied"), "{shown:?}");
    let piped = command.output().unwrap();
    assert_eq!(String::from_utf8(piped.stderr).unwrap(), "0 migrations applied\n");
}
