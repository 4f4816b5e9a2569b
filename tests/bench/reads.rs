//! Annals' reads, through the complete handler in process, compared with prepared SELECTs of the same rows from the reference table. Both logs
//! have a million events and were never analysed. There is one reader. It repeats a set of requests, so the rows are in memory on both sides.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tests::{Figure, Line, Phase, Target, World, connect, median, repeat};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::api::{Api, cursor, events_on};
use crate::logs::{Shape, annals_stream, person, reference_stream};
use crate::reference::Batches;
use crate::rows::{BATCH, batch, new_stream};
use crate::site::Site;

/// Default number of events of each log.
pub const EVENTS: i64 = 1_000_000;
/// Events of each stream.
const LENGTH: i64 = 1_000;
/// Different streams, people or times that a question asks for.
const VARIANTS: i64 = 20;
/// Entities that are read.
const ENTITIES: usize = 2 * BATCH;
/// Number of alternating rounds of the reference table and Annals.
const ROUNDS: usize = 3;

/// The parameters of a SELECT.
type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

/// The same question to Annals and to the reference table.
struct Question {
    work: &'static str,
    unit: &'static str,
    target: Target,
    sql: &'static str,
    /// Each request, as a path and as parameters.
    requests: Vec<(String, Parameters)>,
}

/// The two logs.
struct Logs<'a> {
    site: &'a Site,
    shape: Shape,
    api: Api,
    reference: Client,
    /// Entities by their ids in Annals.
    entities: Vec<String>,
}

/// Measures every question; each phase takes this long.
pub async fn measure_all(site: &Site, events: i64, phase: Duration) -> Vec<Line> {
    let logs = Logs::fill(site, events).await;
    let questions = [
        logs.history().await,
        logs.newest(),
        logs.by_type(),
        logs.by_actor(),
        logs.by_time(),
        logs.unprocessed().await,
        logs.entity().await,
    ];
    let mut lines = Vec::new();
    for question in &questions {
        lines.push(logs.measure(question, phase).await);
    }
    lines
}

impl<'a> Logs<'a> {
    /// After the generated events, both logs end with the same number of new streams: entities, which are projected, and a batch that is not.
    async fn fill(site: &'a Site, events: i64) -> Self {
        let shape = Shape::new(events, LENGTH);
        let url = site.fresh_database("reads").await;
        let reference_url = site.reference_database("reads_reference").await;
        tokio::join!(shape.fill_annals(&url), shape.fill_reference(&reference_url));
        let world = World::at("reads".to_owned(), &url);
        let api = Api::of(&world);
        let entities = api.start_streams(ENTITIES).await;
        world.project().await;
        // As once a minute: it counts the events of each minute and notes that all of them are projected.
        world.projector.sweep().await.expect("a sweep");
        api.post(batch((0..BATCH).map(|_| new_stream())), BATCH).await;
        let batches = Batches::prepare(connect(&reference_url).await).await;
        for _ in 0..=ENTITIES / BATCH {
            batches.insert().await;
        }
        Self {
            site,
            shape,
            api,
            reference: connect(&reference_url).await,
            entities,
        }
    }

    async fn history(&self) -> Question {
        let mut requests: Vec<(String, Parameters)> = Vec::new();
        for stream in 0..VARIANTS {
            let first = format!(
                "/events/aggregate/sale/{}/history?limit=100",
                annals_stream(stream * 31)
            );
            let (mut path, mut version) = (first.clone(), 0_i32);
            loop {
                requests.push((
                    path.clone(),
                    vec![Box::new(reference_stream(stream * 31)), Box::new(version)],
                ));
                match cursor(&self.api.get(&path).await, "next_cursor") {
                    Some(next) => path = format!("{first}&cursor={next}"),
                    None => break,
                }
                version += 100;
            }
        }
        Question {
            sql: "select * from events where aggregate_type = 'sale' and aggregate_id = $1 and aggregate_version > $2 \
                  order by aggregate_version limit 100",
            ..page("history, pages of 100", requests)
        }
    }

    fn newest(&self) -> Question {
        Question {
            sql: "select * from events order by event_number desc limit 100",
            ..page(
                "GET /events, newest 100",
                vec![("/events?limit=100".to_owned(), Vec::new())],
            )
        }
    }

    fn by_type(&self) -> Question {
        let request: (String, Parameters) = (
            "/events?event_type=sale.deleted&limit=100".to_owned(),
            vec![Box::new("sale.deleted")],
        );
        Question {
            sql: "select * from events where event_type = $1 order by event_number desc limit 100",
            ..page("GET /events, 100 of a type", vec![request])
        }
    }

    fn by_actor(&self) -> Question {
        let request = |remainder| -> (String, Parameters) {
            let user = person(remainder * 31);
            (format!("/events?user_id={user}&limit=100"), vec![Box::new(user)])
        };
        Question {
            sql: "select * from events where user_id = $1 order by event_number desc limit 100",
            ..page("GET /events, 100 of an actor", (0..VARIANTS).map(request).collect())
        }
    }

    fn by_time(&self) -> Question {
        let request = |place| -> (String, Parameters) {
            let first = self.shape.events / 4 + place * (self.shape.events / 100);
            let [from, to]: [DateTime<Utc>; 2] = [first, first + 100].map(|number| self.shape.time_of(number));
            let [a, b] = [from, to].map(|time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ"));
            (
                format!("/events?from={a}&to={b}&limit=100"),
                vec![Box::new(from), Box::new(to)],
            )
        };
        Question {
            sql: "select * from events where timestamp >= $1 and timestamp < $2 order by event_number desc limit 100",
            ..page("GET /events, 100 of a second", (0..VARIANTS).map(request).collect())
        }
    }

    async fn unprocessed(&self) -> Question {
        let numbers = "select event_number from events order by event_number desc limit 100";
        let rows = self.reference.query(numbers, &[]).await.expect("numbers");
        let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let request: (String, Parameters) = ("/events/unprocessed?limit=100".to_owned(), vec![Box::new(numbers)]);
        Question {
            sql: "select * from events where event_number = any ($1) order by event_number",
            ..page("GET /events/unprocessed, 100", vec![request])
        }
    }

    async fn entity(&self) -> Question {
        let ids = format!("select id from events order by event_number desc limit {ENTITIES}");
        let rows = self.reference.query(&ids, &[]).await.expect("ids");
        let request = |(id, row): (&String, &tokio_postgres::Row)| -> (String, Parameters) {
            (format!("/entities/sale/{id}"), vec![Box::new(row.get::<_, Uuid>(0))])
        };
        Question {
            work: "GET /entities/sale/{id}",
            unit: "entities/s",
            target: Target::ENTITY,
            sql: "select * from events where id = $1",
            requests: self.entities.iter().zip(&rows).map(request).collect(),
        }
    }

    async fn measure(&self, question: &Question, phase: Duration) -> Line {
        let select = self.reference.prepare(question.sql).await.expect("a SELECT");
        self.check(question, &select).await;
        let (mut reference, mut annals): (Vec<Figure>, Vec<Figure>) = Default::default();
        for _ in 0..ROUNDS {
            reference.push(self.select(question, &select, phase).await);
            annals.push(self.get(question, phase).await);
        }
        Line::rate(question.work, question.unit, median(&reference), median(&annals))
            .with_target(question.target)
            .shown()
    }

    /// Pages have 100 events, in Annals and in the reference table. Only the first few are checked, because a page may take seconds.
    async fn check(&self, question: &Question, select: &Statement) {
        if question.unit != PAGES {
            return;
        }
        for (path, parameters) in question.requests.iter().take(3) {
            assert_eq!(events_on(&self.api.get(path).await), 100, "{path}");
            let rows = self.reference.query(select, &references(parameters)).await;
            assert_eq!(rows.expect("rows").len(), 100, "{}", question.sql);
        }
    }

    async fn select(&self, question: &Question, select: &Statement, time: Duration) -> Figure {
        let mut requests = question.requests.iter().cycle();
        let phase = Phase::start(self.site.postmaster);
        let reads = repeat(time, || {
            let parameters = requests.next().map_or_else(Vec::new, |(_, all)| references(all));
            async move {
                self.reference.query(select, &parameters).await.expect("rows");
                1
            }
        });
        phase.end(reads.await)
    }

    async fn get(&self, question: &Question, time: Duration) -> Figure {
        let mut requests = question.requests.iter().cycle();
        let phase = Phase::start(self.site.postmaster);
        let reads = repeat(time, || {
            let path = requests.next().map_or("", |(path, _)| path.as_str());
            async move {
                self.api.get(path).await;
                1
            }
        });
        phase.end(reads.await)
    }
}

/// The unit of pages.
const PAGES: &str = "pages/s";

/// A question for pages of 100 events, without its SELECT.
fn page(work: &'static str, requests: Vec<(String, Parameters)>) -> Question {
    Question {
        work,
        unit: PAGES,
        target: Target::PAGE,
        sql: "",
        requests,
    }
}

fn references(parameters: &Parameters) -> Vec<&(dyn ToSql + Sync)> {
    parameters
        .iter()
        .map(|parameter| &**parameter as &(dyn ToSql + Sync))
        .collect()
}
