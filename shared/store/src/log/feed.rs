//! The feed: every committed event exactly once, in an order that agrees with the order of every stream.
//!
//! Numbers are drawn before transactions commit, so the highest number that a reader has seen says nothing about lower numbers. A
//! reader therefore takes a high-water mark first (see the migration `high_water_mark`), waits until the appends that may still commit
//! a lower number have ended, and then reads up to the high-water mark. Between two runs it keeps one number.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::log::events::{event_columns, event_from, joined_head, withheld_context};
use crate::read_models::work::guessed_bytes;
use crate::status::{FIND_OLDEST_APPEND, oldest_from};
use crate::{OldestAppend, Store, StoreError};
use annals_domain::{Event, TenantId, Timestamp};

/// Pause between two checks of open appends, while a reader waits for them.
const POLL: Duration = Duration::from_millis(5);
/// Maximum number of event numbers that one page searches. Events that were not selected are passed in steps, and the reader can save
/// each step.
const WINDOW: i64 = 50_000;
/// Maximum bytes of data of one page, approximately, so that a large batch of large events does not fill the memory.
const PAGE_BYTES: i64 = 16 << 20;

const TAKE_MARK: &str = "-- take_high_water_mark
select event_number, open_appends from annals.high_water_mark()";

const ARE_OVER: &str = "-- are_appends_over
select not (annals.open_appends() && $1) as are_over";

/// Conditions with a null parameter are removed when the statement is planned, which happens at each call. Types are a list and not a
/// join, so the planner knows how rare they are: a rare type of a tenant is found by the index by type. The page is cut first by a guess
/// of its size, then by its real size (see `work`).
const READ_FEED_PAGE: &str = concat!(
    "-- read_feed_page\nselect * from (
select p.*, octet_length(p.data) as bytes, sum(octet_length(p.data)) over (order by p.event_number rows unbounded preceding) as running_bytes
  from (select ",
    event_columns!(),
    ", e.running_guess >= $8 as is_last
  from (select g.*, sum(g.guess) over (order by g.event_number rows unbounded preceding) as running_guess
  from (select e.*, ",
    guessed_bytes!("e.data"),
    " as guess from annals.events e
         where e.event_number > $1 and e.event_number <= $2
           and ($4::uuid is null or e.tenant_id = $4)
           and ($5::timestamptz is null or e.created_at >= $5) and ($6::timestamptz is null or e.created_at < $6)
           and ($7::text[] is null or e.event_type = any ($7))
         order by e.event_number limit $3) as g) as e ",
    joined_head!(),
    withheld_context!(),
    " where e.running_guess - e.guess < $8 offset 0) as p) as w where running_bytes - bytes < $8 order by event_number"
);

/// Which events a reader wants. An absent field does not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Tenant of the events.
    pub tenant_id: Option<TenantId>,
    /// Event types.
    pub event_types: Option<Vec<String>>,
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
}

/// A reader of the feed.
pub struct Feed {
    store: Store,
    selection: Selection,
    position: i64,
    high_water_mark: i64,
}

impl Feed {
    /// A reader of all events after this number.
    pub fn after(store: Store, position: i64) -> Self {
        Self {
            store,
            selection: Selection::default(),
            position,
            high_water_mark: position,
        }
    }

    /// The same reader, limited to these events.
    #[must_use]
    pub fn of(self, selection: Selection) -> Self {
        Self { selection, ..self }
    }

    /// Number up to which every event has been returned. The consumer saves it.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The high-water mark: events up to this number can be returned. [`Feed::advance_mark`] moves it.
    pub fn high_water_mark(&self) -> i64 {
        self.high_water_mark
    }

    /// Takes a new high-water mark. Returns false, and moves nothing, if an append that was open at the call is still open after
    /// `patience`.
    pub async fn advance_mark(&mut self, patience: Duration) -> Result<bool, StoreError> {
        let mark = self.store.high_water_mark(patience).await?;
        self.high_water_mark = mark.unwrap_or_default().max(self.high_water_mark);
        Ok(mark.is_some())
    }

    /// The next events, at most `limit`. A page may be empty before the high-water mark is reached, because one page searches only a
    /// limited part of the log.
    pub async fn next_page(&mut self, limit: i64) -> Result<Vec<Event>, StoreError> {
        let window_end = self.high_water_mark.min(self.position.saturating_add(WINDOW));
        let wanted = &self.selection;
        let (from, to) = (wanted.from.map(|t| t.as_datetime()), wanted.to.map(|t| t.as_datetime()));
        let tenant = wanted.tenant_id.map(|tenant| *tenant.as_uuid());
        let params: [Param<'_>; 8] = [
            (&self.position, Type::INT8),
            (&window_end, Type::INT8),
            (&limit, Type::INT8),
            (&tenant, Type::UUID),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&wanted.event_types, Type::TEXT_ARRAY),
            (&PAGE_BYTES, Type::INT8),
        ];
        let rows = self.store.read(As::Projector, READ_FEED_PAGE, &params).await?;
        let page: Vec<Event> = rows.iter().map(event_from).collect::<Result<_, _>>()?;
        let is_cut = match rows.last() {
            Some(last) => last.try_get("is_last")? || last.try_get::<_, i64>("running_bytes")? >= PAGE_BYTES,
            None => false,
        };
        let is_full = is_cut || i64::try_from(page.len()).is_ok_and(|length| length >= limit);
        // A page that is not full holds all selected events of its window. Numbers after its last event are gaps or events not selected.
        self.position = match page.last() {
            Some(last) if is_full => last.event_number,
            _ => window_end,
        };
        Ok(page)
    }
}

impl Store {
    /// A high-water mark: an event with this or a lower number is visible to every read that begins from now on, or its append was
    /// rolled back. `None` if appends that were open at the call are still open after `patience`.
    pub async fn high_water_mark(&self, patience: Duration) -> Result<Option<i64>, StoreError> {
        let row = self.read_row(As::Projector, TAKE_MARK, &[]).await?;
        let (high_water_mark, open_appends): (i64, Vec<String>) =
            (row.try_get("event_number")?, row.try_get("open_appends")?);
        let deadline = tokio::time::Instant::now() + patience;
        let mut are_over = open_appends.is_empty();
        while !are_over {
            let params: [Param<'_>; 1] = [(&open_appends, Type::TEXT_ARRAY)];
            let rows = self.read(As::Projector, ARE_OVER, &params).await?;
            are_over = rows.first().is_some_and(|row| row.try_get("are_over").unwrap_or(false));
            if !are_over && tokio::time::Instant::now() >= deadline {
                self.log_blocked(high_water_mark).await?;
                return Ok(None);
            }
            if !are_over {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(Some(high_water_mark))
    }

    /// A high-water mark or, if an append stays open for longer than `patience`, an older one: the position of the sweep. A reader is
    /// then late but misses nothing.
    pub async fn high_water_mark_or_older(&self, patience: Duration) -> Result<i64, StoreError> {
        match self.high_water_mark(patience).await? {
            Some(mark) => Ok(mark),
            None => self.sweep_position().await,
        }
    }

    async fn log_blocked(&self, high_water_mark: i64) -> Result<(), StoreError> {
        let append = self.oldest_append().await?;
        tracing::warn!(
            feed.high_water_mark = high_water_mark,
            append.pid = append.as_ref().and_then(|append| append.pid),
            append.prepared = append.as_ref().and_then(|append| append.prepared.as_deref()),
            append.age_seconds = append.as_ref().and_then(|append| append.age_seconds),
            "an open append blocks the feed"
        );
        Ok(())
    }

    /// The append that blocks readers of the feed the longest, as far as the database knows.
    pub async fn oldest_append(&self) -> Result<Option<OldestAppend>, StoreError> {
        let rows = self.read(As::Projector, FIND_OLDEST_APPEND, &[]).await?;
        rows.first().map(oldest_from).transpose()
    }
}
