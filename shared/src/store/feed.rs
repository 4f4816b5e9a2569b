//! The feed: every committed event exactly once, in an order that agrees with every stream's own.
//!
//! Numbers are drawn before transactions commit, so the highest number that a reader has seen says nothing about lower ones.
//! A reader therefore takes a mark first (see V6, `annals.feed_mark`) and reads up to it once the transactions that could
//! still own a lower number are over. What it keeps between two runs is one number.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::entities::parse_object;
use super::session::{As, Param, lost_is_unavailable};
use super::work::stream_from;
use super::{Store, StoreError};
use crate::domain::StreamId;

/// How often a mark is looked at again while transactions are still under way.
const POLL: Duration = Duration::from_millis(5);

const TAKE_MARK: &str = "-- take_feed_mark
select settled_to, after_xid::text from annals.feed_mark()";

const IS_SETTLED: &str = "-- is_settled
select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8 as settled";

const READ_FEED_PAGE: &str = "-- read_feed_page
select e.event_number, e.id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.event_type, e.data::text
  from annals.events e
 where e.event_number > $1 and e.event_number <= $2
 order by e.event_number limit $3";

/// An event as a consumer across streams meets it.
#[derive(Debug)]
pub struct FeedEvent {
    /// Position over all streams.
    pub event_number: i64,
    /// Its id.
    pub id: Uuid,
    /// Its stream.
    pub stream: StreamId,
    /// Position in its stream.
    pub version: i32,
    /// What happened.
    pub event_type: String,
    /// The fact.
    pub data: Map<String, Value>,
}

/// A reader of the feed.
pub struct Feed {
    store: Store,
    position: i64,
    settled_to: i64,
}

impl Feed {
    /// A reader that goes on after this number.
    pub fn after(store: Store, position: i64) -> Self {
        Self {
            store,
            position,
            settled_to: position,
        }
    }

    /// Number up to which every event has been handed out: what the consumer remembers.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next events, at most `limit`. Empty when there is nothing new, or when nothing new was settled within `patience`
    /// because some transaction is still open.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_page(&mut self, limit: i64, patience: Duration) -> Result<Vec<FeedEvent>, StoreError> {
        if self.position >= self.settled_to {
            match self.store.settled_mark(patience).await? {
                Some(mark) => self.settled_to = mark.max(self.settled_to),
                None => return Ok(Vec::new()),
            }
        }
        let params: [Param<'_>; 3] = [
            (&self.position, Type::INT8),
            (&self.settled_to, Type::INT8),
            (&limit, Type::INT8),
        ];
        let rows = self.store.read(As::Projector, READ_FEED_PAGE, &params).await?;
        let mut page = Vec::with_capacity(rows.len());
        for row in &rows {
            page.push(FeedEvent {
                event_number: row.try_get("event_number")?,
                id: row.try_get("id")?,
                stream: stream_from(row)?,
                version: row.try_get("aggregate_version")?,
                event_type: row.try_get("event_type")?,
                data: parse_object(row.try_get("data")?)?,
            });
        }
        // A page that is not full holds all there is up to the mark; numbers beyond its last event are gaps.
        self.position = match page.last() {
            Some(last) if i64::try_from(page.len()).is_ok_and(|length| length >= limit) => last.event_number,
            _ => self.settled_to,
        };
        Ok(page)
    }
}

impl Store {
    /// A number up to which every event is settled: visible now, or never. None where transactions that were open at the call
    /// are still open after `patience`.
    ///
    /// # Errors
    /// The database's.
    pub async fn settled_mark(&self, patience: Duration) -> Result<Option<i64>, StoreError> {
        // Two transactions on purpose: the mark's own xid must be over before the snapshot can pass it.
        let rows = self
            .write(As::Projector, TAKE_MARK, &[])
            .await
            .map_err(lost_is_unavailable)?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no mark".to_owned()))?;
        let (settled_to, after_xid): (i64, String) = (row.try_get("settled_to")?, row.try_get("after_xid")?);
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let rows = self
                .read(As::Projector, IS_SETTLED, &[(&after_xid, Type::TEXT)])
                .await?;
            if rows.first().is_some_and(|row| row.try_get("settled").unwrap_or(false)) {
                return Ok(Some(settled_to));
            }
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!(feed.settled_to = settled_to, "an open transaction holds the feed back");
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
