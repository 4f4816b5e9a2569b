//! The feed: every committed event exactly once, in an order that agrees with every stream's own.
//!
//! Numbers are drawn before transactions commit, so the highest number that a reader has seen says nothing about lower ones.
//! A reader therefore takes a mark first (see V6, `annals.feed_mark`) and reads up to it once the appends that could
//! still own a lower number are over. What it keeps between two runs is one number.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use super::events::{event_columns, event_from, joined_head, withheld_context};
use super::session::{As, Param};
use super::work::guessed_bytes;
use super::{OldestAppend, Store, StoreError};
use crate::domain::{Event, TenantId, Timestamp};

/// How often a mark is looked at again while appends are still under way.
const POLL: Duration = Duration::from_millis(5);
/// Numbers that one page looks through at most: what nobody selected is passed in steps, each of which the reader can remember.
const WINDOW: i64 = 50_000;
/// The data of one page have about this many bytes of text at most, so that a large batch of large events does not fill the memory.
const PAGE_BYTES: i64 = 16 << 20;

const TAKE_MARK: &str = "-- take_feed_mark
select settled_to, holders from annals.feed_mark()";

const ARE_OVER: &str = "-- are_appends_over
select not (annals.feed_holders() && $1) as are_over";

const FIND_OLDEST_APPEND: &str = "-- find_oldest_append
select pid, prepared, age_seconds from annals.oldest_feed_holder() where coalesce(pid::text, prepared) is not null";

/// Conditions whose parameter is null fall away when the statement is planned, which happens anew at each call. Types stand as a
/// list and not as a join, so that the planner knows how rare they are: a tenant's rare type is found by the index by type. The page
/// is cut first by what its size is guessed to be, and then by what it is (see `work`).
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

/// Which events a reader wants; absent means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Of one of these types.
    pub event_types: Option<Vec<String>>,
    /// Recorded then or later.
    pub from: Option<Timestamp>,
    /// Recorded before then.
    pub to: Option<Timestamp>,
}

/// A reader of the feed.
pub struct Feed {
    store: Store,
    selection: Selection,
    position: i64,
    settled_to: i64,
}

impl Feed {
    /// A reader of all events that goes on after this number.
    pub fn after(store: Store, position: i64) -> Self {
        Self {
            store,
            selection: Selection::default(),
            position,
            settled_to: position,
        }
    }

    /// The same reader for these events only.
    #[must_use]
    pub fn of(self, selection: Selection) -> Self {
        Self { selection, ..self }
    }

    /// Number up to which every event has been handed out: what the consumer remembers.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Number up to which events can be handed out: the end, until [`Feed::settle`] moves it.
    pub fn settled_to(&self) -> i64 {
        self.settled_to
    }

    /// Moves the end to the log's, as it is now. False, and nothing moved, where an append that was open at the call is still
    /// open after `patience`.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle(&mut self, patience: Duration) -> Result<bool, StoreError> {
        let mark = self.store.settled_mark(patience).await?;
        self.settled_to = mark.unwrap_or_default().max(self.settled_to);
        Ok(mark.is_some())
    }

    /// The next events, at most `limit`. There may be none before the end is reached: a page looks through so much of the log
    /// and no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_page(&mut self, limit: i64) -> Result<Vec<Event>, StoreError> {
        let window_end = self.settled_to.min(self.position.saturating_add(WINDOW));
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
        // A page that is not full holds all there is in its window; numbers beyond its last event are gaps, or others' events.
        self.position = match page.last() {
            Some(last) if is_full => last.event_number,
            _ => window_end,
        };
        Ok(page)
    }
}

impl Store {
    /// A number up to which every event is settled: visible to every read that begins from now on, or never. None where appends
    /// that were open at the call are still open after `patience`.
    ///
    /// # Errors
    /// The database's.
    pub async fn settled_mark(&self, patience: Duration) -> Result<Option<i64>, StoreError> {
        let rows = self.read(As::Projector, TAKE_MARK, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no mark".to_owned()))?;
        let (settled_to, holders): (i64, Vec<String>) = (row.try_get("settled_to")?, row.try_get("holders")?);
        let deadline = tokio::time::Instant::now() + patience;
        let mut are_over = holders.is_empty();
        while !are_over {
            let params: [Param<'_>; 1] = [(&holders, Type::TEXT_ARRAY)];
            let rows = self.read(As::Projector, ARE_OVER, &params).await?;
            are_over = rows.first().is_some_and(|row| row.try_get("are_over").unwrap_or(false));
            if !are_over && tokio::time::Instant::now() >= deadline {
                self.log_held_back(settled_to).await?;
                return Ok(None);
            }
            if !are_over {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(Some(settled_to))
    }

    /// The same, and where an append stays open for longer than `patience`, an older number that is settled: how far the sweep
    /// has come. A reader is then late, and misses nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn settled_mark_or_older(&self, patience: Duration) -> Result<i64, StoreError> {
        match self.settled_mark(patience).await? {
            Some(mark) => Ok(mark),
            None => self.sweep_position().await,
        }
    }

    async fn log_held_back(&self, settled_to: i64) -> Result<(), StoreError> {
        let append = self.oldest_append().await?;
        tracing::warn!(
            feed.settled_to = settled_to,
            append.pid = append.as_ref().and_then(|append| append.pid),
            append.prepared = append.as_ref().and_then(|append| append.prepared.as_deref()),
            append.age_seconds = append.as_ref().and_then(|append| append.age_seconds),
            "an open append holds the feed back"
        );
        Ok(())
    }

    /// The append that holds readers of the feed back the longest, as far as the database tells.
    ///
    /// # Errors
    /// The database's.
    pub async fn oldest_append(&self) -> Result<Option<OldestAppend>, StoreError> {
        let rows = self.read(As::Projector, FIND_OLDEST_APPEND, &[]).await?;
        rows.first().map(super::status::oldest_from).transpose()
    }
}
