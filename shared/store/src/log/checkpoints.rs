//! Checkpoints of replays: a name, the consumer that owns it, and a position in the log.
//!
//! Invariant: a position moves only from where its reader began the batch. If two processes replay under one name concurrently, one
//! moves the checkpoint and the other gets an error. Events may have been delivered twice by then, but none is skipped.

use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::log::feed::Selection;
use crate::{Refusal, RefusalKind, Store, StoreError};
use annals_domain::{CheckpointName, EventId};

/// A batch that a replay has delivered, `(from, to]` by event number.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointMove {
    /// Current position of the checkpoint.
    pub from: i64,
    /// New position.
    pub to: i64,
    /// Number of events delivered between the two.
    pub events: i64,
    /// How many of these belong to the default tenant.
    pub of_default_tenant: i64,
    /// Id of the last of these events; `None` if there were none.
    pub last_event: Option<EventId>,
    /// Whether the run continues.
    pub run: Run,
}

/// Whether a run of a replay continues after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// There is more to deliver.
    Continues,
    /// Everything has been delivered.
    Ended,
}

/// Begins a run under a name that is free or already belongs to this consumer. Returns no row if it belongs to another one. A consumer
/// with a later `from` counts as the same (for example "the last day", every day), because everything that it selects before the
/// checkpoint was delivered. Times are compared as text, which works because they are RFC 3339 in UTC with microseconds. Without new
/// metadata, the stored metadata is kept.
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
    /// Begins a run of this consumer under its name. Returns the number after which it continues. Given metadata replaces the stored
    /// metadata.
    ///
    /// # Errors
    /// `checkpoint_taken` if the name belongs to a consumer that reads something else.
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
        match claimed?.first() {
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

    /// Records that a batch was delivered.
    ///
    /// # Errors
    /// `checkpoint_moved` if another process has moved the checkpoint meanwhile.
    pub async fn move_checkpoint(&self, name: &CheckpointName, moved: CheckpointMove) -> Result<(), StoreError> {
        let ends = moved.run == Run::Ended;
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
        match rows?.first() {
            Some(_) => Ok(()),
            None => Err(refused(
                "checkpoint_moved",
                format!("another process is using the checkpoint {name}"),
            )),
        }
    }
}

fn refused(code: &str, message: String) -> StoreError {
    StoreError::Refused(Refusal::new(RefusalKind::Conflict, code, message))
}
