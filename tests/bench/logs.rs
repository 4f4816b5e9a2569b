//! Fills logs of a given size: Annals' log and the reference table with the same events. They are written without the append function, which
//! is measured elsewhere.
//!
//! All events are of sales. Streams are interleaved a hundred at a time, and there are a hundred events per second until the base time. Each
//! person has 100 events, and each tenth stream of more than one event ends with `sale.deleted`.

use std::time::Instant;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use tests::connect;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Connections that fill a log.
const FILLERS: i64 = 4;

/// A log's size and times.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Number of events.
    pub events: i64,
    /// Events of each stream.
    pub length: i64,
    /// When the last event was recorded.
    pub base: DateTime<Utc>,
}

/// Part `$part` of `$parts` of the rows. Numbers are in the order of recorded times. Ids have version 7, like the API's: random ids would
/// make the index colder than it is.
const ROWS: &str = r#"
  from generate_series(0, $events / $length / 100) as block
 cross join generate_series(1, $length::int) as v
 cross join lateral generate_series(block * 100, least(block * 100 + 99, $events / $length - 1)) as s
 cross join lateral (select block * 100 * $length + (v - 1) * 100 + s - block * 100 + 1 as number) as n
 cross join lateral (select timestamptz '$base' - ($events - n.number) * interval '10 milliseconds' as at) as t
 cross join lateral (select
       (lpad(to_hex((extract(epoch from t.at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid as id,
       ('00000000-0000-4000-8000-' || lpad(to_hex(n.number % ($events / 100)), 12, '0'))::uuid as person,
       case when v = 1 then 'sale.created' when v = $length and s % 10 = 0 then 'sale.deleted' else 'sale.updated' end as event_type) as r
 cross join lateral (select
       case r.event_type
            when 'sale.created' then '{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08", "customer_id": "CG-12520", "product": "Bush Somerset Collection Bookcase", "quantity": 2, "unit_price": 130.98, "category": "Furniture"}'::jsonb
            when 'sale.deleted' then jsonb_build_object('name', 'a sale', 'deleted_at', t.at)
            else jsonb_build_object('changes', jsonb_build_object('quantity', jsonb_build_object('old', v - 1, 'new', v), 'notes', jsonb_build_object('old', null, 'new', 'changed for the ' || v || 'th time')))
       end as data) as d
 where block % $parts = $part"#;
const ANNALS: &str = r#"
insert into annals.events (event_number, created_at, "timestamp", id, tenant_id, user_id, aggregate_version, event_type, aggregate_type, aggregate_id,
                           version, created_by, posted_by, started_by, source, data, metadata)
select n.number, t.at, t.at, r.id, '00000000-0000-0000-0000-000000000000', r.person, v, r.event_type, 'sale', 'S-' || lpad(s::text, 10, '0'),
       '1.0', 'user:' || r.person, 'user:' || r.person, 'system', 'api', d.data, '{"user_agent": "bench"}'"#;
/// The heads of all streams, all of them projected, and the next event number.
const HEADS: &str = "
select setval('annals.event_numbers', $events);
insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
select tenant_id, aggregate_type, aggregate_id, aggregate_version, aggregate_version, created_at, 'system' from annals.events where aggregate_version = $length";
const REFERENCE: &str = r#"
insert into events (id, event_number, event_type, aggregate_type, aggregate_id, aggregate_version, data, metadata, created_by, user_id, timestamp, created_at)
select r.id, n.number, r.event_type, 'sale', ('00000000-0000-4000-8000-' || lpad(to_hex(s), 12, '0'))::uuid, v, d.data, '{"user_agent": "bench"}',
       'user:' || r.person, r.person, t.at, t.at"#;
const REFERENCE_NUMBERS: &str = "select setval('events_event_number_seq', $events)";

impl Shape {
    /// A log that ends now.
    pub fn new(events: i64, length: i64) -> Self {
        let base = Utc::now().duration_trunc(TimeDelta::minutes(1)).expect("a minute");
        Self { events, length, base }
    }

    /// Fills Annals' log in a migrated, empty database.
    pub async fn fill_annals(&self, url: &str) {
        let started = Instant::now();
        self.fill(url, ANNALS).await;
        let heads = self.complete(HEADS, 0);
        connect(url).await.batch_execute(&heads).await.expect("heads");
        let (events, length) = (self.events, self.length);
        println!(
            "{events} events in streams of {length}: written in {:.1?}",
            started.elapsed()
        );
    }

    /// Fills an empty reference table.
    pub async fn fill_reference(&self, url: &str) {
        let started = Instant::now();
        self.fill(url, REFERENCE).await;
        let numbers = self.complete(REFERENCE_NUMBERS, 0);
        connect(url).await.batch_execute(&numbers).await.expect("numbers");
        println!("the same in the reference table: written in {:.1?}", started.elapsed());
    }

    async fn fill(&self, url: &str, insert: &str) {
        let mut fillers = JoinSet::new();
        for part in 0..FILLERS {
            let (url, sql) = (url.to_owned(), self.complete(&format!("{insert}{ROWS}"), part));
            fillers.spawn(async move { connect(&url).await.batch_execute(&sql).await.expect("a log") });
        }
        fillers.join_all().await;
    }

    fn complete(&self, sql: &str, part: i64) -> String {
        sql.replace("$parts", &FILLERS.to_string())
            .replace("$part", &part.to_string())
            .replace("$events", &format!("{}::bigint", self.events))
            .replace("$length", &self.length.to_string())
            .replace("$base", &self.base.to_rfc3339())
    }

    /// The recorded time of an event.
    pub fn time_of(&self, number: i64) -> DateTime<Utc> {
        self.base - TimeDelta::milliseconds((self.events - number) * 10)
    }
}

/// Annals' name of a stream.
pub fn annals_stream(stream: i64) -> String {
    format!("S-{stream:010}")
}

/// The reference table's name of a stream.
pub fn reference_stream(stream: i64) -> Uuid {
    numbered(stream)
}

/// The person who has each event whose number leaves this remainder.
pub fn person(remainder: i64) -> Uuid {
    numbered(remainder)
}

fn numbered(number: i64) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | u128::from(number.unsigned_abs()))
}
