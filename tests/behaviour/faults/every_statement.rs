//! A fault at every statement. Each function does its work repeatedly, and each time another one of its statements is hit: the process dies
//! (all its connections end, no client gets an answer), or only the connection breaks (the process must answer truthfully), either
//! before the statement arrives or after it is done. Then the same work is requested again, as a client or the queue would.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Cutter, Ledger, ONCE, Person, Strike, Victim, When, World};
use uuid::Uuid;

use super::{id, meant_once, phone};
use crate::rebuild::{assert_no_shadow_is_left, module};

/// More statements than any function sends.
const ENOUGH: usize = 1_000;
/// How often the work is requested again until it succeeds. The server may need a moment to release what a killed process held.
const TRIES: usize = 2_000;

/// The result as an HTTP status: the answer's own, or 200 and 503 for work that has no answer.
type Status = u16;

struct Scene {
    /// The same database without the cutter.
    world: World,
    /// Behind the cutter. The next process does not miss anything that a killed process had in memory, so one pool and one catalog
    /// serve for all killed processes.
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

    /// Does the work with a fault at each of its statements in turn, and returns how many there were. `prepare` creates the input of one run.
    async fn strike_everywhere<T>(
        &self,
        prepare: impl AsyncFn(&Self) -> T,
        work: impl AsyncFn(&Self, &World, &T) -> Status,
    ) -> usize {
        // Killing before the next statement is the same as killing after the last one, so that case is left out.
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
        self.world.assert_valid(&self.ledger).await;
        most
    }

    /// One run; returns whether the fault happened.
    async fn strike<T>(&self, strike: Strike, about: &T, work: &impl AsyncFn(&Self, &World, &T) -> Status) -> bool {
        self.cutter.arm(strike);
        let answered = match strike.victim {
            Victim::Connection => Some(work(self, &self.process, about).await),
            Victim::Process => tokio::select! {
                biased;
                // The future is dropped in the middle. The cutter has ended all connections, so destructors cannot reach the server any more.
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
        panic!("{strike:?}: the work never succeeds again");
    }

    /// Records what the answer acknowledges.
    fn record(&self, answer: &Answer) -> Status {
        if (200..300).contains(&answer.status) {
            self.ledger.acknowledge(answer);
        } else {
            assert_eq!(answer.problem(answer.status), "unavailable");
        }
        answer.status
    }

    async fn post(&self, process: &World, body: &Value) -> Status {
        self.record(&process.post(&self.staff, "/events", body.clone()).await)
    }

    /// The result of a count over the rows of all tenants.
    async fn count(&self, sql: &str) -> i64 {
        let superuser = self.world.superuser().await;
        superuser.query_one(sql, &[]).await.expect("a count").get(0)
    }

    async fn register_customer(&self, id: &str) {
        let data = json!({"name": "Ada", "email": "a@example.com"});
        self.append(meant_once("customer.registered", id, data)).await;
    }

    /// Appends without a fault.
    async fn append(&self, event: Value) -> Value {
        let answer = self.world.post(&self.staff, "/events", event).await.expect(201);
        self.ledger.acknowledge(&answer);
        answer.body
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_with_a_fault_at_any_statement_is_stored_once() {
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
async fn a_change_of_an_entity_with_a_fault_at_any_statement_takes_effect_once() {
    let scene = Scene::new().await;
    let registered = async |scene: &Scene| {
        let id = id();
        scene.register_customer(&id).await;
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
async fn an_upload_with_a_fault_at_any_statement_that_is_sent_again_stores_every_row_once() {
    let scene = Scene::new().await;
    // More rows than one chunk, so that a fault can leave some stored and some not.
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

/// Streams that are not projected to their end, and the messages that name them.
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
    scene.register_customer(&customer).await;
    for _ in 0..20 {
        scene.append(phone(&customer)).await;
    }
    scene.world.take_wake_ups().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projector_with_a_fault_at_any_statement_continues_from_the_stored_progress() {
    let scene = Scene::new().await;
    let project =
        async |_: &Scene, process: &World, messages: &Vec<String>| match process.deliver(messages.clone()).await[..] {
            [] => 200,
            _ => 503,
        };
    assert!(scene.strike_everywhere(work_to_do, project).await >= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_with_a_fault_at_any_statement_leaves_no_work_behind_its_checkpoint() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let declare = "select annals.declare_indexed('customer.profile_updated', 'phone'), annals.declare_indexed('customer.registered', 'name')";
    owner.batch_execute(declare).await.unwrap();
    // Each sweep also builds one of the indexes anew.
    let prepare = async |scene: &Scene| {
        let anew = "with field as (update annals.indexed_fields set filled_to = 0 where field = 'phone' returning id)
            delete from annals.field_values where field_id in (select id from field)";
        scene.world.superuser().await.batch_execute(anew).await.unwrap();
        work_to_do(scene).await
    };
    let sweep = async |_: &Scene, process: &World, _: &Vec<String>| match process.projector.sweep().await {
        Ok(_) => 200,
        Err(_) => 503,
    };
    assert!(scene.strike_everywhere(prepare, sweep).await >= 10);
    let indexed = "select count(distinct field_id) from annals.field_values";
    assert_eq!(owner.query_one(indexed, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_with_a_fault_at_any_statement_can_be_repeated() {
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
async fn a_snapshot_with_a_fault_at_any_statement_is_right_or_absent() {
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

/// A parked stream whose cause has been corrected since; returns the event at fault.
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
async fn a_decision_with_a_fault_at_any_statement_is_taken_once_and_carried_out() {
    for action in ["retry", "skip"] {
        let scene = Scene::new().await;
        let decide = async |scene: &Scene, process: &World, event: &String| {
            let body = json!({"action": action, "reason": "corrected"});
            let answer = process
                .put(&scene.staff, &format!("/events/{event}/processing"), body)
                .await;
            // The client got no answer, but the decision was stored.
            let status = match answer.status {
                409 => {
                    assert_eq!(answer.problem(409), "not_parked");
                    200
                }
                _ => scene.record(&answer),
            };
            if status < 300 {
                // The scheduled sweep, without a fault.
                scene.world.sweep().await;
            }
            status
        };
        assert!(scene.strike_everywhere(parked, decide).await >= 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compensation_with_a_fault_at_any_statement_is_appended_once() {
    let scene = Scene::new().await;
    let mistake = async |scene: &Scene| {
        let id = id();
        scene.register_customer(&id).await;
        let changed = json!({"changes": {"name": {"old": "Ada", "new": "Eve"}}});
        // A compensation has the correlation id of the compensated event.
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
        scene.record(&process.request(Method::POST, &scene.staff, &path, &headers, None).await)
    };
    assert!(scene.strike_everywhere(mistake, compensate).await >= 5);
    let uneven = "select count(*) from annals.heads where aggregate_type = 'customer' and version <> 3";
    assert_eq!(scene.count(uneven).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_with_a_fault_at_any_statement_is_stored_once() {
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
async fn a_read_with_a_fault_at_any_statement_is_answered_or_gets_503() {
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
