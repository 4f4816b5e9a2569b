//! Checkpoints of replays: a name, whose it is, and how far it has come.
//!
//! Invariant: a position moves only from where its reader began the batch. Of two processes that replay under one name at
//! once, one moves it and the other is told, whatever either has delivered by then: events may be delivered twice, never passed
//! over.

use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use super::feed::Selection;
use super::session::{As, Param, lost_is_unavailable};
use super::{Refusal, Store, StoreError};
use crate::domain::{CheckpointName, EventId};

/// A batch that a replay has dealt with, `(from, to]` by event number.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointMove {
    /// Where the checkpoint stands.
    pub from: i64,
    /// Where it is to stand.
    pub to: i64,
    /// Events delivered between the two.
    pub events: i64,
    /// Those of them that are the default tenant's.
    pub of_default_tenant: i64,
    /// The last of them; none where there were none.
    pub last_event: Option<EventId>,
    /// What comes after.
    pub run: Run,
}

/// Whether a run of a replay goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// There is more to deliver.
    GoesOn,
    /// All there was has been delivered.
    Ends,
}

/// Begins a run under a name that is free or belongs to the same consumer already; no row where it is another's. A later `from`
/// is the same consumer still (the last day, every day): nothing that it asks for lies behind the checkpoint undelivered.
/// Instants are compared as text, which RFC 3339 in UTC with microseconds allows. Metadata stays as it is where none is given.
const CLAIM_CHECKPOINT: &str = "-- claim_checkpoint
insert into annals.checkpoints as c (name, tenant_id, consumer, metadata, run_started_at)
values ($1, $2, $3::jsonb, coalesce($4::jsonb, '{}'), clock_timestamp())
on conflict on constraint checkpoints_pkey do update
   set run_started_at = clock_timestamp(), run_ended_at = null, run_event_count = 0, run_default_tenant_events = 0,
       metadata = coalesce($4::jsonb, c.metadata)
 where c.consumer - 'from' = excluded.consumer - 'from'
   and coalesce(c.consumer ->> 'from', '') <= coalesce(excluded.consumer ->> 'from', '')
returning position";

const FIND_CONSUMER: &str = "-- find_consumer
select consumer::text from annals.checkpoints where name = $1";

const MOVE_CHECKPOINT: &str = "-- move_checkpoint
update annals.checkpoints
   set position = $3, event_count = event_count + $4, run_event_count = run_event_count + $4,
       default_tenant_events = default_tenant_events + $6, run_default_tenant_events = run_default_tenant_events + $6,
       last_event_id = coalesce($7, last_event_id),
       updated_at = case when $3 > position then clock_timestamp() else updated_at end,
       run_ended_at = case when $5 then clock_timestamp() end
 where name = $1 and position = $2
returning position";

impl Store {
    /// Begins a run of this consumer under its name; the number after which it goes on. Metadata, where given, replaces what was said
    /// before.
    ///
    /// # Errors
    /// `checkpoint_taken` where the name belongs to a consumer that reads something else.
    pub async fn claim_checkpoint(
        &self,
        name: &CheckpointName,
        consumer: &Selection,
        metadata: Option<&Map<String, Value>>,
    ) -> Result<i64, StoreError> {
        let description = serde_json::json!(consumer).to_string();
        let tenant = consumer.tenant_id.map(|tenant| *tenant.as_uuid());
        let metadata = metadata.map(|members| serde_json::json!(members).to_string());
        let params: [Param<'_>; 4] = [
            (&name.as_str(), Type::TEXT),
            (&tenant, Type::UUID),
            (&description, Type::TEXT),
            (&metadata, Type::TEXT),
        ];
        let claimed = self.write(As::Projector, CLAIM_CHECKPOINT, &params).await;
        match claimed.map_err(lost_is_unavailable)?.first() {
            Some(row) => Ok(row.try_get("position")?),
            None => Err(self.taken(name).await?),
        }
    }

    async fn taken(&self, name: &CheckpointName) -> Result<StoreError, StoreError> {
        let rows = self
            .read(As::Projector, FIND_CONSUMER, &[(&name.as_str(), Type::TEXT)])
            .await?;
        let other: Option<String> = rows.first().map_or(Ok(None), |row| row.try_get("consumer"))?;
        Ok(refused(
            "checkpoint_taken",
            format!(
                "the checkpoint {name} belongs to a consumer that reads {}",
                other.as_deref().unwrap_or("something else")
            ),
        ))
    }

    /// Remembers that a batch has been dealt with.
    ///
    /// # Errors
    /// `checkpoint_moved` where another process has moved the checkpoint meanwhile.
    pub async fn move_checkpoint(&self, name: &CheckpointName, moved: CheckpointMove) -> Result<(), StoreError> {
        let ends = moved.run == Run::Ends;
        let last_event = moved.last_event.map(|id| *id.as_uuid());
        let params: [Param<'_>; 7] = [
            (&name.as_str(), Type::TEXT),
            (&moved.from, Type::INT8),
            (&moved.to, Type::INT8),
            (&moved.events, Type::INT8),
            (&ends, Type::BOOL),
            (&moved.of_default_tenant, Type::INT8),
            (&last_event, Type::UUID),
        ];
        let rows = self.write(As::Projector, MOVE_CHECKPOINT, &params).await;
        match rows.map_err(lost_is_unavailable)?.first() {
            Some(_) => Ok(()),
            None => Err(refused(
                "checkpoint_moved",
                format!("another process moves the checkpoint {name}"),
            )),
        }
    }
}

fn refused(code: &str, message: String) -> StoreError {
    StoreError::Refused(Refusal {
        status: 409,
        code: code.to_owned(),
        message,
        member: None,
        figure: None,
        fields: Vec::new(),
    })
}
