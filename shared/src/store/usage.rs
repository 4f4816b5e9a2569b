//! What reads do by the way, counted: snapshots found, old events lifted. The figures are for people, so counting them may
//! neither fail nor hold up the read that they are about.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::session::{As, Param};
use super::{Store, StoreError};
use crate::domain::TenantId;

/// How long an answer that is ready waits for its figures at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// What one read did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// States folded from a snapshot on.
    pub snapshot_hits: i64,
    /// States folded without one, for want of one.
    pub snapshot_misses: i64,
    /// Snapshots that were there, and not as they had been written.
    pub snapshots_corrupt: i64,
    /// Events lifted to the current version of their type.
    pub upcasts: i64,
    /// Events that nothing leads to the current version.
    pub upcasts_failed: i64,
}

impl Usage {
    fn counts(&self) -> [(&'static str, i64); 5] {
        [
            ("snapshot_corrupt", self.snapshots_corrupt),
            ("snapshot_hit", self.snapshot_hits),
            ("snapshot_miss", self.snapshot_misses),
            ("upcast", self.upcasts),
            ("upcast_failed", self.upcasts_failed),
        ]
    }
}

/// Each process of the server counts on its own sixteenth. Rows are taken in one order, so that two that share one cannot
/// wait for each other in a circle; and nobody waits for the disk, because a crash may cost the last figures.
const TALLY: &str = "-- tally
insert into annals.usage_counts as c (tenant_id, name, shard, uses)
select $1, u.name, pg_backend_pid() % 16, u.uses
  from set_config('synchronous_commit', 'off', true), unnest($2::text[], $3::bigint[]) as u (name, uses)
 order by u.name
on conflict on constraint usage_counts_pkey do update set uses = c.uses + excluded.uses";

impl Store {
    /// Counts what a read did for a tenant, once its answer is known; nothing where it did nothing of the kind. What cannot be
    /// counted now is not counted.
    pub async fn tally(&self, tenant_id: TenantId, usage: Usage) {
        let (names, uses): (Vec<&str>, Vec<i64>) = usage.counts().into_iter().filter(|(_, uses)| *uses > 0).unzip();
        if names.is_empty() {
            return;
        }
        let params: [Param<'_>; 3] = [
            (tenant_id.as_uuid(), Type::UUID),
            (&names, Type::TEXT_ARRAY),
            (&uses, Type::INT8_ARRAY),
        ];
        let counted = tokio::time::timeout(PATIENCE, self.write(As::Projector, TALLY, &params)).await;
        let error: Option<StoreError> = match counted {
            Ok(counted) => counted.err(),
            Err(late) => Some(StoreError::Unavailable(Box::new(late))),
        };
        if let Some(error) = error {
            tracing::warn!(%error, "a read's figures are not counted");
        }
    }
}
