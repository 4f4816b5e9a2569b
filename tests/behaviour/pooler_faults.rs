//! If a pooler is full or loses its server, it ends a session with FATAL and nothing but severity, code and message. At whatever statement
//! this happens, a read is repeated, any other request is done or answered 503, and nothing is duplicated. For appends see
//! `lost_acknowledgement`.

use std::collections::BTreeSet;

use annals_import::ImportOutcome;
use serde_json::{Value, json};
use tests::{Answer, Fault, Passed, World};

use crate::behind_proxy::BehindProxy;

const FAULTS: [Fault; 2] = [Fault::PoolerFull, Fault::PoolerLostServer];

/// A world behind a proxy with two customers that are projected.
async fn with_customers() -> BehindProxy {
    let scene = BehindProxy::new().await;
    for id in ["C-1", "C-2"] {
        scene
            .plain
            .append(&scene.staff, "customer.created", id, json!({"name": "Ada"}))
            .await;
    }
    scene.plain.sweep().await;
    scene
}

impl BehindProxy {
    /// The first lines of statements that have passed since the last call, without those that begin and end transactions.
    fn statements(&self) -> BTreeSet<String> {
        let record = self.proxy.take_record();
        let sql = record.into_iter().filter_map(|passed| match passed {
            Passed::Parse { sql, .. } | Passed::Query(sql) => Some(sql),
            _ => None,
        });
        let first_line = |sql: String| sql.lines().next().map(str::to_owned);
        sql.filter_map(first_line)
            .filter(|line| line.starts_with("-- "))
            .collect()
    }

    fn arm(&self, fault: Fault, statement: &str) {
        self.proxy.take_record();
        self.proxy.arm_at(fault, statement);
    }
}

#[tokio::test]
async fn a_read_is_repeated_at_whatever_statement_the_session_ends() {
    let scene = with_customers().await;
    let events = scene.plain.get(&scene.staff, "/events").await.expect(200);
    let event = events.items()[0]["id"].as_str().unwrap().to_owned();
    let mut struck = BTreeSet::new();
    for path in [
        "/events".to_owned(),
        format!("/events/{event}"),
        "/events/types".to_owned(),
        "/events/stats".to_owned(),
        "/events/unprocessed".to_owned(),
        "/events/feed".to_owned(),
        "/events/aggregate/customer/C-1/history".to_owned(),
        "/audit/entity/C-1".to_owned(),
        "/audit/recent".to_owned(),
        "/audit/count/C-1".to_owned(),
        "/entities/customer".to_owned(),
        "/entities/customer/C-1".to_owned(),
        "/entities/customer/C-1?version=1".to_owned(),
        "/analytics/kpis".to_owned(),
        "/projector/status".to_owned(),
    ] {
        // The catalog is cached by now, and a connection is open.
        for _ in 0..2 {
            scene.proxy.take_record();
            scene.proxied.get(&scene.staff, &path).await.expect(200);
        }
        for statement in scene.statements() {
            for fault in FAULTS {
                scene.arm(fault, &statement);
                let answer = scene.proxied.get(&scene.staff, &path).await;
                assert!(scene.proxy.has_struck(), "{fault:?} at {statement} of {path}");
                assert_eq!(
                    answer.status, 200,
                    "{fault:?} at {statement} of {path}: {}",
                    answer.text
                );
                struck.insert(statement.clone());
            }
        }
    }
    assert!(struck.len() > 12, "{struck:?}");
}

/// Checks the answer to a write: success, or a 503 with Retry-After.
#[track_caller]
fn assert_done_or_unavailable(answer: &Answer, what: &str) {
    if (200..300).contains(&answer.status) {
        return;
    }
    assert_eq!(answer.problem(503), "unavailable", "{what}: {}", answer.text);
    assert!(answer.header("retry-after").is_some(), "{what}");
}

#[tokio::test]
async fn a_write_is_done_or_answered_503_at_whatever_statement_the_session_ends() {
    let scene = with_customers().await;
    let superuser = scene.plain.superuser().await;
    // While one rebuild waits, another one is refused.
    let forget = async || superuser.batch_execute("delete from annals.rebuilds").await.unwrap();
    let (mut number, mut struck) = (0, BTreeSet::new());
    // Each has a new name, so that none is refused because of an earlier one.
    let mut writes = |kind: &str| -> (String, Value) {
        number += 1;
        match kind {
            "register" => (
                "/events/types".to_owned(),
                json!({"event_type": format!("thing{number}.made"), "aggregate_type": format!("thing{number}"), "version": "1.0",
                       "schema": {"type": "object"}, "example": {}, "effect": "none", "description": "a thing"}),
            ),
            "snapshot" => ("/entities/customer/C-1/snapshots".to_owned(), json!({})),
            "rebuild" => ("/projector/rebuild".to_owned(), json!({"module": "customer"})),
            "upload" => ("/data/uploads".to_owned(), json!({"dataset": "sales"})),
            _ => (
                "/entities/customer".to_owned(),
                json!({"id": format!("N-{number}"), "name": "Ada"}),
            ),
        }
    };
    for kind in ["register", "snapshot", "rebuild", "upload", "entity"] {
        for _ in 0..2 {
            forget().await;
            // A fault after the last answer of a request leaves a dead connection, which only its next use notices. A read then tries again.
            let read = scene.proxied.get(&scene.staff, "/entities/customer/C-1").await;
            read.expect(200);
            scene.proxy.take_record();
            let (path, body) = writes(kind);
            let answer = scene.proxied.post(&scene.staff, &path, body).await;
            assert!((200..300).contains(&answer.status), "{kind}: {}", answer.text);
        }
        for statement in scene.statements() {
            for fault in FAULTS {
                forget().await;
                scene.arm(fault, &statement);
                let (path, body) = writes(kind);
                let answer = scene.proxied.post(&scene.staff, &path, body).await;
                assert_done_or_unavailable(&answer, &format!("{fault:?} at {statement} of {kind}"));
                // Not every request reads the catalog.
                if scene.proxy.has_struck() {
                    struck.insert((kind, statement.clone()));
                }
            }
        }
    }
    assert!(struck.len() > 8, "{struck:?}");
}

/// A decision about a parked event is done or answered 503, and can be repeated without harm.
#[tokio::test]
async fn a_decision_about_a_parked_event_is_done_once() {
    let scene = with_customers().await;
    let superuser = scene.plain.superuser().await;
    let refuse = "alter table public.customers add constraint not_x check (name <> 'x')";
    superuser.batch_execute(refuse).await.unwrap();
    let decision = json!({"action": "skip", "reason": "a test"});
    let decide = async |world: &World, id: &str| {
        world
            .put(&scene.staff, &format!("/events/{id}/processing"), decision.clone())
            .await
    };
    let park = async |name: String| -> String {
        let event = scene
            .plain
            .append(&scene.staff, "customer.created", &name, json!({"name": "x"}))
            .await;
        scene.plain.project().await;
        event["id"].as_str().unwrap().to_owned()
    };
    for place in 0..2 {
        let id = park(format!("first-{place}")).await;
        scene.proxy.take_record();
        decide(&scene.proxied, &id).await.expect(200);
    }
    for statement in scene.statements() {
        for fault in FAULTS {
            let id = park(format!("{fault:?} {statement}")).await;
            scene.arm(fault, &statement);
            let answer = decide(&scene.proxied, &id).await;
            assert!(scene.proxy.has_struck(), "{fault:?} at {statement}");
            assert_done_or_unavailable(&answer, &format!("{fault:?} at {statement}"));
            let again = decide(&scene.plain, &id).await;
            assert!((200..300).contains(&answer.status) || (200..300).contains(&again.status) || again.status == 409);
            scene.plain.sweep().await;
        }
    }
    let status = scene
        .plain
        .get(&scene.staff, "/projector/status")
        .await
        .expect(200)
        .body;
    assert_eq!(status["parked_count"], 0, "{status}");
}

#[tokio::test]
async fn repeated_wake_ups_and_sweeps_project_each_event_once() {
    let scene = with_customers().await;
    let mut number = 0;
    for by_sweep in [false, true] {
        let mut append = async || {
            number += 1;
            let id = format!("P-{number}");
            scene
                .plain
                .append(&scene.staff, "customer.created", &id, json!({"name": "Ada"}))
                .await;
            match by_sweep {
                false => scene.plain.take_wake_ups().await,
                true => {
                    drop(scene.plain.take_wake_ups().await);
                    vec![r#"{"sweep":{}}"#.to_owned()]
                }
            }
        };
        for _ in 0..2 {
            let bodies = append().await;
            scene.proxy.take_record();
            assert!(scene.proxied.deliver(bodies).await.is_empty());
        }
        for statement in scene.statements() {
            for fault in FAULTS {
                let bodies = append().await;
                scene.arm(fault, &statement);
                let failed = scene.proxied.deliver(bodies.clone()).await;
                assert!(scene.proxy.has_struck(), "{fault:?} at {statement}");
                if !failed.is_empty() {
                    assert_eq!(scene.proxied.deliver(bodies).await.len(), 0, "{fault:?} at {statement}");
                }
            }
        }
    }
    scene.plain.sweep().await;
    scene.plain.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn an_import_continues_and_counts_each_row_once() {
    let scene = with_customers().await;
    let file =
        |number: usize| format!("sale_id,sale_date,amount\nA{number},2026-01-02,1.00\nB{number},2026-01-02,2.00\n");
    let mut number = 0;
    let mut ask = async || {
        number += 1;
        let asked = scene
            .plain
            .ask_for_upload(&scene.staff, json!({"dataset": "sales"}))
            .await;
        scene.plain.put_file(&asked, file(number)).await;
        asked
    };
    let proxied = scene.proxy.before(&scene.plain).with_files_of(&scene.plain);
    for _ in 0..2 {
        let asked = ask().await;
        scene.proxy.take_record();
        assert_eq!(
            proxied.importer().import(asked.id, None).await.unwrap(),
            ImportOutcome::Ended
        );
    }
    let statements = scene.statements();
    assert!(statements.len() > 5, "{statements:?}");
    for statement in statements {
        for fault in FAULTS {
            let asked = ask().await;
            scene.arm(fault, &statement);
            let first = proxied.importer().import(asked.id, None).await;
            // Statements that run by a timer may not have been sent.
            let struck = scene.proxy.has_struck();
            if !matches!(first, Ok(ImportOutcome::Ended)) {
                let release = "update annals.imports set held_until = now() where holder is not null";
                scene.plain.superuser().await.batch_execute(release).await.unwrap();
                let again = scene.plain.importer().import(asked.id, None).await.unwrap();
                assert_eq!(again, ImportOutcome::Ended, "{fault:?} at {statement}, {struck}");
            }
            let done = scene.plain.upload(&scene.staff, &asked).await.expect(200).body;
            assert_eq!(
                (&done["status"], &done["rows_accepted"], &done["events_appended"]),
                (&json!("completed"), &json!(2), &json!(2)),
                "{fault:?} at {statement}: {done}"
            );
        }
    }
}
