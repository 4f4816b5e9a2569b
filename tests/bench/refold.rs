//! Rebuild compared with a plain sequential read of the same events: pages by number, whole rows to the client, one connection.

use std::sync::Arc;
use std::time::Instant;

use annals_config::DatabaseConfig;
use annals_store::{DueRebuild, RebuildScope, Store};
use projector::{CONNECTIONS, Progress, Projector};
use tests::connect;
use tokio_postgres::Client;

use crate::measure::{Figure, Phase, median};
use crate::report::Line;
use crate::site::Site;

/// Events of each database.
const EVENTS: i32 = 200_000;
/// Events per page, as readers of the feed request them.
const PAGE: i64 = 1_000;
/// Workers of the rebuild.
const WORKERS: usize = 4;
/// Number of alternating rounds of reading and rebuilding.
const ROUNDS: usize = 3;

/// Lengths of streams, with their description in the table.
const LENGTHS: [(i32, &str); 3] = [
    (1, "rebuild, streams of 1 event (ceiling: reading them)"),
    (10, "rebuild, streams of 10 events"),
    (1_000, "rebuild, streams of 1,000 events"),
];

/// A log of sales and then their updates, written without the append function, which is measured elsewhere.
const FILL: &str = r#"
insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
select '00000000-0000-0000-0000-000000000000', 'sale', 'S-' || lpad(s::text, 10, '0'), $1::int, $1::int, timestamptz '2026-01-01' + ($1::int || ' s')::interval, 'system'
  from generate_series(1, $2::int / $1::int) as s;
insert into annals.events (event_number, created_at, "timestamp", id, tenant_id, aggregate_version, event_type, aggregate_type, aggregate_id,
                           version, created_by, posted_by, started_by, source, data, metadata)
select nextval('annals.event_numbers'), timestamptz '2026-01-01' + (v || ' s')::interval, timestamptz '2026-01-01', gen_random_uuid(),
       '00000000-0000-0000-0000-000000000000', v, case when v = 1 then 'sale.created' else 'sale.updated' end, 'sale', 'S-' || lpad(s::text, 10, '0'),
       '1.0', 'system', 'system', 'system', 'api',
       case when v = 1 then '{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08", "customer_id": "CG-12520", "product": "Bush Somerset Collection Bookcase", "quantity": 2, "unit_price": 130.98, "category": "Furniture"}'::jsonb
            else jsonb_build_object('changes', jsonb_build_object('quantity', jsonb_build_object('old', v - 1, 'new', v), 'notes', jsonb_build_object('old', null, 'new', 'changed for the ' || v || 'th time'))) end,
       '{"user_agent": "bench"}'
  from generate_series(1, $1::int) as v, generate_series(1, $2::int / $1::int) as s"#;

/// Measures with every length of streams.
pub async fn measure_all(site: &Site) -> Vec<Line> {
    let mut lines = Vec::new();
    for length in LENGTHS {
        lines.push(measure(site, length).await);
    }
    lines
}

async fn measure(site: &Site, (length, work): (i32, &'static str)) -> Line {
    let url = site.fresh_database(&format!("refold_{length}")).await;
    let client = connect(&url).await;
    fill(&client, length).await;
    let config = DatabaseConfig {
        url,
        pool_size: CONNECTIONS + WORKERS,
    };
    let projector = Projector::new(Store::new(&config).expect("an address"), None);
    // The first rebuild fills the tables; the measured ones find them correct, as most rebuilds do.
    rebuild(site, &projector).await;
    client.batch_execute("vacuum analyze").await.expect("statistics");
    let (mut read, mut rebuilt): (Vec<Figure>, Vec<Figure>) = Default::default();
    for _ in 0..ROUNDS {
        read.push(read_all(site, &client).await);
        rebuilt.push(rebuild(site, &projector).await);
    }
    Line::compared(work, median(&read), median(&rebuilt), Some(50))
}

async fn fill(client: &Client, length: i32) {
    let started = Instant::now();
    for statement in FILL.split(';') {
        let statement = statement
            .replace("$1", &length.to_string())
            .replace("$2", &EVENTS.to_string());
        client.batch_execute(&statement).await.expect("a log");
    }
    println!(
        "{EVENTS} events in streams of {length}: written in {:?}",
        started.elapsed()
    );
}

async fn read_all(site: &Site, client: &Client) -> Figure {
    let page = client
        .prepare("select event_number, created_at, \"timestamp\", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type, aggregate_id, version, created_by, source, correlation_id, command_id, data::text, metadata::text from annals.events where event_number > $1 order by event_number limit $2")
        .await
        .expect("a page");
    let phase = Phase::start(site.postmaster);
    let (mut position, mut count) = (0_i64, 0);
    loop {
        let rows = client.query(&page, &[&position, &PAGE]).await.expect("rows");
        let Some(last) = rows.last() else { break };
        position = last.get(0);
        count += rows.len();
    }
    assert_eq!(count, usize::try_from(EVENTS).expect("a count"));
    phase.end(count)
}

async fn rebuild(site: &Site, projector: &Projector) -> Figure {
    let due = DueRebuild {
        id: None,
        scope: RebuildScope::default(),
    };
    let phase = Phase::start(site.postmaster);
    let done = projector
        .rebuild(&due, WORKERS, Arc::new(Progress::default()))
        .await
        .expect("a rebuild");
    phase.end(usize::try_from(done.events).expect("a count"))
}
