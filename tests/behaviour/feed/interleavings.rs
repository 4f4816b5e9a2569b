//! Random interleavings of transactions, savepoints, commits, rollbacks and reads, executed step by step.

use std::time::Duration;

use annals_store::Feed;
use proptest::prelude::*;
use tests::{Effort, Person, World, check_property_of_world};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{append, assert_in_order, next_page, numbers, read_all};

const SESSIONS: usize = 4;

/// One step of one session. Each session writes to streams of its own, because a script cannot wait for a lock.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append { session: usize, stream: usize },
    Savepoint { session: usize },
    BackToSavepoint { session: usize },
    Commit { session: usize },
    Rollback { session: usize },
    Read { limit: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    prop_oneof![
        6 => (session.clone(), 0..2usize).prop_map(|(session, stream)| Step::Append { session, stream }),
        1 => session.clone().prop_map(|session| Step::Savepoint { session }),
        1 => session.clone().prop_map(|session| Step::BackToSavepoint { session }),
        3 => session.clone().prop_map(|session| Step::Commit { session }),
        1 => session.prop_map(|session| Step::Rollback { session }),
        3 => (1..5i64).prop_map(|limit| Step::Read { limit }),
    ]
}

/// A session and what its open transaction has appended; the first `savepoint` events are before the savepoint.
struct Session {
    client: Client,
    is_open: bool,
    savepoint: Option<usize>,
    pending: Vec<i64>,
}

impl Session {
    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn begin(&mut self) {
        if !self.is_open {
            self.run("begin").await;
            self.is_open = true;
        }
    }

    async fn end(&mut self, sql: &str) -> Vec<i64> {
        self.run(sql).await;
        (self.is_open, self.savepoint) = (false, None);
        std::mem::take(&mut self.pending)
    }
}

async fn run(world: &World, steps: &[Step]) {
    // Each case has its own tenant, so streams start anew; the log continues.
    let staff = Person::staff().in_tenant(Uuid::new_v4());
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let client = world.session_of(&staff).await;
        sessions.push(Session {
            client,
            is_open: false,
            savepoint: None,
            pending: Vec::new(),
        });
    }
    let start = world.app.store.high_water_mark(super::PATIENCE).await.unwrap().unwrap();
    let mut feed = Feed::after(world.app.store.clone(), start);
    let (mut committed, mut seen) = (Vec::new(), Vec::new());
    for step in steps {
        match *step {
            Step::Append { session, stream } => {
                let own = &mut sessions[session];
                own.begin().await;
                own.pending
                    .push(append(&own.client, &format!("{session}-{stream}")).await);
            }
            Step::Savepoint { session } => {
                let own = &mut sessions[session];
                own.begin().await;
                own.run("savepoint here").await;
                own.savepoint = Some(own.pending.len());
            }
            Step::BackToSavepoint { session } => {
                let own = &mut sessions[session];
                if let Some(length) = own.savepoint {
                    own.run("rollback to savepoint here").await;
                    own.pending.truncate(length);
                }
            }
            Step::Commit { session } => committed.extend(sessions[session].end("commit").await),
            Step::Rollback { session } => drop(sessions[session].end("rollback").await),
            Step::Read { limit } => seen.extend(next_page(&mut feed, limit, Duration::ZERO).await),
        }
    }
    for session in &mut sessions {
        committed.extend(session.end("commit").await);
    }
    seen.extend(read_all(&mut feed).await);
    committed.sort_unstable();
    assert_eq!(numbers(&seen), committed);
    assert_in_order(&seen);
}

#[test]
fn any_interleaving_shows_each_committed_event_once_and_in_order() {
    let effort = Effort {
        cases: 24,
        shrinks: 200,
    };
    let scripts = proptest::collection::vec(step(), 5..50);
    check_property_of_world(effort, &scripts, async |world, steps| run(world, &steps).await);
}
