//! Killed at any statement: every function does its work once for each statement that it says, each time struck at another one,
//! as a process (all its connections end, nobody hears an answer) and as a connection (the process lives and must answer truly),
//! before the statement arrives and after it is done. Then the same is asked for again, as a client or the queue would.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Cutter, Ledger, ONCE, Person, Strike, Victim, When, World};
use uuid::Uuid;

use super::{id, meant_once, phone};
use crate::rebuild::{assert_no_shadow_is_left, module};

/// More statements than any function says.
const ENOUGH: usize = 1_000;
/// How often work is asked for again until it is done: what a killed process held may take the server a moment to notice.
const TRIES: usize = 2_000;

/// What became of work, as a status: what an answer says, or 200 and 503 where there is none.
type Status = u16;

struct Scene {
    /// Undisturbed.
    world: World,
    /// Behind the cutter. What a killed process had in memory is nothing that the next one could miss, so one pool and one
    /// catalog serve for all that are killed.
    process: World,
    cutter: Cutter,
    staff: Person,
    ledger: Ledger,
}

impl Scene {
    async fn new() -> Self {
        let (world, cutter) = (World::without_requirements().await, Cutter::start().await);
        Self {
            process: cutter.before(&world),
            world,
            cutter,
            staff: Person::staff(),
            ledger: Ledger::default(),
        }
    }

    /// Has the work done, struck at each of its statements in turn; how many those were. `prepare` makes what one turn is about.
    async fn strike_everywhere<T>(
        &self,
        prepare: impl AsyncFn(&Self) -> T,
        work: impl AsyncFn(&Self, &World, &T) -> Status,
    ) -> usize {
        // A killed process that has not said its next statement is one that has said the last.
        let strikes = [
            (Victim::Process, When::After),
            (Victim::Connection, When::Before),
            (Victim::Connection, When::After),
        ];
        let mut most = 0;
        for (victim, when) in strikes {
            for statement in 1..ENOUGH {
                let strike = Strike {
                    victim,
                    when,
                    statement,
                };
                let about = prepare(self).await;
                if !self.strike(strike, &about, &work).await {
                    break;
                }
                most = most.max(statement);
            }
        }
        self.world.assert_sound(&self.ledger).await;
        most
    }

    /// One turn; whether it was struck.
    async fn strike<T>(&self, strike: Strike, about: &T, work: &impl AsyncFn(&Self, &World, &T) -> Status) -> bool {
        self.cutter.arm(strike);
        let answered = match strike.victim {
            Victim::Connection => Some(work(self, &self.process, about).await),
            Victim::Process => tokio::select! {
                biased;
                // Dropped in the middle: no destructor of a killed process runs, and none of ours reaches the server any more.
                () = self.cutter.struck() => None,
                status = work(self, &self.process, about) => Some(status),
            },
        };
        let struck = self.cutter.has_struck();
        self.cutter.disarm();
        match answered {
            Some(status) if !struck => assert!((200..300).contains(&status), "{strike:?}: {status}"),
            Some(status) => assert!(status == 503 || (200..300).contains(&status), "{strike:?}: {status}"),
            None => {}
        }
        if struck && answered.is_none_or(|status| status >= 300) {
            self.again(strike, about, work).await;
        }
        struck
    }

    async fn again<T>(&self, strike: Strike, about: &T, work: &impl AsyncFn(&Self, &World, &T) -> Status) {
        for _ in 0..TRIES {
            match work(self, &self.world, about).await {
                503 => tokio::task::yield_now().await,
                status => return assert!((200..300).contains(&status), "{strike:?}, and again: {status}"),
            }
        }
        panic!("{strike:?}: it never works again");
    }

    /// Notes what an answer acknowledges.
    fn noted(&self, answer: &Answer) -> Status {
        if (200..300).contains(&answer.status) {
            self.ledger.acknowledge(answer);
        } else {
            assert_eq!(answer.problem(answer.status), "unavailable");
        }
        answer.status
    }

    async fn post(&self, process: &World, body: &Value) -> Status {
        self.noted(&process.post(&self.staff, "/events", body.clone()).await)
    }

    /// What a count comes to, for everybody's rows.
    async fn count(&self, sql: &str) -> i64 {
        let superuser = self.world.superuser().await;
        superuser.query_one(sql, &[]).await.expect("a count").get(0)
    }

    /// Appends, undisturbed.
    async fn append(&self, event: Value) -> Value {
        let answer = self.world.post(&self.staff, "/events", event).await.expect(201);
        self.ledger.acknowledge(&answer);
        answer.body
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_struck_at_any_statement_is_there_once() {
    let scene = Scene::new().await;
    let single = scene.strike_everywhere(
        async |_| phone(&id()),
        async |scene, process, event| scene.post(process, event).await,
    );
    assert!(single.await >= 3);
    let batch = async |_: &Scene| {
        let (one, two) = (id(), id());
        json!({"events": [phone(&one), phone(&two), phone(&one)]})
    };
    scene
        .strike_everywhere(batch, async |scene, process, events| scene.post(process, events).await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_entity_is_changed_once() {
    let scene = Scene::new().await;
    let registered = async |scene: &Scene| {
        let id = id();
        scene
            .append(meant_once(
                "customer.registered",
                &id,
                json!({"name": "Ada", "email": "a@example.com"}),
            ))
            .await;
        (id, Uuid::new_v4().to_string())
    };
    let change = async |scene: &Scene, process: &World, (id, key): &(String, String)| {
        let headers = [("If-Match", "\"1\""), ("Idempotency-Key", key.as_str())];
        let path = format!("/entities/customer/{id}");
        let answer = process
            .request(
                Method::PATCH,
                &scene.staff,
                &path,
                &headers,
                Some(json!({"phone": "2"})),
            )
            .await;
        if answer.status == 503 {
            return 503;
        }
        assert_eq!(answer.expect(200).body["version"], 2);
        200
    };
    assert!(scene.strike_everywhere(registered, change).await >= 5);
    let all = "select count(*) from annals.heads where aggregate_type = 'customer' and version <> 2";
    assert_eq!(scene.count(all).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_struck_at_any_statement_and_sent_again_has_every_row_once() {
    let scene = Scene::new().await;
    // More rows than a chunk, so that some are in and some are not.
    let file = async |_: &Scene| {
        let lot = id();
        let rows = (0..450).map(|row| format!("{lot}-{row},2026-01-01,1.50\n"));
        format!("sale_id,sale_date,amount\n{}", rows.collect::<String>())
    };
    let upload = async |scene: &Scene, process: &World, file: &String| {
        let answer = process.upload_sales(&scene.staff, &[], file).await;
        if answer.status == 200 {
            let of = |field: &str| answer.body[field].as_i64().unwrap();
            assert_eq!(of("rows_accepted") + of("rows_duplicate"), 450, "{}", answer.text);
        }
        answer.status
    };
    assert!(scene.strike_everywhere(file, upload).await >= 8);
    let uneven = "select count(*) % 450 + count(*) filter (where aggregate_version > 1) from annals.events where aggregate_type = 'sale'";
    assert_eq!(scene.count(uneven).await, 0);
}

/// Streams with work, and the messages that say so.
async fn work_to_do(scene: &Scene) -> Vec<String> {
    let (organization, customer) = (id(), id());
    scene
        .append(meant_once(
            "organization.created",
            &organization,
            json!({"name": "One"}),
        ))
        .await;
    let gst = json!({"id": "g1", "gstin": "27AAPFU0939F1ZV"});
    scene
        .append(meant_once("organization.gst.added", &organization, gst))
        .await;
    scene
        .append(meant_once(
            "customer.registered",
            &customer,
            json!({"name": "Ada", "email": "a@example.com"}),
        ))
        .await;
    for _ in 0..20 {
        scene.append(phone(&customer)).await;
    }
    scene.world.take_wake_ups().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_struck_at_any_statement_goes_on_where_the_tables_are() {
    let scene = Scene::new().await;
    let project =
        async |_: &Scene, process: &World, messages: &Vec<String>| match process.deliver(messages.clone()).await[..] {
            [] => 200,
            _ => 503,
        };
    assert!(scene.strike_everywhere(work_to_do, project).await >= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_struck_at_any_statement_leaves_nothing_behind_its_checkpoint() {
    let scene = Scene::new().await;
    let sweep = async |_: &Scene, process: &World, _: &Vec<String>| match process.projector.sweep().await {
        Ok(_) => 200,
        Err(_) => 503,
    };
    assert!(scene.strike_everywhere(work_to_do, sweep).await >= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_struck_at_any_statement_can_be_made_again() {
    let scene = Scene::new().await;
    let wrong = async |scene: &Scene| {
        scene
            .append(meant_once(
                "customer.registered",
                "C-1",
                json!({"name": "Ada", "email": "a@example.com"}),
            ))
            .await;
        scene.world.sweep().await;
        let wrong = "update public.customers set name = 'wrong'";
        scene.world.superuser().await.batch_execute(wrong).await.unwrap();
    };
    let rebuild = async |_: &Scene, process: &World, _: &()| {
        let due = module("customer", None);
        match process.projector.rebuild(&due, 1, Arc::default()).await {
            Ok(_) => 200,
            Err(_) => 503,
        }
    };
    assert!(scene.strike_everywhere(wrong, rebuild).await >= 20);
    assert_no_shadow_is_left(&scene.world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_on_demand_struck_at_any_statement_is_right_or_not_there() {
    let scene = Scene::new().await;
    let entity = async |scene: &Scene| {
        let id = id();
        scene.append(phone(&id)).await;
        id
    };
    let take = async |scene: &Scene, process: &World, id: &String| {
        let path = format!("/entities/customer/{id}/snapshots");
        process
            .post(&scene.staff, &path, json!({"reason": "year end"}))
            .await
            .status
    };
    assert!(scene.strike_everywhere(entity, take).await >= 5);
}

/// A stream that is parked, what is at fault mended since; the event at fault.
async fn parked(scene: &Scene) -> String {
    let (organization, owner) = (id(), scene.world.owner().await);
    scene
        .append(meant_once(
            "organization.created",
            &organization,
            json!({"name": "One"}),
        ))
        .await;
    let alter = "alter table public.organizations drop constraint if exists not_now";
    let forbid =
        format!("{alter}; alter table public.organizations add constraint not_now check (name <> 'Two') not valid");
    owner.batch_execute(&forbid).await.unwrap();
    let renamed = json!({"changes": {"name": {"old": "One", "new": "Two"}}});
    let event = scene
        .append(meant_once("organization.updated", &organization, renamed))
        .await;
    scene.world.project().await;
    assert_eq!(scene.world.rows_of("annals.parked_streams").await.len(), 1);
    owner.batch_execute(alter).await.unwrap();
    event["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_struck_at_any_statement_is_taken_once_and_carried_out_without_a_hand() {
    for action in ["retry", "skip"] {
        let scene = Scene::new().await;
        let decide = async |scene: &Scene, process: &World, event: &String| {
            let body = json!({"action": action, "reason": "mended"});
            let answer = process
                .put(&scene.staff, &format!("/events/{event}/processing"), body)
                .await;
            // Nobody told the client, but it was decided.
            let status = match answer.status {
                409 => {
                    assert_eq!(answer.problem(409), "not_parked");
                    200
                }
                _ => scene.noted(&answer),
            };
            if status < 300 {
                // The schedule, undisturbed.
                scene.world.sweep().await;
            }
            status
        };
        assert!(scene.strike_everywhere(parked, decide).await >= 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compensation_struck_at_any_statement_is_made_once() {
    let scene = Scene::new().await;
    let mistake = async |scene: &Scene| {
        let id = id();
        scene
            .append(meant_once(
                "customer.registered",
                &id,
                json!({"name": "Ada", "email": "a@example.com"}),
            ))
            .await;
        let changed = json!({"changes": {"name": {"old": "Ada", "new": "Eve"}}});
        // What compensates it belongs to what it belonged to.
        let mut event = meant_once("customer.updated", &id, changed);
        event["correlation_id"] = json!(id);
        let event = scene.append(event).await;
        (
            event["id"].as_str().unwrap().to_owned(),
            format!("{ONCE}{}", Uuid::new_v4()),
        )
    };
    let compensate = async |scene: &Scene, process: &World, (event, key): &(String, String)| {
        let path = format!("/events/{event}/compensate");
        let headers = [("Idempotency-Key", key.as_str())];
        scene.noted(&process.request(Method::POST, &scene.staff, &path, &headers, None).await)
    };
    assert!(scene.strike_everywhere(mistake, compensate).await >= 5);
    let uneven = "select count(*) from annals.heads where aggregate_type = 'customer' and version <> 3";
    assert_eq!(scene.count(uneven).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_struck_at_any_statement_is_there_once() {
    let scene = Scene::new().await;
    let named = async |_: &Scene| format!("thing{}", Uuid::new_v4().simple());
    let register = async |scene: &Scene, process: &World, name: &String| {
        let body = json!({"event_type": format!("{name}.made"), "aggregate_type": name, "version": "1.0", "effect": "create",
                          "schema": {"type": "object"}, "example": {}});
        let answer = process.post(&scene.staff, "/events/types", body).await;
        match answer.status {
            409 => {
                assert_eq!(answer.problem(409), "version_exists");
                200
            }
            status => status,
        }
    };
    assert!(scene.strike_everywhere(named, register).await >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_struck_at_any_statement_is_answered_or_told_to_come_again() {
    let scene = Scene::new().await;
    let entity = async |scene: &Scene| {
        let id = id();
        scene.append(phone(&id)).await;
        id
    };
    let read = async |scene: &Scene, process: &World, id: &String| {
        let mut worst = 200;
        for path in [
            format!("/entities/customer/{id}"),
            format!("/entities/customer/{id}?version=1"),
            "/events/stats".to_owned(),
        ] {
            worst = worst.max(process.get(&scene.staff, &path).await.status);
        }
        worst
    };
    assert!(scene.strike_everywhere(entity, read).await >= 10);
}
