//! Counts the use of snapshots and upcasters by reads. The counts are informative only, so counting must neither fail a read nor delay
//! it much.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::connection::consistent_read::ConsistentRead;
use crate::connection::statement::{As, Param};
use crate::redacted_error;
use crate::status::ratio::Ratio;
use crate::{Store, StoreError};
use annals_domain::{Caller, TenantId};

/// Maximum time that a finished response waits for its counts.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one read did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// States loaded from a snapshot.
    pub snapshot_hits: i64,
    /// States folded from the first event because there was no snapshot.
    pub snapshot_misses: i64,
    /// Snapshots whose digest did not match.
    pub snapshots_corrupt: i64,
    /// Events upcast to the current version of their type.
    pub upcasts: i64,
    /// Events without a path to the current version.
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

/// Upcasting of old events to the current version of their type.
#[derive(Debug, Serialize)]
pub struct Upcasting {
    /// Upcasters that change something: built-in ones and the tenant's.
    pub registered: i64,
    /// Events upcast, counted at each read.
    pub succeeded: i64,
    /// Events without a path to the current version, counted at each read.
    pub failed: i64,
    /// `succeeded` divided by `succeeded` + `failed`; null before the first.
    pub success_rate: Option<Ratio>,
}

/// Use of snapshots.
#[derive(Debug, Serialize)]
pub struct SnapshotUse {
    /// States loaded from a snapshot.
    pub hits: i64,
    /// States folded from the first event because there was no snapshot.
    pub misses: i64,
    /// Snapshots whose digest did not match.
    pub corrupt: i64,
    /// `hits` divided by `hits` + `misses`; null before the first.
    pub hit_rate: Option<Ratio>,
}

/// The counters have 16 shards, chosen by server process. Rows are locked in one order, so two processes on one shard cannot deadlock.
/// The commit does not wait for the disk, because losing the last counts in a crash is acceptable.
const TALLY: &str = "-- tally
insert into annals.usage_counts as c (tenant_id, name, shard, uses)
select $1, u.name, pg_backend_pid() % 16, u.uses
  from set_config('synchronous_commit', 'off', true), unnest($2::text[], $3::bigint[]) as u (name, uses)
 order by u.name
on conflict on constraint usage_counts_pkey do update set uses = c.uses + excluded.uses";

/// A tenant's own upcaster replaces the built-in one. Upcasters without steps only declare that data need no change, so they do not
/// count.
const COUNT_UPCASTERS: &str = "-- count_upcasters
select count(*) as registered
  from (select distinct on (u.event_type, u.from_version) u.steps from annals.upcasters u
         where u.tenant_id is null or u.tenant_id = $1
         order by u.event_type, u.from_version, u.tenant_id nulls last) as u
 where u.steps <> '[]'";

const READ_USAGE: &str = "-- read_usage
select c.name, sum(c.uses)::bigint as uses from annals.usage_counts c where c.tenant_id = $1 group by c.name";

impl ConsistentRead<'_> {
    /// Use of upcasters and snapshots.
    pub(crate) async fn usage(&self, caller: &Caller) -> Result<(Upcasting, SnapshotUse), StoreError> {
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
    pub(crate) async fn registered_upcasters(&self, caller: &Caller) -> Result<i64, StoreError> {
        let tenant: [Param<'_>; 1] = [(caller.tenant_uuid(), Type::UUID)];
        let row = self.read_row(As::Caller(caller), COUNT_UPCASTERS, &tenant).await?;
        Ok(row.try_get("registered")?)
    }

    /// Adds the counts of a read to a tenant's, once the read's result is known. Writes nothing if all counts are 0. If it fails, the
    /// counts are lost and the failure is logged.
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
            tracing::warn!(error = redacted_error(&error), "the counts of a read are lost");
        }
    }
}
