//! What Annals does, through the whole handler in process: bytes of a request in, bytes of an answer out. Token, body, schema,
//! database: everything that a deployed function does, except the network before it.

use std::time::{Duration, Instant};

use annals::domain::Role;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use tests::{Person, World};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::measure::{Figure, Phase, repeat};
use crate::rows::{USER_AGENT, batch, body, new_stream};
use crate::site::Site;

/// Events of a batch.
const BATCH: usize = 100;
/// Events that the projector finds undone, named by batches' messages.
const BACKLOG: usize = 20_000;
/// The same, each named by a message of its own.
const SINGLE_BACKLOG: usize = 2_000;
/// Messages that the projector takes at once, as the event source mapping of `template.yaml` does.
const MESSAGES: usize = 10;
/// Streams that each writer knows and comes back to.
const KNOWN_STREAMS: usize = 200;

/// Which streams single events go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Each to one of its own.
    New,
    /// One in ten to one of its own, the others to streams that exist.
    MostlyOld,
}

/// How a batch spreads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Each event to a new stream.
    HundredStreams,
    /// Ten events to each of ten new streams.
    TenStreams,
}

/// Annals at work.
pub struct Work<'a> {
    site: &'a Site,
    phase: Duration,
    world: World,
    api: Api,
}

/// The API for one member of staff.
#[derive(Clone)]
struct Api {
    router: Router,
    bearer: String,
}

impl<'a> Work<'a> {
    /// Annals at this site, each phase so long.
    pub async fn new(site: &'a Site, phase: Duration) -> Self {
        let world = World::at("annals".to_owned(), &site.annals_url());
        let person = Person::staff();
        assert_eq!(person.role, Role::Staff);
        let api = Api {
            router: world.router.clone(),
            bearer: format!("Bearer {}", person.token()),
        };
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

    /// A backlog that batches have left, each batch with one message.
    pub async fn project_batches(&self) -> Figure {
        self.world.take_wake_ups().await;
        for _ in 0..BACKLOG / BATCH {
            self.api.post(Batch::HundredStreams.body(), BATCH).await;
        }
        self.drain(BACKLOG).await
    }

    /// A backlog that single requests have left, each with a message of its own.
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

    /// Pages of a long stream's history, from its first to its last and over again.
    pub async fn read_history(&self) -> Figure {
        let stream = new_stream();
        for _ in 0..10 {
            self.api.post(batch((0..100).map(|_| stream.clone())), 100).await;
        }
        self.read_pages(&format!("/events/aggregate/sale/{stream}/history?limit=100"))
            .await
    }

    /// Pages of the whole log.
    pub async fn read_newest(&self) -> Figure {
        self.read_pages("/events?limit=100").await
    }

    /// One entity after the other, each read by its id.
    pub async fn read_entities(&self) -> Figure {
        let streams = self.api.start_streams(KNOWN_STREAMS).await;
        self.world.project().await;
        let (phase, mut turn) = (Phase::start(self.site.postmaster), 0);
        let reads = repeat(self.phase, || {
            turn += 1;
            let path = format!("/entities/sale/{}", streams[turn % streams.len()]);
            async move {
                self.api.get(&path).await;
                1
            }
        });
        phase.end(reads.await)
    }

    async fn read_pages(&self, path: &str) -> Figure {
        let phase = Phase::start(self.site.postmaster);
        let (mut pages, mut cursor) = (0, None::<String>);
        let deadline = Instant::now() + self.phase;
        while Instant::now() < deadline {
            let next = cursor
                .take()
                .map_or_else(|| path.to_owned(), |cursor| format!("{path}&cursor={cursor}"));
            let page = self.api.get(&next).await;
            cursor = next_cursor(&page);
            pages += 1;
        }
        phase.end(pages)
    }
}

/// The page's cursor, found without reading the page as JSON: that would be the bench's time, not Annals'.
fn next_cursor(page: &str) -> Option<String> {
    let (_, rest) = page.rsplit_once(r#""next_cursor":""#)?;
    rest.split('"').next().map(str::to_owned)
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

impl Api {
    /// Posts a body that holds so many events.
    async fn post(&self, body: String, events: usize) -> usize {
        let request = Request::post("/api/v1/events")
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Body::from(body));
        self.answer(request.expect("a request"), 201).await;
        events
    }

    async fn get(&self, path: &str) -> String {
        let request = Request::get(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, &self.bearer)
            .body(Body::empty());
        self.answer(request.expect("a request"), 200).await
    }

    async fn answer(&self, request: Request<Body>, status: u16) -> String {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let found = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert_eq!(found, status, "{text}");
        text
    }

    async fn start_streams(&self, count: usize) -> Vec<String> {
        let streams: Vec<String> = (0..count).map(|_| new_stream()).collect();
        for some in streams.chunks(BATCH) {
            self.post(batch(some.iter().cloned()), some.len()).await;
        }
        streams
    }
}
