//! `annals-local` as users run it, a process and a data folder, for tests that kill the process and check the folder.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

use reqwest::Client as Http;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::cluster::connect;

/// `annals-local` with a data folder of its own. It is ended with this value, also when a test fails.
pub struct Local {
    process: Child,
    _stdout: BufReader<ChildStdout>,
    address: String,
    /// A token of staff.
    pub token: String,
    /// What it printed on standard output when it had started.
    pub announcement: String,
}

impl Local {
    /// Starts it and waits until it listens.
    pub fn start(data_dir: &Path) -> Self {
        let mut command = annals_local(data_dir);
        command.env("ANNALS_PORT", "0");
        Self::start_with(command)
    }

    /// Starts the server with this command, and waits until it has printed the last token.
    pub fn start_with(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("annals-local");
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut announcement = String::new();
        while !announcement.contains("\nservice=") {
            let read = stdout.read_line(&mut announcement).unwrap();
            assert_ne!(read, 0, "it ended before it listened");
        }
        let value_of = |start: &str| {
            let value = announcement.lines().find_map(|line| line.strip_prefix(start));
            value.unwrap_or_else(|| panic!("no {start}: {announcement}")).to_owned()
        };
        Self {
            address: value_of("listening on "),
            token: value_of("staff="),
            process,
            _stdout: stdout,
            announcement,
        }
    }

    /// Its address, as in `http://127.0.0.1:3000`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `POST` of JSON as staff; the answer must have the expected status.
    pub async fn post(&self, http: &Http, path: &str, body: &Value, expected: u16) {
        let request = http
            .post(format!("{}/api/v1{path}", self.address))
            .bearer_auth(&self.token)
            .json(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{}", answer.text().await.unwrap());
    }

    /// The same; returns the answer's body.
    pub async fn post_and_read(&self, http: &Http, path: &str, body: &Value, expected: u16) -> Value {
        let request = http
            .post(format!("{}/api/v1{path}", self.address))
            .bearer_auth(&self.token)
            .json(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected);
        answer.json().await.unwrap()
    }

    /// `GET` as staff; returns the answer's body.
    pub async fn get(&self, http: &Http, path: &str) -> Value {
        let request = http
            .get(format!("{}/api/v1{path}", self.address))
            .bearer_auth(&self.token);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends it as Ctrl-C does; returns whether it exited with success.
    pub fn stop(&mut self) -> bool {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.process.wait().unwrap().success()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The program with a data folder and no other setting; the caller adds a command.
pub fn annals_local(data_dir: &Path) -> Command {
    let mut command = Command::new(built("annals-local"));
    command
        .env("ANNALS_DATA_DIR", data_dir)
        .env("RUST_LOG", "error")
        .env_remove("DATABASE_URL")
        .env_remove("JWT_SECRET");
    command
}

/// The path of a binary of this build. Running only the tests' package does not build it. So it is built once per run if it is missing
/// or older than its sources.
pub fn built(binary: &str) -> PathBuf {
    static KNOWN: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    let path = known.entry(binary.to_owned()).or_insert_with(|| build(binary));
    path.clone()
}

fn build(binary: &str) -> PathBuf {
    let us = std::env::current_exe().unwrap();
    // Tests are in a subfolder of the folder with the binaries.
    let folder = us.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap();
    let path = folder.join(binary);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = ["shared", "functions", "local", "migrations", "Cargo.toml", "Cargo.lock"];
    let sources = sources.map(|source| newest(&workspace.join(source)));
    let made = path.metadata().and_then(|of| of.modified()).ok();
    if made < sources.into_iter().max() {
        let mut build = Command::new(env!("CARGO"));
        // Builds the whole workspace; otherwise dependencies would be rebuilt with other features, which takes minutes.
        build.args(["build", "--workspace", "--bin", binary]);
        build.args((!cfg!(debug_assertions)).then_some("--release"));
        assert!(build.current_dir(workspace).status().unwrap().success());
    }
    path
}

/// The time of the last change of the file, or in the folder.
fn newest(path: &Path) -> SystemTime {
    if !path.is_dir() {
        return path.metadata().unwrap().modified().unwrap();
    }
    let entries = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| newest(&entry.unwrap().path()));
    entries.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A data folder. Dropping it ends a server that a failed test has left running.
pub struct DataDir(pub PathBuf);

impl DataDir {
    /// A folder that does not exist yet.
    pub fn fresh() -> Self {
        let path = std::env::temp_dir().join(format!("annals-test-{}", Uuid::new_v4().simple()));
        Self(path)
    }

    /// The lines of the running server's pid file.
    pub fn postmaster(&self) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(self.0.join("postgres/pgdata/postmaster.pid")).ok()?;
        Some(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// A connection as the cluster's superuser, without the application.
    pub async fn database(&self) -> Client {
        let port = &self.postmaster().expect("a running server")[3];
        let password = std::fs::read_to_string(self.0.join("superuser-password")).unwrap();
        connect(&format!(
            "postgresql://annals_superuser:{}@127.0.0.1:{port}/annals?sslmode=disable",
            password.trim()
        ))
        .await
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if let Some(server) = self.postmaster() {
            // SIGQUIT is an immediate shutdown. It is enough, because the folder is deleted.
            let _asked = Command::new("kill").args(["-QUIT", &server[0]]).status();
        }
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}
