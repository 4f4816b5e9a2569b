//! What reads do by the way, counted: snapshots found, old events lifted. The figures are for people, so counting them may
//! neither fail nor hold up the read that they are about.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use super::moment::Moment;
use super::ratio::Ratio;
use super::session::{As, Param};
use super::{Store, StoreError, told};
use crate::domain::{Caller, TenantId};

/// How long an answer that is ready waits for its figures at most.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Old events on their way to the current version of their type.
#[derive(Debug, Serialize)]
pub struct Upcasting {
    /// Upcasters that change something: built-in ones and the tenant's.
    pub registered: i64,
    /// Events lifted, each time that one was read.
    pub succeeded: i64,
    /// Events that nothing led to the current version.
    pub failed: i64,
    /// Succeeded, of both; null before the first.
    pub success_rate: Option<Ratio>,
}

/// What snapshots were good for.
#[derive(Debug, Serialize)]
pub struct SnapshotUse {
    /// States folded from a snapshot on.
    pub hits: i64,
    /// States folded without one, for want of one.
    pub misses: i64,
    /// Snapshots that were there, and not as they had been written.
    pub corrupt: i64,
    /// Hits, of hits and misses; null before the first.
    pub hit_rate: Option<Ratio>,
}

/// Each process of the server counts on its own sixteenth. Rows are taken in one order, so that two that share one cannot
/// wait for each other in a circle; and nobody waits for the disk, because a crash may cost the last figures.
const TALLY: &str = "-- tally
insert into annals.usage_counts as c (tenant_id, name, shard, uses)
select $1, u.name, pg_backend_pid() % 16, u.uses
  from set_config('synchronous_commit', 'off', true), unnest($2::text[], $3::bigint[]) as u (name, uses)
 order by u.name
on conflict on constraint usage_counts_pkey do update set uses = c.uses + excluded.uses";

/// A tenant's own upcaster goes before the built-in one; those without steps only say that data stay as they are.
const COUNT_UPCASTERS: &str = "-- count_upcasters
select count(*) as registered
  from (select distinct on (u.event_type, u.from_version) u.steps from annals.upcasters u
         where u.tenant_id is null or u.tenant_id = $1
         order by u.event_type, u.from_version, u.tenant_id nulls last) as u
 where u.steps <> '[]'";

const READ_USAGE: &str = "-- read_usage
select c.name, sum(c.uses)::bigint as uses from annals.usage_counts c where c.tenant_id = $1 group by c.name";

impl Moment<'_> {
    /// How upcasters and snapshots did.
    pub(super) async fn usage(&self, caller: &Caller) -> Result<(Upcasting, SnapshotUse), StoreError> {
        let tenant: [Param<'_>; 1] = [(caller.tenant_uuid(), Type::UUID)];
        let registered = self.row(COUNT_UPCASTERS, &tenant).await?;
        let mut uses: HashMap<String, i64> = HashMap::new();
        for row in self.rows(READ_USAGE, &tenant).await? {
            uses.insert(row.try_get("name")?, row.try_get("uses")?);
        }
        let of = |name: &str| uses.get(name).copied().unwrap_or_default();
        let (succeeded, failed) = (of("upcast"), of("upcast_failed"));
        let (hits, misses) = (of("snapshot_hit"), of("snapshot_miss"));
        let upcasting = Upcasting {
            registered: registered.try_get("registered")?,
            succeeded,
            failed,
            success_rate: Ratio::of(succeeded, succeeded + failed),
        };
        let snapshots = SnapshotUse {
            hits,
            misses,
            corrupt: of("snapshot_corrupt"),
            hit_rate: Ratio::of(hits, hits + misses),
        };
        Ok((upcasting, snapshots))
    }
}

impl Store {
    /// How many upcasters change something for the caller's tenant.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn registered_upcasters(&self, caller: &Caller) -> Result<i64, StoreError> {
        let tenant: [Param<'_>; 1] = [(caller.tenant_uuid(), Type::UUID)];
        let rows = self.read(As::Caller(caller), COUNT_UPCASTERS, &tenant).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no count".to_owned()))?;
        Ok(row.try_get("registered")?)
    }

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
            tracing::warn!(error = told(&error), "a read's figures are not counted");
        }
    }
}
