//! The oracle: after every fault it checks that everything that clients were told is true. All fault tests and the soak use the same one.
//!
//! It compares acknowledged events with the log, and state tables with an independent fold of the log from zero; it also runs Annals' own
//! `verify`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use annals_store::{DueRebuild, Feed, RebuildScope};
use serde_json::Value;

use crate::answer::Answer;
use crate::world::World;

/// How long it may take until everything up to the end of the log is visible.
const PATIENCE: Duration = Duration::from_secs(120);
/// Workers of `verify`.
const WORKERS: usize = 2;
/// Events per page of the feed.
const PAGE: i64 = 1_000;

/// What clients were told. Each event that must be stored once has a unique correlation id that begins with [`ONCE`].
#[derive(Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<Value>>,
    refused: Mutex<Vec<String>>,
}

/// The prefix of correlation ids that only one event may have.
pub const ONCE: &str = "once:";

impl Ledger {
    /// Records the events that an answer acknowledges: a single one or a batch.
    pub fn acknowledge(&self, answer: &Answer) {
        let events = match answer.body["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![answer.body.clone()],
        };
        self.acknowledged.lock().expect("no panic elsewhere").extend(events);
    }

    /// Records that the event with this correlation id was finally refused.
    pub fn refuse(&self, correlation_id: &str) {
        let mut refused = self.refused.lock().expect("no panic elsewhere");
        refused.push(correlation_id.to_owned());
    }

    /// Number of acknowledged events.
    pub fn len(&self) -> usize {
        self.acknowledged.lock().expect("no panic elsewhere").len()
    }

    /// Whether no event was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Each row is a complaint about the log, its heads or its counts.
const COMPLAINTS: &str = "
select format('%s %s has %s events, versions %s to %s, and its head says %s', e.aggregate_type, e.aggregate_id, e.events, e.first, e.last, h.version)
  from (select tenant_id, aggregate_type, aggregate_id, count(*) as events, min(aggregate_version) as first, max(aggregate_version) as last
          from annals.events group by 1, 2, 3) as e
  left join annals.heads h using (tenant_id, aggregate_type, aggregate_id)
 where (e.first, e.last) is distinct from (1, e.events::int) or h.version is distinct from e.last
union all
select format('%s %s: a head without events', h.aggregate_type, h.aggregate_id) from annals.heads h
 where not exists (select from annals.events e where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id)
union all
select format('%s %s: version %s is not after the one before', e.aggregate_type, e.aggregate_id, e.aggregate_version)
  from (select e.*, lag(e.event_number) over w as number, lag(e.created_at) over w as at
          from annals.events e window w as (partition by tenant_id, aggregate_type, aggregate_id order by aggregate_version)) as e
 where not (e.event_number > e.number and e.created_at > e.at)
union all
select format('%s: %s events', e.correlation_id, count(*)) from annals.events e
 where e.correlation_id like $1 || '%' group by e.correlation_id having count(*) > 1
union all
select format('%s %s: projected to %s of %s', h.aggregate_type, h.aggregate_id, h.projected_version, h.version)
  from annals.heads h where h.projected_version <> h.version
union all
select format('%s %s is parked: %s', p.aggregate_type, p.aggregate_id, p.error) from annals.parked_streams p
union all
select format('%s events are counted of %s', c.counted, l.there)
  from (select coalesce(sum(events), 0) as counted from annals.event_counts) as c,
       (select count(*) as there from annals.events e where e.event_number <= (select position from annals.checkpoints where name = 'sweep')) as l
 where c.counted <> l.there
union all
select format('event %s: the index of the field %s has %s instead of %s', coalesce(w.event_number, v.event_number), coalesce(w.field_id, v.field_id),
              v.value, w.value)
  from (select e.tenant_id, e.event_number, f.id as field_id, annals.field_key(e.data -> f.field) as value
          from annals.events e
          join annals.indexed_fields f on f.event_type = e.event_type and (f.tenant_id is null or f.tenant_id = e.tenant_id)
         where not f.is_dropped and annals.field_key(e.data -> f.field) is not null
           and e.event_number <= coalesce(f.filled_to, (select position from annals.indexed_events))) as w
  full join annals.field_values v using (tenant_id, event_number, field_id)
 where w.value is distinct from v.value";

impl World {
    /// Sweeps, and then panics unless everything is as clients were told: each acknowledged event is stored once and as acknowledged, no refused
    /// one is stored, none is duplicated; every stream is projected to its end and none is parked; state tables are the fold from zero; the
    /// index of fields has each value; key figures equal those of the events; and a consumer of the whole log reads each event once.
    pub async fn assert_valid(&self, ledger: &Ledger) {
        self.sweep().await;
        let log = self.superuser().await;
        let complaints = log.query(COMPLAINTS, &[&ONCE]).await.expect("the log can be checked");
        let complaints: Vec<String> = complaints.iter().map(|row| row.get(0)).collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        self.assert_acknowledged(ledger).await;
        self.assert_read_models_are_the_fold().await;
        self.assert_kpis_are_the_events().await;
        self.assert_verified().await;
        self.assert_consumed_once().await;
    }

    async fn assert_acknowledged(&self, ledger: &Ledger) {
        let rows = "select id::text, event_number, aggregate_version::int8, aggregate_type, aggregate_id, event_type, data::text, correlation_id from annals.events";
        let rows = self.superuser().await.query(rows, &[]).await.expect("the log");
        let stored: HashMap<String, _> = rows.iter().map(|row| (row.get::<_, String>(0), row)).collect();
        for event in ledger.acknowledged.lock().expect("no panic elsewhere").iter() {
            let row = stored.get(event["id"].as_str().unwrap_or_default());
            let row = row.unwrap_or_else(|| panic!("acknowledged but not stored: {event}"));
            let (number, version): (i64, i64) = (row.get(1), row.get(2));
            assert_eq!(
                (&event["event_number"], &event["aggregate_version"]),
                (&number.into(), &version.into()),
                "{event}"
            );
            for (place, field) in [(3, "aggregate_type"), (4, "aggregate_id"), (5, "event_type")] {
                assert_eq!(event[field], row.get::<_, &str>(place), "{event}");
            }
            let data: Value = serde_json::from_str(row.get(6)).expect("data");
            assert_eq!(event["data"], data, "{event}");
        }
        let refused = ledger.refused.lock().expect("no panic elsewhere");
        for row in &rows {
            let id: Option<&str> = row.get(7);
            assert!(
                !refused.iter().any(|refused| Some(refused.as_str()) == id),
                "refused but stored: {id:?}"
            );
        }
    }

    async fn assert_verified(&self) {
        let everything = DueRebuild {
            id: None,
            scope: RebuildScope::default(),
        };
        let mut found = Vec::new();
        let verified = self
            .projector
            .verify(&everything, WORKERS, Arc::default(), |difference| {
                found.push(difference)
            })
            .await;
        verified.expect("a proof");
        assert!(found.is_empty(), "{found:?}");
    }

    async fn assert_consumed_once(&self) {
        let numbers = "select event_number from annals.events order by event_number";
        let numbers = self.superuser().await.query(numbers, &[]).await.expect("the log");
        let stored: Vec<i64> = numbers.iter().map(|row| row.get(0)).collect();
        let mut feed = Feed::after(self.app.store.clone(), 0);
        let began = Instant::now();
        let mut read = Vec::new();
        while read.len() < stored.len() {
            assert!(
                began.elapsed() < PATIENCE,
                "{} of {} events are read",
                read.len(),
                stored.len()
            );
            if feed.position() >= feed.high_water_mark()
                && !feed.advance_mark(Duration::from_secs(2)).await.expect("a mark")
            {
                continue;
            }
            read.extend(
                feed.next_page(PAGE)
                    .await
                    .expect("a page")
                    .iter()
                    .map(|event| event.event_number),
            );
        }
        assert_eq!(read, stored);
    }
}
