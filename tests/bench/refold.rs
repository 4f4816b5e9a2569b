//! Rebuild compared with a plain sequential read of the same events from the reference table, in pages by number on one connection, and a
//! COPY of as many state rows into a plain table.

use std::pin::pin;
use std::sync::Arc;

use annals_config::DatabaseConfig;
use annals_store::{DueRebuild, RebuildScope, Store};
use bytes::Bytes;
use futures_util::SinkExt;
use projector::{CONNECTIONS, Progress, Projector};
use tests::{Figure, Line, Phase, Target, connect, median};
use tokio_postgres::Client;

use crate::logs::{Shape, reference_stream};
use crate::site::Site;

/// Events of each database.
const EVENTS: i64 = 100_000;
/// Events per page, as readers of the feed request them.
const PAGE: i64 = 1_000;
/// Workers of the rebuild.
const WORKERS: usize = 4;
/// Number of alternating rounds of reading and rebuilding.
const ROUNDS: usize = 3;

/// Lengths of streams, with their description in the table.
const LENGTHS: [(i64, &str, Target); 3] = [
    (1, "rebuild, streams of 1 event", Target::REBUILD_1),
    (10, "rebuild, streams of 10 events", Target::REBUILD_10),
    (1_000, "rebuild, streams of 1,000 events", Target::REBUILD_1000),
];

/// A plain table for states of sales.
const STATES: &str = "create table sales (id uuid primary key, version int, deleted_at timestamptz, created_at timestamptz, updated_at timestamptz, \
     amount_cents bigint, currency text, sale_date date, customer_id text, product text, quantity numeric, unit_price numeric, \
     category text, notes text)";
/// Columns of a state after its id.
const STATE: &str = "2\t\\N\t2026-01-01 00:00:00+00\t2026-01-02 00:00:00+00\t26196\tUSD\t2018-11-08\tCG-12520\tBush Somerset Collection \
     Bookcase\t2\t130.98\tFurniture\tchanged for the 2th time\n";

/// Measures with every length of streams.
pub async fn measure_all(site: &Site) -> Vec<Line> {
    let mut lines = Vec::new();
    for length in LENGTHS {
        lines.push(measure(site, length).await);
    }
    lines
}

async fn measure(site: &Site, (length, work, target): (i64, &'static str, Target)) -> Line {
    let shape = Shape::new(EVENTS, length);
    let url = site.fresh_database(&format!("refold_{length}")).await;
    shape.fill_annals(&url).await;
    let reference_url = site.reference_database(&format!("refold_{length}_reference")).await;
    shape.fill_reference(&reference_url).await;
    let reference = connect(&reference_url).await;
    reference.batch_execute(STATES).await.expect("a table for states");
    analyze(&reference).await;
    let annals = connect(&url).await;
    let config = DatabaseConfig {
        url,
        pool_size: CONNECTIONS + WORKERS,
    };
    let projector = Projector::new(Store::new(&config).expect("an address"), None);
    // Autovacuum is off in the bench; where Annals runs, it has analysed a log before anyone rebuilds. The first rebuild fills the tables; the
    // measured ones find them correct, as most rebuilds do.
    analyze(&annals).await;
    rebuild(site, &projector).await;
    analyze(&annals).await;
    let (mut read, mut rebuilt): (Vec<Figure>, Vec<Figure>) = Default::default();
    for _ in 0..ROUNDS {
        read.push(read_and_copy(site, &reference, EVENTS / length).await);
        rebuilt.push(rebuild(site, &projector).await);
    }
    Line::rate(work, "events/s", median(&read), median(&rebuilt))
        .with_target(target)
        .shown()
}

async fn analyze(client: &Client) {
    client.batch_execute("vacuum analyze").await.expect("statistics");
}

async fn read_and_copy(site: &Site, client: &Client, streams: i64) -> Figure {
    client.batch_execute("truncate sales").await.expect("an empty table");
    let page = client
        .prepare("select * from events where event_number > $1 order by event_number limit $2")
        .await
        .expect("a page");
    let phase = Phase::start(site.postmaster);
    let (mut position, mut count) = (0_i64, 0);
    loop {
        let rows = client.query(&page, &[&position, &PAGE]).await.expect("rows");
        let Some(last) = rows.last() else { break };
        position = last.get("event_number");
        count += rows.len();
    }
    assert_eq!(count, usize::try_from(EVENTS).expect("a count"));
    let mut sink = pin!(client.copy_in::<_, Bytes>("copy sales from stdin").await.expect("COPY"));
    for from in (0..streams).step_by(500) {
        let rows: String = (from..streams.min(from + 500))
            .map(|stream| format!("{}\t{STATE}", reference_stream(stream)))
            .collect();
        sink.send(Bytes::from(rows)).await.expect("COPY takes rows");
    }
    assert_eq!(sink.finish().await.expect("COPY ends"), streams.unsigned_abs());
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
