//! What happens concurrently with the clients: projecting, rebuilding, evolving types, and killing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Person, Strike, Victim, When};

use crate::dice::Dice;
use crate::site::Site;

/// Messages per invocation of the projector, as in the event source mapping of `template.yaml`.
const MESSAGES: usize = 10;
/// The interval of the schedule.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// Time between two rebuilds of everything.
const REBUILD_EVERY: Duration = Duration::from_secs(7);
/// Time between two versions of the same type.
const EVOLVE_EVERY: Duration = Duration::from_secs(5);
/// How long a killed process is down.
const GONE: Duration = Duration::from_millis(100);
/// An armed fault happens within this many statements.
const STATEMENTS: usize = 40;

/// Plays the queue and the schedule. Failed messages are lost, as if the queue had lost them, and the sweep finds their streams.
pub async fn project(site: Arc<Site>, end: Instant) {
    let mut swept = Instant::now();
    while Instant::now() < end {
        let mut messages = Vec::new();
        for process in &site.processes {
            messages.extend(process.world.take_wake_ups().await);
        }
        for some in messages.chunks(MESSAGES) {
            site.projecting().world.deliver(some.to_vec()).await;
        }
        if swept.elapsed() > SWEEP_EVERY {
            let _again_soon = site.projecting().world.projector.sweep().await;
            swept = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Requests rebuilds and runs them; one that is killed runs again.
pub async fn rebuild(site: Arc<Site>, end: Instant) {
    while Instant::now() < end {
        tokio::time::sleep(REBUILD_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
        let staff = Person::staff();
        site.world.post(&staff, "/projector/rebuild", json!({})).await;
        let _again_soon = site.projecting().world.projector.rebuild_due().await;
    }
}

/// Registers later versions of `gauge.read`, of which clients continue to post version 1.0.
pub async fn evolve(site: Arc<Site>, end: Instant) {
    let staff = Person::staff();
    let first = json!({"event_type": "gauge.read", "effect": "create",
                       "schema": {"type": "object", "required": ["value1"], "properties": {"value1": {"type": "number"}}},
                       "example": {"value1": 1}});
    let mut body = first;
    for version in 2.. {
        while Instant::now() < end {
            let answer = site
                .answering(version)
                .world
                .post(&staff, "/events/types", body.clone())
                .await;
            if [201, 409].contains(&answer.status) {
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.text);
        }
        tokio::time::sleep(EVOLVE_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
        if Instant::now() >= end {
            return;
        }
        let (old, new) = (format!("value{}", version - 1), format!("value{version}"));
        let from = format!("{}.0", version - 1);
        body = json!({"event_type": "gauge.read", "version": format!("{version}.0"),
                      "schema": {"type": "object", "required": [new], "properties": {(new.clone()): {"type": "number"}}},
                      "example": {(new.clone()): 1},
                      "upcasters": [{"from_version": from, "steps": [{"rename": {(old): new}}]}]});
    }
}

/// Kills connections, processes and, in the middle of a long soak, the server; returns how many.
pub async fn kill(site: Arc<Site>, seed: u64, seconds: u64, end: Instant) -> String {
    let mut dice = Dice::new(seed, "kills");
    let server_dies = end - Duration::from_secs(seconds / 2);
    let (mut strikes, mut processes, mut backends, mut servers) = (0, 0, 0, 0);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(
            100 + 10 * u64::try_from(dice.below(60)).unwrap_or(0),
        ))
        .await;
        if seconds >= 20 && servers == 0 && Instant::now() > server_dies {
            tokio::task::block_in_place(|| {
                site.server.kill();
                site.server.start_again();
            });
            servers = 1;
        }
        let cutter = &dice.one(&site.processes).cutter;
        match dice.below(4) {
            0 => {
                cutter.end_all();
                processes += 1;
            }
            1 => backends += end_some_backend(&site, &mut dice).await,
            _ => {
                cutter.arm(Strike {
                    victim: *dice.one(&[Victim::Process, Victim::Connection]),
                    when: *dice.one(&[When::Before, When::After]),
                    statement: 1 + dice.below(STATEMENTS),
                });
                tokio::time::sleep(GONE).await;
                strikes += usize::from(cutter.has_struck());
                cutter.disarm();
            }
        }
    }
    format!("killed: {strikes} at a chosen statement, {processes} processes, {backends} backends, {servers} servers")
}

async fn end_some_backend(site: &Site, dice: &mut Dice) -> usize {
    let superuser = site.world.superuser().await;
    let all = "select pid from pg_stat_activity where application_name = 'annals' order by pid";
    let pids: Vec<i32> = superuser
        .query(all, &[])
        .await
        .expect("backends")
        .iter()
        .map(|row| row.get(0))
        .collect();
    if pids.is_empty() {
        return 0;
    }
    let pid = *dice.one(&pids);
    superuser
        .query("select pg_terminate_backend($1)", &[&pid])
        .await
        .expect("an end");
    1
}
