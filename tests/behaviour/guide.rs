//! The README and the guide, word for word: every `sh` and `sql` block is run, in order, against one local server, and every answer that a
//! page shows is compared with the real one.
//!
//! A page needs nothing but a running server, so each page has a tenant of its own. Three commands are replaced by scripts: `cargo run -q -- …`
//! runs the binary that this build made, `curl` also notes the status of each answer, and plain `cargo run` and `cargo test` do nothing (the server
//! is running, and this is the test). A block of JSON or text that follows a block of commands is the answer of the block's last command.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tests::{DataDir, Local, built};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Ends the output of a block.
const END: &str = "\u{1}end";

/// A block of a page, and the answer that is shown for it.
#[derive(Debug)]
struct Step {
    language: String,
    commands: String,
    answer: Option<(String, String)>,
}

/// What the commands of a block wrote, and how they ended.
struct Output {
    written: String,
    exit_code: i32,
    statuses: Vec<u16>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The README first, then the guide.
fn pages() -> Vec<PathBuf> {
    let guide = fs::read_dir(root().join("docs/guide")).unwrap();
    let mut pages: Vec<PathBuf> = guide.map(|page| page.unwrap().path()).collect();
    pages.sort();
    pages.insert(0, root().join("README.md"));
    pages
}

/// The fenced blocks of a page: language, lines, and whether only blank lines come between it and the block before it.
fn blocks(page: &str) -> Vec<(String, String, bool)> {
    let (mut blocks, mut open, mut follows) = (Vec::new(), None::<(String, String, bool)>, false);
    for line in page.lines() {
        open = match (open.take(), line.strip_prefix("```")) {
            (None, Some(language)) => Some((language.to_owned(), String::new(), follows)),
            (None, None) => {
                follows &= line.trim().is_empty();
                None
            }
            (Some(block), Some(_)) => {
                blocks.push(block);
                follows = true;
                None
            }
            (Some((language, lines, follows)), None) => Some((language, format!("{lines}{line}\n"), follows)),
        };
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// Languages of the recipes in clients.md, which tests/clients/run compiles and runs.
const RECIPES: [&str; 3] = ["ts", "python", "rust"];

/// The blocks of commands and code, with their answers.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (language, lines, follows) in blocks(page) {
        match language.as_str() {
            "sh" | "sql" | "ts" | "python" | "rust" => steps.push(Step {
                language,
                commands: lines,
                answer: None,
            }),
            // Shown and not run here: the README's deployment, which needs an account. tests/e2e runs it.
            "console" => {}
            "json" | "text" => match steps.last_mut() {
                Some(step) if follows && step.answer.is_none() => step.answer = Some((language, lines)),
                _ => {}
            },
            other => panic!("a block of {other}: this test knows sh, sql, json, text, console and recipes"),
        }
    }
    steps
}

/// Whether a value is what a page shows: objects may have more members, and `…` in a text is any text.
fn difference(shown: &Value, real: &Value, at: &str) -> Option<String> {
    let differs = || Some(format!("{at}: shown {shown}, in fact {real}"));
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => shown.iter().find_map(|(name, shown)| {
            difference(shown, real.get(name).unwrap_or(&Value::Null), &format!("{at}/{name}"))
        }),
        (Value::Array(shown), Value::Array(real)) if shown.len() == real.len() => {
            let mut pairs = shown.iter().zip(real).enumerate();
            pairs.find_map(|(index, (shown, real))| difference(shown, real, &format!("{at}/{index}")))
        }
        (Value::String(text), real) if text == "…" => real.is_null().then(differs).flatten(),
        (Value::String(shown), Value::String(real)) if matches(shown, real) => None,
        (shown, real) if shown == real => None,
        _ => differs(),
    }
}

/// Whether a text is the one that is shown, with anything for each `…`.
fn matches(shown: &str, real: &str) -> bool {
    match shown.split_once('…') {
        None => shown == real,
        Some((start, rest)) => real
            .strip_prefix(start)
            .is_some_and(|real| (0..=real.len()).any(|at| real.is_char_boundary(at) && matches(rest, &real[at..]))),
    }
}

/// How an answer differs from the one that is shown.
fn answers(language: &str, shown: &str, written: &str) -> Option<String> {
    if language == "text" {
        let lines = |text: &str| -> Vec<String> {
            let text = text.trim_start_matches('\u{feff}').trim();
            text.lines().map(|line| line.trim_end().to_owned()).collect()
        };
        let (shown, real) = (lines(shown), lines(written));
        let same = shown.len() == real.len() && shown.iter().zip(&real).all(|(shown, real)| matches(shown, real));
        return (!same).then(|| format!("shown {shown:?}, in fact {real:?}"));
    }
    let shown: Value = serde_json::from_str(shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
    let values = serde_json::Deserializer::from_str(written).into_iter::<Value>();
    match values.last() {
        Some(Ok(real)) => difference(&shown, &real, ""),
        _ => Some(format!("no JSON: {written}")),
    }
}

/// A shell that keeps variables and functions from block to block, as a reader's does.
struct Shell {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(folder: &Path, data_dir: &Path, tenant: &str) -> Self {
        let stubs = folder.join("bin");
        fs::create_dir_all(&stubs).unwrap();
        let local = built("annals-local");
        let local = local.display();
        stub(
            &stubs.join("cargo"),
            &format!(
                "case \"$*\" in\n\
                 run|'test --workspace') exit 0;;\n\
                 'run -q -- token '*) shift 3; exec {local} \"$@\" --tenant {tenant};;\n\
                 'run -q -- '*) shift 3; exec {local} \"$@\";;\n\
                 *) echo \"cargo $*: unknown to this test\" >&2; exit 2;;\nesac\n"
            ),
        );
        let statuses = folder.join("statuses");
        fs::write(&statuses, "").unwrap();
        let statuses = statuses.display();
        stub(
            &stubs.join("curl"),
            &format!("PATH=${{PATH#*:}}\nexec curl -w '%{{stderr}}%{{http_code}}\\n' \"$@\" 2>>{statuses}\n"),
        );
        // Where `cargo run` keeps its data.
        std::os::unix::fs::symlink(data_dir, folder.join(".annals")).unwrap();
        // A page whose commands wait for something that never comes ends all the same.
        let mut process = Command::new("timeout")
            .args(["300", "bash"])
            .current_dir(folder)
            .env(
                "PATH",
                [
                    stubs.display().to_string(),
                    std::env::var("PATH").unwrap(),
                    postgresql(),
                ]
                .join(":"),
            )
            .env("ANNALS_DATA_DIR", data_dir)
            .env("STATUSES", folder.join("statuses"))
            .env("RUST_LOG", "error")
            .env_remove("DATABASE_URL")
            .env_remove("JWT_SECRET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    fn run(&mut self, commands: &str) -> Output {
        let end = format!(
            "ended=$? answered=$(tr '\\n' ' ' <\"$STATUSES\"); : >\"$STATUSES\"; printf '\\n{END} %s %s\\n' \"$ended\" \"$answered\"\n"
        );
        self.input.write_all(format!("{commands}{end}").as_bytes()).unwrap();
        self.input.flush().unwrap();
        let mut written = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the shell ended in: {commands}"
            );
            if let Some(end) = line.strip_prefix(END) {
                let mut words = end.split_whitespace();
                let exit_code = words.next().unwrap().parse().unwrap();
                let statuses = words.filter_map(|word| word.parse().ok()).collect();
                return Output {
                    written,
                    exit_code,
                    statuses,
                };
            }
            written.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The folder of PostgreSQL's programs, if one was selected; otherwise `psql` must be in the PATH.
fn postgresql() -> String {
    std::env::var("ANNALS_POSTGRES").unwrap_or_default()
}

fn stub(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What is wrong with a block of commands; nothing, if every request was answered as the page says. A page may show a problem as the answer of
/// the block's last request; all other requests succeed.
fn complaint(step: &Step, output: &Output) -> Option<String> {
    let refused: Vec<u64> = output
        .statuses
        .iter()
        .map(|status| u64::from(*status))
        .filter(|s| *s >= 400)
        .collect();
    let shown: Option<Value> = step
        .answer
        .as_ref()
        .and_then(|(_, shown)| serde_json::from_str(shown).ok());
    let problem = shown.and_then(|shown| shown["status"].as_u64());
    if output.exit_code != 0 || refused != problem.into_iter().collect::<Vec<_>>() {
        return Some(format!(
            "exit code {}, statuses {:?}: {}",
            output.exit_code, output.statuses, output.written
        ));
    }
    let (language, shown) = step.answer.as_ref()?;
    answers(language, shown, &output.written)
}

/// The rows of the last statement that has any, as `psql` writes them without its head.
async fn rows(database: &Client, sql: &str) -> String {
    let mut rows = Vec::new();
    for message in database
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{error:?}: {sql}"))
    {
        match message {
            SimpleQueryMessage::RowDescription(_) => rows.clear(),
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<&str> = (0..row.len()).map(|cell| row.get(cell).unwrap_or_default()).collect();
                rows.push(cells.join(" | "));
            }
            _ => {}
        }
    }
    rows.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_and_of_the_guide_does_what_the_page_says() {
    let data_dir = DataDir::fresh();
    let mut server = Local::start(&data_dir.0);
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    let mut wrong = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        let tenant = format!("00000000-0000-4000-8000-{number:012}");
        let folder = DataDir::fresh();
        fs::create_dir(&folder.0).unwrap();
        let mut shell = Shell::start(&folder.0, &data_dir.0, &tenant);
        let database = data_dir.database().await;
        let text = fs::read_to_string(page).unwrap();
        for step in steps(&text)
            .into_iter()
            .filter(|step| !RECIPES.contains(&step.language.as_str()))
        {
            let complaint = if step.language == "sql" {
                let of_tenant = format!("\"app_metadata\": {{\"tenant_id\": \"{tenant}\", ");
                let found = rows(&database, &step.commands.replace("\"app_metadata\": {", &of_tenant)).await;
                step.answer
                    .as_ref()
                    .and_then(|(language, shown)| answers(language, shown, &found))
            } else {
                let commands = step.commands.replace("http://127.0.0.1:3000", server.address());
                complaint(&step, &shell.run(&commands))
            };
            wrong.extend(complaint.map(|complaint| format!("{name}:\n{}{complaint}\n", step.commands)));
        }
    }
    assert!(server.stop());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
