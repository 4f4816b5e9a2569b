//! Real kills: the functions' own binaries, run as on Lambda, are ended by SIGKILL at each of their statements, beginning with the first
//! one at startup. This confirms what `every_statement.rs` simulates inside the test process.

use std::time::Duration;

use axum::http::HeaderMap;
use local::cluster::OWNER;
use serde_json::{Value, json};
use tests::{Answer, Cutter, Ledger, Person, Runtime, Strike, Victim, When, World, cluster, connect, recorded, url_at};
use tokio::time::timeout;
use uuid::Uuid;

use super::{id, meant_once, phone};

/// More statements than any function sends.
const ENOUGH: usize = 1_000;
/// How long an invocation may take.
const PATIENCE: Duration = Duration::from_secs(120);

struct Scene {
    /// The database without the cutter, and with functions in this process.
    world: World,
    cutter: Cutter,
    staff: Person,
    ledger: Ledger,
}

impl Scene {
    async fn new() -> Self {
        Self {
            world: World::without_requirements().await,
            cutter: Cutter::start().await,
            staff: Person::staff(),
            ledger: Ledger::default(),
        }
    }

    /// Lets a function do new work repeatedly, killed at each of its statements in turn, and at last without a fault. Returns the number of
    /// its statements.
    async fn kill_everywhere(&self, binary: &str, prepare: impl AsyncFn(&Self) -> Value) -> usize {
        let (cut, direct) = (self.url(self.cutter.port()), self.url(cluster().port()));
        for statement in 1..ENOUGH {
            let event = prepare(self).await;
            self.cutter.arm(Strike {
                victim: Victim::Process,
                when: When::After,
                statement,
            });
            let answered = self.invoke_until_struck(binary, &cut, &event).await;
            self.cutter.disarm();
            if let Some(answer) = answered {
                self.record(&answer);
                self.world.assert_valid(&self.ledger).await;
                return statement - 1;
            }
            // The next process that Lambda starts gets the repeated request.
            let runtime = Runtime::start().await;
            let _process = runtime.process(binary, &direct);
            let answer = timeout(PATIENCE, runtime.invoke(event)).await.expect("an answer");
            self.record(&answer);
        }
        panic!("{binary} sends more than {ENOUGH} statements")
    }

    /// The answer of the process; none if it was killed before.
    async fn invoke_until_struck(&self, binary: &str, url: &str, event: &Value) -> Option<Value> {
        let runtime = Runtime::start().await;
        let mut process = runtime.process(binary, url);
        let answer = timeout(PATIENCE, async {
            tokio::select! {
                biased;
                () = self.cutter.struck() => None,
                answer = runtime.invoke(event.clone()) => Some(answer),
            }
        });
        let answer = answer.await.expect("an answer or a kill");
        process.kill().await.expect("a child of this process");
        answer
    }

    fn url(&self, port: u16) -> String {
        url_at(port, "annals_api", &self.world.database)
    }

    /// Checks that the function has done its work, and records what the answer acknowledges.
    #[track_caller]
    fn record(&self, answer: &Value) {
        assert!(answer.get("errorType").is_none(), "{answer}");
        if let Some(failures) = answer.get("batchItemFailures") {
            assert_eq!(*failures, json!([]));
        }
        let Some(status) = answer.get("statusCode").and_then(Value::as_u64) else {
            return;
        };
        assert!((200..300).contains(&status), "{answer}");
        let text = answer["body"].as_str().expect("a body").to_owned();
        let body: Value = serde_json::from_str(&text).expect("JSON");
        // The answer to an upload counts rows and has no event.
        if body.get("id").is_some() {
            self.ledger.acknowledge(&Answer {
                status: 201,
                headers: HeaderMap::new(),
                body,
                text,
            });
        }
    }

    async fn append(&self, event: Value) {
        let answer = self.world.post(&self.staff, "/events", event).await.expect(201);
        self.ledger.acknowledge(&answer);
    }
}

/// A stream that is not projected, and the message that names it.
async fn work_to_do(scene: &Scene) -> Value {
    let customer = id();
    let registered = json!({"name": "Ada", "email": "a@example.com"});
    scene
        .append(meant_once("customer.registered", &customer, registered))
        .await;
    scene.append(phone(&customer)).await;
    let streams = json!({"streams": [[Uuid::nil(), "customer", customer]]});
    recorded::wake_up(&streams.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_post_event_has_appended_once_or_not_at_all() {
    let scene = Scene::new().await;
    let event = async |scene: &Scene| {
        let event = phone(&id()).to_string();
        recorded::post(&scene.staff, "/events", "application/json", &event)
    };
    assert!(scene.kill_everywhere("post-event", event).await >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_csv_upload_continues_when_the_file_is_sent_again() {
    let scene = Scene::new().await;
    // More rows than one chunk, so that a kill can leave some stored and some not.
    let file = async |scene: &Scene| {
        let lot = id();
        let rows: String = (0..450).map(|row| format!("{lot}-{row},2026-01-01,1.50\n")).collect();
        let file = format!("sale_id,sale_date,amount\n{rows}");
        recorded::post(&scene.staff, "/data/upload-sales-csv", "text/csv", &file)
    };
    assert!(scene.kill_everywhere("csv-upload", file).await >= 10);
    let superuser = scene.world.superuser().await;
    let uneven = "select count(*) % 450 + count(*) filter (where aggregate_version > 1) from annals.events where aggregate_type = 'sale'";
    assert_eq!(superuser.query_one(uneven, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_killed_projector_is_done_by_the_next_one() {
    let scene = Scene::new().await;
    assert!(scene.kill_everywhere("projector", work_to_do).await >= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sweep_leaves_no_work_behind() {
    let scene = Scene::new().await;
    let left = async |scene: &Scene| {
        work_to_do(scene).await;
        recorded::tick()
    };
    assert!(scene.kill_everywhere("projector", left).await >= 8);
}

/// Only at some statements, because each run needs a new database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_migration_is_finished_by_the_next_run() {
    let admin = connect(&cluster().superuser_url_of("postgres")).await;
    let migrated = World::without_requirements().await.owner().await;
    let cutter = Cutter::before_server(cluster().port()).await;
    for statement in [1, 3, 10, 40, 80] {
        let database = format!("killed_migration_{statement}");
        let create = format!("create database {database} owner {OWNER}");
        admin.batch_execute(&create).await.unwrap();
        let owner_url = cluster().url_of(&database);
        let cut = owner_url.replace(&format!(":{}/", cluster().port()), &format!(":{}/", cutter.port()));
        assert_ne!(cut, owner_url);
        cutter.arm(Strike {
            victim: Victim::Process,
            when: When::After,
            statement,
        });
        let runtime = Runtime::start().await;
        let mut process = runtime.process("migrate", &cut);
        tokio::select! {
            // A process that is killed gives no meaningful answer.
            biased;
            () = cutter.struck() => {}
            answer = runtime.invoke(json!({})) => panic!("not struck at {statement}: {answer}"),
        }
        process.kill().await.unwrap();
        cutter.disarm();
        let runtime = Runtime::start().await;
        let _process = runtime.process("migrate", &owner_url);
        let done = timeout(PATIENCE, runtime.invoke(json!({}))).await.unwrap();
        assert!(done.get("applied").is_some(), "{done}");
        let here = connect(&owner_url).await;
        let count = "select count(*) from annals.schema_history";
        let all: i64 = migrated.query_one(count, &[]).await.unwrap().get(0);
        assert_eq!(here.query_one(count, &[]).await.unwrap().get::<_, i64>(0), all);
    }
}
