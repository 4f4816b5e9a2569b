//! Progress is drawn on a terminal, and nothing of it is written to a file or a pipe.

use std::collections::BTreeSet;
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

/// The positions of a bar of migrations, and their number.
fn migrations_drawn(shown: &str) -> (BTreeSet<usize>, usize) {
    let drawn = shown.split("migrating the database ").skip(1).filter_map(|text| {
        let (position, total) = text.split(", ").next()?.rsplit(' ').next()?.split_once('/')?;
        Some((position.parse::<usize>().ok()?, total.parse::<usize>().ok()?))
    });
    let drawn: Vec<(usize, usize)> = drawn.collect();
    let total = drawn.first().unwrap_or_else(|| panic!("no bar: {shown:?}")).1;
    (drawn.into_iter().map(|(position, _)| position).collect(), total)
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_draws_a_bar_of_its_migrations_on_a_terminal_and_says_how_many_it_applied() {
    let name = format!("empty_{}", std::process::id());
    let admin = connect(&cluster().superuser_url_of("postgres")).await;
    let create = format!("create database {name} owner {OWNER}");
    admin.batch_execute(&create).await.unwrap();
    let mut command = annals_local(&DataDir::fresh().0);
    command.env("DATABASE_URL", cluster().url_of(&name)).arg("migrate");
    let shown = on_a_terminal(&command);
    let (positions, total) = migrations_drawn(&shown);
    assert!(total > 20 && positions.len() > 3, "{positions:?} of {total}: {shown:?}");
    let said = format!("{total} migrations applied");
    assert!(shown.trim_end().ends_with(&said), "{shown:?}");
    // The second time there is nothing to draw.
    assert_eq!(on_a_terminal(&command), "0 migrations applied\r\n");
    let piped = command.output().unwrap();
    assert_eq!(String::from_utf8(piped.stderr).unwrap(), "0 migrations applied\n");
}
