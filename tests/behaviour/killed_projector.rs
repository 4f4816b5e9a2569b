//! The whole thing, as people run it, killed in the middle of projecting and started again: nothing is lost, nothing is half
//! done, nothing is doubled. The state tables are read directly, past every reader that folds the tail.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use reqwest::Client as Http;
use serde_json::{Value, json};
use tests::connect;
use tokio_postgres::Client;
use uuid::Uuid;

/// As many as the sales file of the issue has.
const SALES: usize = 9_994;
const BATCH: usize = 500;
/// Far more than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sale number `n`: amounts of both signs, none like another, so that a sum that is right is right.
fn cents(n: usize) -> i64 {
    let n = i64::try_from(n).unwrap();
    n * n * 7 - 3_000_000 * (n % 3) + 13
}

fn sale(n: usize) -> Value {
    json!({"event_type": "sale.created", "aggregate_type": "sale", "aggregate_id": format!("S-{n}"), "idempotency_key": format!("sale-{n}"),
           "data": {"sale_date": "2018-11-08", "amount_cents": cents(n), "currency": "USD", "product": format!("No. {n}")}})
}

/// `annals-local` in a data folder of its own. Whatever becomes of the test, nothing keeps running.
struct Local {
    process: Child,
    _stdout: BufReader<ChildStdout>,
    address: String,
    token: String,
}

impl Local {
    fn start(data_dir: &Path) -> Self {
        let mut process = Command::new(binary())
            .env("ANNALS_DATA_DIR", data_dir)
            .env("ANNALS_PORT", "0")
            .env("RUST_LOG", "error")
            .env_remove("DATABASE_URL")
            .env_remove("JWT_SECRET")
            .stdout(Stdio::piped())
            .spawn()
            .expect("annals-local");
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let (mut address, mut token) = (None, None);
        while address.is_none() || token.is_none() {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended before it listened");
            if let Some(found) = line.trim().strip_prefix("listening on ") {
                address = Some(found.to_owned());
            } else if let Some(found) = line.trim().strip_prefix("staff ") {
                token = Some(found.trim().to_owned());
            }
        }
        Self {
            process,
            _stdout: stdout,
            address: address.unwrap(),
            token: token.unwrap(),
        }
    }

    async fn post(&self, http: &Http, numbers: std::ops::Range<usize>, expected: u16) {
        let events: Vec<Value> = numbers.map(sale).collect();
        let request = http
            .post(format!("{}/api/v1/events", self.address))
            .bearer_auth(&self.token)
            .json(&json!({"events": events}));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{}", answer.text().await.unwrap());
    }

    async fn get(&self, http: &Http, path: &str) -> Value {
        let request = http
            .get(format!("{}/api/v1{path}", self.address))
            .bearer_auth(&self.token);
        request.send().await.unwrap().json().await.unwrap()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end, as Ctrl-C does; whether it did so in order.
    fn stop(&mut self) -> bool {
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

/// The binary that this build made. A run of this package alone does not make it, so where it is missing, or older than what
/// it is made of, it is made now.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("annals-local");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = ["shared", "functions", "local", "migrations"].map(|folder| newest(&workspace.join(folder)));
    let made = path.metadata().and_then(|of| of.modified()).ok();
    if made < sources.into_iter().max() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "local", "--bin", "annals-local"]);
        assert!(build.current_dir(workspace).status().unwrap().success());
    }
    path
}

/// When anything in the folder was last written.
fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let written = entries.map(|path| match path.is_dir() {
        true => newest(&path),
        false => path.metadata().unwrap().modified().unwrap(),
    });
    written.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The data folder, and whatever server a failed test leaves in it.
struct DataDir(PathBuf);

impl DataDir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("annals-killed-{}", Uuid::new_v4().simple()));
        Self(path)
    }

    fn postmaster(&self) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(self.0.join("postgres/pgdata/postmaster.pid")).ok()?;
        Some(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// A connection past the application, as the cluster's superuser.
    async fn database(&self) -> Client {
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
            // SIGQUIT is an immediate shutdown; the folder goes, so nothing has to be in order.
            let _asked = Command::new("kill").args(["-QUIT", &server[0]]).status();
        }
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Waits until the query gives at least this.
async fn until(client: &Client, query: &str, wanted: i64) {
    let started = Instant::now();
    while number(client, query).await < wanted {
        assert!(started.elapsed() < PATIENCE, "{query} did not come to {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const PROJECTED: &str = "select count(*) from annals.heads where projected_version = version";
const ROWS: &str = "select count(*) from public.sales";
const STATES: &str = "select count(*) from annals.entities";
const AT_THE_LOCK: &str = "select count(*) from pg_locks where relation = 'public.sales'::regclass and not granted";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_9994_sales_and_started_again_the_tables_are_exact() {
    let data_dir = DataDir::new();
    let http = Http::new();
    let mut first = Local::start(&data_dir.0);
    let mut database = data_dir.database().await;

    // The middle, made certain: some sales are projected, then the table is held, so that the projector is inside a
    // transaction with states written and rows not yet, while the rest of the sales comes in and is acknowledged.
    first.post(&http, 0..BATCH, 201).await;
    until(&database, ROWS, 1).await;
    let watcher = data_dir.database().await;
    let held = database.transaction().await.unwrap();
    held.batch_execute("lock table public.sales in exclusive mode")
        .await
        .unwrap();
    for begin in (BATCH..SALES).step_by(BATCH) {
        first.post(&http, begin..SALES.min(begin + BATCH), 201).await;
    }
    until(&watcher, AT_THE_LOCK, 1).await;
    first.kill();
    held.rollback().await.unwrap();

    // The server is still there, without anybody to work: what is half done must be undone, and some must be left to do.
    until(
        &watcher,
        "select (count(*) = 0)::int::bigint from pg_stat_activity where application_name = 'annals'",
        1,
    )
    .await;
    let projected = number(&watcher, PROJECTED).await;
    assert!(
        (1..9_994).contains(&projected),
        "{projected} were projected, which is not the middle"
    );
    assert_eq!(number(&watcher, ROWS).await, projected);
    assert_eq!(number(&watcher, STATES).await, projected);
    assert_eq!(number(&watcher, "select count(*) from annals.events").await, 9_994);

    let mut second = Local::start(&data_dir.0);
    let watcher = data_dir.database().await;
    until(&watcher, PROJECTED, 9_994).await;
    assert_exact(&watcher).await;
    let swept = "select (position = (select max(event_number) from annals.events))::int::bigint from annals.checkpoints where name = 'sweep'";
    until(&watcher, swept, 1).await;
    assert_eq!(
        number(&watcher, "select sum(events)::bigint from annals.event_counts").await,
        9_994
    );
    let status = second.get(&http, "/projector/status").await;
    assert_eq!(
        (&status["lag_events"], &status["parked_count"]),
        (&json!(0), &json!(0)),
        "{status}"
    );

    // What is sent again after a crash, because nobody knows how far it came, changes nothing. Keys belong to their actor,
    // so it is the first run's token, which the second one knows by the secret in the data folder.
    second.token.clone_from(&first.token);
    second.post(&http, 0..BATCH, 200).await;
    assert_exact(&watcher).await;

    drop(watcher);
    assert!(second.stop(), "it ends in order");
    assert!(data_dir.postmaster().is_none(), "and the adopted server with it");
}

/// Every sale is there, once, with its own cents; and so is every state.
async fn assert_exact(client: &Client) {
    let rows = client
        .query("select id, amount_cents, version, product from public.sales", &[])
        .await
        .unwrap();
    let mut found: Vec<(String, i64, i32, String)> =
        rows.iter().map(|r| (r.get(0), r.get(1), r.get(2), r.get(3))).collect();
    found.sort();
    let mut expected: Vec<(String, i64, i32, String)> = (0..SALES)
        .map(|n| (format!("S-{n}"), cents(n), 1, format!("No. {n}")))
        .collect();
    expected.sort();
    assert!(found == expected, "{} rows", found.len());
    let sum: i64 = (0..SALES).map(cents).sum();
    assert_eq!(
        number(client, "select sum(amount_cents)::bigint from public.sales").await,
        sum
    );
    assert_eq!(
        number(
            client,
            "select sum((state ->> 'amount_cents')::bigint)::bigint from annals.entities"
        )
        .await,
        sum
    );
    assert_eq!(number(client, "select count(*) from annals.events").await, 9_994);
}
