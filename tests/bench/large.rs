//! Reads of a large log compared with the same reads of a small one: the cost of a request must not depend on the size of the rest of the
//! log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_store::{DueRebuild, RebuildScope};
use projector::Progress;
use tests::{World, connect};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::measure::{Figure, Phase, median};
use crate::report::Line;
use crate::site::Site;

/// Events in the small log.
const SMALL: i64 = 100_000;
/// Default number of events in the large log.
pub const LARGE: i64 = 10_000_000;
/// Events of each stream.
const LENGTH: i64 = 10;
/// How often each log is measured.
const ROUNDS: usize = 5;
/// The large log may take at most 1.3 times as long: its rate must be at least 77 percent.
const FLOOR: Option<u32> = Some(77);
/// Connections that fill a log.
const FILLERS: i64 = 4;
/// Workers of the rebuild that fills the state tables.
const WORKERS: usize = 4;

/// The requests. `{stream}` is another stream each time, `{middle}` the middle of the log's time range. The cost of the last two also depends
/// on the events of the last minute, which are equally many in both logs, and of the first and last minutes of the last day.
const QUESTIONS: [(&str, &str, Option<u32>); 12] = [
    (
        "history of a stream",
        "/events/aggregate/sale/{stream}/history?limit=100",
        FLOOR,
    ),
    ("audit of an entity", "/audit/entity/{stream}?entity_type=sale", FLOOR),
    ("GET /events, newest 100", "/events?limit=100", FLOOR),
    ("GET /events, 100 in the middle", "/events?limit=100&to={middle}", FLOOR),
    (
        "GET /events of a type, from the middle on",
        "/events?event_type=sale.updated&from={middle}&order=asc&limit=100",
        FLOOR,
    ),
    ("entity now", "/entities/sale/{stream}", FLOOR),
    ("entity, by version", "/entities/sale/{stream}?version=5", FLOOR),
    ("entity, by recorded time", "/entities/sale/{stream}?at={now}", FLOOR),
    (
        "entity, by business time",
        "/entities/sale/{stream}?valid_at={now}",
        FLOOR,
    ),
    ("entities, a page", "/entities/sale?limit=100", FLOOR),
    ("statistics", "/events/stats", None),
    ("projector's status", "/projector/status", None),
];

/// Part `$1` of `$2` of a log of `$3` events in streams of `$4`, a hundred per second until now, with numbers in the order of recorded times.
/// It is written without the append function, which is measured elsewhere. Ids have version 7, like the API's: random ids would make the
/// index colder than it is.
const FILL: &str = r#"
insert into annals.events (event_number, created_at, "timestamp", id, tenant_id, aggregate_version, event_type, aggregate_type, aggregate_id,
                           version, created_by, posted_by, started_by, source, data, metadata)
select t.number, t.at, t.at,
       (lpad(to_hex((extract(epoch from t.at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
       '00000000-0000-0000-0000-000000000000', v, case when v = 1 then 'sale.created' else 'sale.updated' end, 'sale', 'S-' || lpad(s::text, 10, '0'),
       '1.0', 'system', 'system', 'system', 'api',
       case when v = 1 then '{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08", "customer_id": "CG-12520", "product": "Bush Somerset Collection Bookcase", "quantity": 2, "unit_price": 130.98, "category": "Furniture"}'::jsonb
            else jsonb_build_object('changes', jsonb_build_object('quantity', jsonb_build_object('old', v - 1, 'new', v))) end,
       '{"user_agent": "bench"}'
  from generate_series(0, $3 / $4 / 100) as block
 cross join generate_series(1, $4::int) as v
 cross join lateral generate_series(block * 100, least(block * 100 + 99, $3 / $4 - 1)) as s
 cross join lateral (select block * 100 * $4 + (v - 1) * 100 + s - block * 100 + 1 as number) as n
 cross join lateral (select n.number, date_trunc('minute', now()) - ($3 - n.number) * interval '10 milliseconds' as at) as t
 where block % $2 = $1"#;
/// The heads of all streams, all of them projected, and the next event number.
const HEADS: &str = "
select setval('annals.event_numbers', $3);
insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
select tenant_id, aggregate_type, aggregate_id, aggregate_version, aggregate_version, created_at, 'system' from annals.events where aggregate_version = $4";

/// A log and the API in front of it.
struct Log {
    events: i64,
    world: World,
    api: Api,
}

/// Measures every request.
pub async fn measure(site: &Site, events: i64, phase: Duration) -> Vec<Line> {
    let small = Log::fill(site, "small", SMALL).await;
    let large = Log::fill(site, "large", events).await;
    let mut lines = Vec::new();
    for (question, path, floor) in QUESTIONS {
        let mut found: [Vec<Figure>; 2] = Default::default();
        for round in 0..ROUNDS {
            found[0].push(small.ask(site, path, phase / 3, round).await);
            found[1].push(large.ask(site, path, phase / 3, round).await);
        }
        lines.push(Line::compared(question, median(&found[0]), median(&found[1]), floor));
    }
    lines
}

impl Log {
    async fn fill(site: &Site, name: &str, events: i64) -> Self {
        let started = Instant::now();
        let url = site.fresh_database(name).await;
        let mut fillers = JoinSet::new();
        for part in 0..FILLERS {
            let (url, sql) = (url.clone(), statement(FILL, part, events));
            fillers.spawn(async move { connect(&url).await.batch_execute(&sql).await.expect("a log") });
        }
        fillers.join_all().await;
        let client = connect(&url).await;
        client.batch_execute(&statement(HEADS, 0, events)).await.expect("heads");
        println!(
            "{events} events in streams of {LENGTH}: written in {:?}",
            started.elapsed()
        );
        let world = World::at(name.to_owned(), &url);
        let log = Self {
            events,
            api: Api::of(&world),
            world,
        };
        log.project_and_count().await;
        client.batch_execute("vacuum analyze").await.expect("statistics");
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
        assert_eq!(rebuilt.await.expect("a rebuild").events, self.events);
        self.world.projector.sweep().await.expect("a sweep");
    }

    /// The middle of the log's time range.
    fn middle(&self) -> String {
        let ago = chrono::TimeDelta::milliseconds(self.events * 5);
        (chrono::Utc::now() - ago).format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// One client that sends the same request for one stream after the other.
    async fn ask(&self, site: &Site, path: &str, time: Duration, round: usize) -> Figure {
        let path = path
            .replace("{middle}", &self.middle())
            .replace("{now}", &chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let streams = self.events / LENGTH;
        // The step and the number of streams have no common factor, so no stream is repeated before all were read.
        let mut stream = i64::try_from(round).unwrap_or_default() * 7;
        let phase = Phase::start(site.postmaster);
        let (deadline, mut answers) = (Instant::now() + time, 0);
        while Instant::now() < deadline {
            stream = (stream + 7_919) % streams;
            self.api
                .get(&path.replace("{stream}", &format!("S-{stream:010}")))
                .await;
            answers += 1;
        }
        phase.end(answers)
    }
}

fn statement(sql: &str, part: i64, events: i64) -> String {
    sql.replace("$1", &part.to_string())
        .replace("$2", &FILLERS.to_string())
        .replace("$3", &format!("{events}::bigint"))
        .replace("$4", &LENGTH.to_string())
}
