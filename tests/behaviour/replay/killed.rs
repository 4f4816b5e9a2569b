//! Random histories of several writers, random interleavings of their commits, and a consumer that dies at random points, executed step
//! by step.
//!
//! The consumer keeps what it was handed. It dies by failing at an event, which has the same effect on the checkpoint as a kill. Events
//! delivered after the last move of the checkpoint are delivered again, and no others.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use annals::replay::{Replay, ReplayError, ReplayOrder, replay};
use annals_domain::{Event, TenantId};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::{Effort, Person, World, check_property_of_world};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{GaveUp, PATIENCE, assert_streams_in_order, in_batches_of, numbers, under};

const WRITERS: usize = 4;

/// One step. Each writer has streams of its own, because a script cannot wait for a lock.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append {
        writer: usize,
        stream: usize,
    },
    Commit {
        writer: usize,
    },
    Rollback {
        writer: usize,
    },
    /// All writers commit, so that no open append holds the consumer back.
    CommitAll,
    Consume(Life),
}

/// A run of the consumer: it fails at its event number `dies_at`, or reaches the end.
#[derive(Debug, Clone, Copy)]
struct Life {
    dies_at: usize,
    batch: u16,
    workers: usize,
}

fn life() -> impl Strategy<Value = Life> {
    (0..9usize, 1..5u16, 1..3usize).prop_map(|(dies_at, batch, workers)| Life {
        dies_at,
        batch,
        workers,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let writer = 0..WRITERS;
    prop_oneof![
        8 => (writer.clone(), 0..2usize).prop_map(|(writer, stream)| Step::Append { writer, stream }),
        3 => writer.clone().prop_map(|writer| Step::Commit { writer }),
        1 => writer.prop_map(|writer| Step::Rollback { writer }),
        1 => Just(Step::CommitAll),
        3 => life().prop_map(Step::Consume),
    ]
}

struct Writer {
    client: Client,
    is_open: bool,
    pending: Vec<i64>,
}

impl Writer {
    async fn append(&mut self, id: &str) {
        if !self.is_open {
            self.client.batch_execute("begin").await.unwrap();
            self.is_open = true;
        }
        let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id,
                           "data": {"phone": "1"}});
        let post = "select (public.post_event($1::text::jsonb) ->> 'event_number')::bigint";
        let row = self.client.query_one(post, &[&event.to_string()]).await.unwrap();
        self.pending.push(row.get(0));
    }

    async fn end(&mut self, sql: &str) -> Vec<i64> {
        self.client.batch_execute(sql).await.unwrap();
        self.is_open = false;
        std::mem::take(&mut self.pending)
    }
}

/// The consumer of one case, and everything that it was handed.
struct Consumer<'a> {
    world: &'a World,
    owner: Client,
    wanted: Replay,
    /// Delivered in runs that reached their end, or before the last move of the checkpoint in runs that died.
    kept: Vec<Value>,
}

impl Consumer<'_> {
    async fn position(&self) -> i64 {
        let name = self.wanted.checkpoint.as_ref().unwrap().as_str();
        let sql = "select coalesce(max(position), 0) from annals.checkpoints where name = $1";
        self.owner.query_one(sql, &[&name]).await.unwrap().get(0)
    }

    async fn run_life(&mut self, life: Life, patience: Duration) {
        let order = match NonZeroUsize::new(life.workers) {
            Some(workers) if life.workers > 1 => ReplayOrder::ByStream { workers },
            _ => ReplayOrder::Global,
        };
        let wanted = Replay {
            order,
            patience,
            ..in_batches_of(life.batch, self.wanted.clone())
        };
        self.run(life.dies_at, &wanted).await;
    }

    async fn run(&mut self, dies_at: usize, wanted: &Replay) {
        let (before, handed) = (self.position().await, Mutex::new(Vec::new()));
        let outcome = replay(&self.world.app.store, wanted, async |event: Event| {
            // Yields, so that several workers have an event in progress.
            tokio::task::yield_now().await;
            let mut handed = handed.lock().unwrap();
            if handed.len() == dies_at {
                return Err(GaveUp);
            }
            handed.push(json!(event));
            Ok(())
        });
        let outcome = outcome.await;
        let mut handed = handed.into_inner().unwrap();
        let reached = self.position().await;
        match outcome {
            Ok(report) => assert_eq!(report.position, reached),
            Err(ReplayError::Handler(GaveUp)) => {}
            Err(ReplayError::HeldBack(_)) => assert!(handed.is_empty() && reached == before),
            Err(other) => panic!("{other}"),
        }
        if wanted.order == ReplayOrder::Global {
            assert!(numbers(&handed).is_sorted_by(|one, next| one < next));
        }
        assert!(
            numbers(&handed).iter().all(|number| *number > before),
            "an event before the checkpoint is not delivered again"
        );
        // Events after the checkpoint do not count: they must be delivered again.
        handed.retain(|event| event["event_number"].as_i64().unwrap() <= reached);
        self.kept.extend(handed);
    }
}

async fn run(world: &World, steps: &[Step], last_lives: &[Life]) {
    // Each case has its own tenant, so streams start anew; the log continues.
    let staff = Person::staff().in_tenant(Uuid::new_v4());
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let client = world.session_of(&staff).await;
        writers.push(Writer {
            client,
            is_open: false,
            pending: Vec::new(),
        });
    }
    let mut consumer = Consumer {
        world,
        owner: world.owner().await,
        wanted: Replay {
            tenant: Some(TenantId::from(staff.tenant)),
            ..under(&staff.tenant.to_string())
        },
        kept: Vec::new(),
    };
    let mut committed = Vec::new();
    for step in steps {
        match *step {
            Step::Append { writer, stream } => writers[writer].append(&format!("{writer}-{stream}")).await,
            Step::Commit { writer } => committed.extend(writers[writer].end("commit").await),
            Step::Rollback { writer } => drop(writers[writer].end("rollback").await),
            Step::CommitAll => {
                for writer in &mut writers {
                    committed.extend(writer.end("commit").await);
                }
            }
            // Appends of other tests end soon; those of this script stay open during this step.
            Step::Consume(life) => consumer.run_life(life, Duration::from_millis(20)).await,
        }
    }
    for writer in &mut writers {
        committed.extend(writer.end("commit").await);
    }
    // Several deaths with everything to read, and then one run to the end.
    for life in last_lives {
        consumer.run_life(*life, PATIENCE).await;
    }
    let to_the_end = consumer.wanted.clone();
    consumer.run(usize::MAX, &to_the_end).await;
    committed.sort_unstable();
    let mut kept = numbers(&consumer.kept);
    assert_streams_in_order(&consumer.kept);
    kept.sort_unstable();
    assert_eq!(
        kept, committed,
        "each committed event, once per position of the checkpoint"
    );
}

#[test]
fn in_any_order_of_commits_and_deaths_the_consumer_handles_each_committed_event() {
    let effort = Effort {
        cases: 16,
        shrinks: 200,
    };
    let histories = (vec(step(), 5..40), vec(life(), 0..5));
    check_property_of_world(effort, &histories, async |world, (steps, last_lives)| {
        run(world, &steps, &last_lives).await;
    });
}
