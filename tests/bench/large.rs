//! Reads of a large log compared with the same reads of a small one: the cost of a request must not depend on the size of the rest of the
//! log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_store::{DueRebuild, RebuildScope};
use projector::Progress;
use tests::{Figure, Line, Phase, Target, World, connect, median};

use crate::api::Api;
use crate::logs::{Shape, annals_stream, person};
use crate::site::Site;

/// Events in the small log.
const SMALL: i64 = 100_000;
/// Default number of events in the large log.
pub const LARGE: i64 = 10_000_000;
/// Events of each stream.
const LENGTH: i64 = 10;
/// How often each log is measured.
const ROUNDS: usize = 5;
/// What every page should reach.
const PAGE: Option<Target> = Some(Target::LARGE);
/// Workers of the rebuild that fills the state tables.
const WORKERS: usize = 4;

/// The requests. `{stream}` is another stream each time, `{person}` another person, `{middle}` the middle of the log's time range. The cost of the last two also depends
/// on the events of the last minute, which are equally many in both logs, and of the first and last minutes of the last day.
const QUESTIONS: [(&str, &str, Option<Target>); 15] = [
    (
        "history of a stream",
        "/events/aggregate/sale/{stream}/history?limit=100",
        PAGE,
    ),
    ("audit of an entity", "/audit/entity/{stream}?entity_type=sale", PAGE),
    ("GET /events, newest 100", "/events?limit=100", PAGE),
    ("GET /events, 100 in the middle", "/events?limit=100&to={middle}", PAGE),
    (
        "GET /events of a type, from the middle on",
        "/events?event_type=sale.updated&from={middle}&order=asc&limit=100",
        PAGE,
    ),
    (
        "GET /events of a rare type",
        "/events?event_type=sale.deleted&limit=100",
        PAGE,
    ),
    ("GET /events of a person", "/events?user_id={person}&limit=100", PAGE),
    ("GET /events/unprocessed, none", "/events/unprocessed?limit=100", PAGE),
    ("entity now", "/entities/sale/{stream}", PAGE),
    ("entity, by version", "/entities/sale/{stream}?version=5", PAGE),
    ("entity, by recorded time", "/entities/sale/{stream}?at={now}", PAGE),
    (
        "entity, by business time",
        "/entities/sale/{stream}?valid_at={now}",
        PAGE,
    ),
    ("entities, a page", "/entities/sale?limit=100", PAGE),
    ("statistics", "/events/stats", None),
    ("projector's status", "/projector/status", None),
];

/// A log and the API in front of it.
struct Log {
    shape: Shape,
    world: World,
    api: Api,
}

/// Measures every request.
pub async fn measure(site: &Site, events: i64, phase: Duration) -> Vec<Line> {
    let small = Log::fill(site, "small", SMALL).await;
    let large = Log::fill(site, "large", events).await;
    let mut lines = Vec::new();
    for (question, path, target) in QUESTIONS {
        let mut found: [Vec<Figure>; 2] = Default::default();
        for round in 0..ROUNDS {
            found[0].push(small.ask(site, path, phase / 3, round).await);
            found[1].push(large.ask(site, path, phase / 3, round).await);
        }
        let work = format!("{question}: {events} events against {SMALL}");
        lines.push(
            Line::rate(work, "answers/s", median(&found[0]), median(&found[1]))
                .with_target(target)
                .shown(),
        );
    }
    lines
}

impl Log {
    async fn fill(site: &Site, name: &str, events: i64) -> Self {
        let started = Instant::now();
        let url = site.fresh_database(name).await;
        let shape = Shape::new(events, LENGTH);
        shape.fill_annals(&url).await;
        let world = World::at(name.to_owned(), &url);
        let log = Self {
            shape,
            api: Api::of(&world),
            world,
        };
        log.project_and_count().await;
        connect(&url)
            .await
            .batch_execute("vacuum analyze")
            .await
            .expect("statistics");
        println!("projected and passed by the sweep after {:?}", started.elapsed());
        log
    }

    /// Fills the state tables, and counts the events as sweeps do.
    async fn project_and_count(&self) {
        let due = DueRebuild {
            id: None,
            scope: RebuildScope::default(),
        };
        let rebuilt = self
            .world
            .projector
            .rebuild(&due, WORKERS, Arc::new(Progress::default()));
        assert_eq!(rebuilt.await.expect("a rebuild").events, self.shape.events);
        self.world.projector.sweep().await.expect("a sweep");
    }

    /// The middle of the log's time range.
    fn middle(&self) -> String {
        let middle = self.shape.time_of(self.shape.events / 2);
        middle.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// One client that sends the same request for one stream after the other.
    async fn ask(&self, site: &Site, path: &str, time: Duration, round: usize) -> Figure {
        let path = path
            .replace("{middle}", &self.middle())
            .replace("{now}", &chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let (streams, people) = (self.shape.events / LENGTH, self.shape.events / 100);
        // The step and the number of streams have no common factor, so no stream is repeated before all were read.
        let mut stream = i64::try_from(round).unwrap_or_default() * 7;
        let phase = Phase::start(site.postmaster);
        let (deadline, mut answers) = (Instant::now() + time, 0);
        while Instant::now() < deadline {
            stream = (stream + 7_919) % streams;
            let path = path
                .replace("{stream}", &annals_stream(stream))
                .replace("{person}", &person(stream % people).to_string());
            self.api.get(&path).await;
            answers += 1;
        }
        phase.end(answers)
    }
}
