//! Annals' appends and projections, through the complete handler in process: from the bytes of a request to the bytes of an answer, with token, body, schema and
//! database. A deployed function does the same, except for the network in front of it.

use std::time::Duration;

use tests::{Figure, Phase, World, remove_requirements, repeat};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::rows::{BATCH, batch, body, new_stream};
use crate::site::Site;

/// Events in a backlog named by batches' messages.
const BACKLOG: usize = 10_000;
/// Events in a backlog named by a message each.
const SINGLE_BACKLOG: usize = 1_000;
/// Messages per invocation of the projector, as in the event source mapping of `template.yaml`.
const MESSAGES: usize = 10;
/// Existing streams that each writer appends to.
const KNOWN_STREAMS: usize = 200;

/// The streams that single events are appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Each event starts a new stream.
    New,
    /// One event in ten starts a new stream, the others go to existing ones.
    MostlyOld,
}

/// The streams of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Each event starts a new stream.
    HundredStreams,
    /// Ten events for each of ten new streams.
    TenStreams,
}

/// Measures Annals.
pub struct Work<'a> {
    site: &'a Site,
    phase: Duration,
    world: World,
    api: Api,
}

impl<'a> Work<'a> {
    /// Annals at this site; each phase takes this long.
    pub async fn new(site: &'a Site, phase: Duration) -> Self {
        // The bench appends the same type repeatedly, and this type could start each stream only once.
        remove_requirements(&site.annals_url()).await;
        let world = World::at("annals".to_owned(), &site.annals_url());
        let api = Api::of(&world);
        Self {
            site,
            phase,
            world,
            api,
        }
    }

    /// One event per request.
    pub async fn append(&self, writers: usize, streams: Streams) -> Figure {
        let mut known = Vec::new();
        for _ in 0..writers {
            known.push(match streams {
                Streams::New => Vec::new(),
                Streams::MostlyOld => self.api.start_streams(KNOWN_STREAMS).await,
            });
        }
        let phase = Phase::start(self.site.postmaster);
        let mut tasks = JoinSet::new();
        for known in known {
            let (api, time) = (self.api.clone(), self.phase);
            tasks.spawn(async move {
                let mut turn = 0;
                repeat(time, || {
                    turn += 1;
                    let stream = if turn % 10 == 0 {
                        None
                    } else {
                        known.get(turn * 7 % KNOWN_STREAMS)
                    };
                    api.post(body(&stream.cloned().unwrap_or_else(new_stream)), 1)
                })
                .await
            });
        }
        phase.end(tasks.join_all().await.into_iter().sum())
    }

    /// A hundred events per request.
    pub async fn append_hundreds(&self, writers: usize, spread: Batch) -> Figure {
        let phase = Phase::start(self.site.postmaster);
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (api, time) = (self.api.clone(), self.phase);
            tasks.spawn(async move { repeat(time, || api.post(spread.body(), BATCH)).await });
        }
        phase.end(tasks.join_all().await.into_iter().sum())
    }

    /// Projects a backlog of batches, with one message for each batch.
    pub async fn project_batches(&self) -> Figure {
        self.world.take_wake_ups().await;
        for _ in 0..BACKLOG / BATCH {
            self.api.post(Batch::HundredStreams.body(), BATCH).await;
        }
        self.drain(BACKLOG).await
    }

    /// Projects a backlog of single events, with a message for each.
    pub async fn project_singles(&self) -> Figure {
        self.world.take_wake_ups().await;
        for _ in 0..SINGLE_BACKLOG {
            self.api.post(body(&new_stream()), 1).await;
        }
        self.drain(SINGLE_BACKLOG).await
    }

    async fn drain(&self, events: usize) -> Figure {
        let messages = self.world.take_wake_ups().await;
        let phase = Phase::start(self.site.postmaster);
        for some in messages.chunks(MESSAGES) {
            let failed = self.world.deliver(some.to_vec()).await;
            assert!(failed.is_empty(), "{failed:?}");
        }
        phase.end(events)
    }
}

impl Batch {
    fn body(self) -> String {
        let per_stream = match self {
            Self::HundredStreams => 1,
            Self::TenStreams => 10,
        };
        let streams: Vec<String> = (0..BATCH / per_stream).map(|_| new_stream()).collect();
        batch((0..BATCH).map(|place| streams[place / per_stream].clone()))
    }
}
