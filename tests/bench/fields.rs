//! What the index of fields costs (`GET /events?data.sku=…`): appends to a type without indexed fields, to one with five, and to a log that has
//! five expression indexes instead; filling the index; pages by a field.

use std::time::Duration;

use tests::{Figure, Line, Phase, Target, World, connect, median, remove_requirements, repeat};

use crate::api::{Api, events_on};
use crate::rows::{BATCH, body, new_stream};
use crate::site::Site;

/// Number of alternating rounds.
const ROUNDS: usize = 5;
/// Events that are indexed, and among which pages are found.
const EVENTS: usize = 20_000;
/// Declares five fields of the type that is appended.
const DECLARE: &str =
    "select annals.declare_indexed('sale.created', 'currency', 'customer_id', 'product', 'quantity', 'category')";
/// The same as partial expression indexes of the log.
const EXPRESSIONS: [&str; 5] = ["currency", "customer_id", "product", "quantity", "category"];

/// A database, and the API before it.
struct Log {
    world: World,
    url: String,
    api: Api,
}

impl Log {
    async fn new(site: &Site, name: &str) -> Self {
        let url = site.fresh_database(name).await;
        remove_requirements(&url).await;
        let world = World::at(name.to_owned(), &url);
        Self {
            api: Api::of(&world),
            world,
            url,
        }
    }

    async fn run(&self, sql: &str) {
        connect(&self.url).await.batch_execute(sql).await.expect("a statement");
    }

    async fn append(&self, site: &Site, time: Duration) -> Figure {
        let phase = Phase::start(site.postmaster);
        phase.end(repeat(time, || self.api.post(body(&new_stream()), 1)).await)
    }
}

/// Measures all of it; each phase takes this long.
pub async fn measure(site: &Site, time: Duration) -> Vec<Line> {
    let plain = Log::new(site, "fields_none").await;
    let declared = Log::new(site, "fields_declared").await;
    declared.run(DECLARE).await;
    let [same_type, other_type] = [
        (Log::new(site, "fields_expressions").await, "sale.created"),
        (Log::new(site, "fields_other_expressions").await, "product.created"),
    ];
    for (log, event_type) in [&same_type, &other_type] {
        for field in EXPRESSIONS {
            log.run(&format!(
                "create index on annals.events (tenant_id, (data ->> '{field}'), event_number) where event_type = '{event_type}'"
            ))
            .await;
        }
    }
    let logs = [&plain, &declared, &same_type.0, &other_type.0];
    let mut found: [Vec<Figure>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (log, figures) in logs.iter().zip(&mut found) {
            figures.push(log.append(site, time).await);
        }
    }
    let [none, five, same, other] = found.map(|figures| median(&figures));
    let append = |work: &str, figure| Line::rate(work, "events/s", none, figure).shown();
    let mut lines = vec![
        append("append, 1 writer, 5 indexed fields, beside none", five),
        append("append, 1 writer, 5 expression indexes of its type, beside none", same),
        append(
            "append, 1 writer, 5 expression indexes of another type, beside none",
            other,
        ),
    ];
    lines.push(fill(site, &declared).await);
    lines.push(pages(site, &declared, &same_type.0, time).await);
    lines
}

/// Only the index: what a sweep does besides is measured elsewhere.
async fn fill(site: &Site, log: &Log) -> Line {
    let store = &log.world.app.store;
    log.world.projector.sweep().await.expect("a sweep");
    log.api.start_streams(EVENTS).await;
    let mark = store
        .high_water_mark(Duration::from_secs(2))
        .await
        .expect("a read")
        .expect("a mark");
    let phase = Phase::start(site.postmaster);
    while store.index_new_events(mark).await.expect("a step") < mark {}
    Line::alone("field index, events with 5 fields", "events/s", phase.end(EVENTS)).shown()
}

/// The newest hundred events with a value, beside a prepared SELECT by an expression index.
async fn pages(site: &Site, log: &Log, reference: &Log, time: Duration) -> Line {
    reference.api.start_streams(EVENTS).await;
    let client = connect(&reference.url).await;
    let sql = "select * from annals.events where tenant_id = '00000000-0000-0000-0000-000000000000' and data ->> 'customer_id' = $1
                  and event_type = 'sale.created' order by event_number desc limit 100";
    client
        .batch_execute("set enable_seqscan = off; set enable_sort = off")
        .await
        .expect("settings");
    let select = client.prepare(sql).await.expect("a SELECT");
    assert_eq!(client.query(&select, &[&"CG-12520"]).await.expect("rows").len(), BATCH);
    let path = "/events?data.customer_id=CG-12520&limit=100";
    assert_eq!(events_on(&log.api.get(path).await), BATCH);
    let (mut ceiling, mut annals): (Vec<Figure>, Vec<Figure>) = Default::default();
    for _ in 0..ROUNDS {
        let phase = Phase::start(site.postmaster);
        let reads = repeat(time, || async {
            client.query(&select, &[&"CG-12520"]).await.expect("rows");
            1
        });
        ceiling.push(phase.end(reads.await));
        let phase = Phase::start(site.postmaster);
        let reads = repeat(time, || async {
            log.api.get(path).await;
            1
        });
        annals.push(phase.end(reads.await));
    }
    Line::rate(
        "GET /events, 100 by a field",
        "pages/s",
        median(&ceiling),
        median(&annals),
    )
    .with_target(Target::PAGE)
    .shown()
}
