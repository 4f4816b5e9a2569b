//! The start of the local server: what it prints, and which port it takes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use reqwest::Client as Http;
use tests::{DataDir, Local, annals_local};

/// The server without a chosen port, with its usual log, which is written to a file beside its folder.
fn server(data_dir: &DataDir) -> Command {
    let mut command = annals_local(&data_dir.0);
    command.env_remove("ANNALS_PORT").env_remove("RUST_LOG");
    command.stderr(File::create(log(data_dir)).unwrap());
    command
}

fn log(data_dir: &DataDir) -> PathBuf {
    data_dir.0.with_extension("log")
}

/// Runs a line of shell, with PostgreSQL's programs in the PATH.
fn shell(line: &str) -> Output {
    let programs = std::env::var("ANNALS_POSTGRES").unwrap_or_default();
    let path = format!("{}:{programs}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", path).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_is_short_and_what_it_prints_can_be_used() {
    let data_dir = DataDir::fresh();
    let mut command = server(&data_dir);
    command.env("ANNALS_PORT", "0");
    let mut server = Local::start_with(command);
    let words = fs::read_to_string(log(&data_dir)).unwrap();
    assert_eq!(words.lines().count(), 1, "no line per migration: {words}");
    assert!(words.contains("migrated the database"), "{words}");
    let printed = server.announcement.clone();
    let names: Vec<&str> = printed
        .lines()
        .map(|line| line.split([' ', '=']).next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "listening",
            "",
            "API",
            "API",
            "database",
            "",
            "Tokens",
            "",
            "staff",
            "user",
            "agent",
            "service"
        ],
        "{printed}"
    );

    let value = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let document = Http::new().get(value("API document")).send().await.unwrap();
    assert_eq!(document.status(), 200);
    let page = Http::new().get(value("API pages")).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("swagger-ui"));
    let psql = format!("{} -XAtc 'select current_database()'", value("database"));
    let answer = shell(&psql);
    assert_eq!(
        text(&answer.stdout).trim(),
        "annals",
        "{psql}: {}",
        text(&answer.stderr)
    );
    // The block of tokens, pasted into a shell, and the example.
    let tokens: Vec<&str> = printed.lines().skip(8).collect();
    let example = printed
        .split("for example: curl")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let pasted = format!(
        "{}\ncurl -s -o /dev/null -w '%{{http_code}}' {example}",
        tokens.join("\n")
    );
    assert_eq!(text(&shell(&pasted).stdout), "200", "{pasted}");

    assert!(server.stop());
    fs::remove_file(log(&data_dir)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_free_port_is_used_if_none_was_chosen_and_3000_is_taken() {
    // If another program of this machine has the port, it is taken just as well.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 3000));
    let data_dir = DataDir::fresh();
    let mut first = Local::start_with(server(&data_dir));
    let port: u16 = first.address().rsplit(':').next().unwrap().parse().unwrap();
    assert!((3001..=3099).contains(&port), "{port}");
    let words = fs::read_to_string(log(&data_dir)).unwrap();
    let expected = format!("port 3000 is taken by another program, so this server uses port {port}");
    assert!(words.contains(&expected), "{words}");

    // A second server on the same folder is a mistake, not a reason for another port.
    let second = annals_local(&data_dir.0).output().unwrap();
    assert_eq!((second.status.code(), second.stdout.len()), (Some(1), 0));
    let words = text(&second.stderr);
    assert!(words.contains("annals is already running on"), "{words}");
    assert!(first.stop());
    fs::remove_file(log(&data_dir)).unwrap();
}

#[test]
fn a_chosen_port_that_is_taken_is_an_error() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data_dir = DataDir::fresh();
    let refused = annals_local(&data_dir.0).env("ANNALS_PORT", &port).output().unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let words = text(&refused.stderr);
    assert!(words.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{words}");
}
