//! Whether an event may be compensated, or has been compensated already.

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError, StoredEntity};
use annals_domain::{Caller, EventId, Timestamp};

/// Maximum number of compensations of one event, including those that staff has skipped.
pub(crate) const ATTEMPTS: u8 = 8;

/// Whether an event may be compensated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompensationStatus {
    /// It is part of the state, and has no compensation except skipped ones.
    Open {
        /// Id that the compensation will have.
        compensation: EventId,
    },
    /// Staff has skipped it, or its stream is parked at it or before it.
    NotApplied,
    /// It has been compensated.
    Compensated {
        /// Id of the compensating event.
        by: EventId,
    },
}

const FIND_COMPENSATION_STATUS: &str = "-- find_compensation_status
select exists (select from annals.skipped_events s
                where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                  and s.aggregate_version = e.aggregate_version)
       or exists (select from annals.parked_streams p
                   where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id
                     and p.aggregate_version <= e.aggregate_version) as not_applied,
       c.attempt, c.is_skipped
  from annals.events e
  left join lateral (
       select (i.place - 1)::int as attempt,
              exists (select from annals.skipped_events s
                       where s.tenant_id = c.tenant_id and s.aggregate_type = c.aggregate_type and s.aggregate_id = c.aggregate_id
                         and s.aggregate_version = c.aggregate_version) as is_skipped
         from unnest($2::uuid[]) with ordinality as i (id, place)
         join annals.events c on c.tenant_id = e.tenant_id and c.id = i.id
        where c.aggregate_type = e.aggregate_type and c.aggregate_id = e.aggregate_id
        order by i.place desc limit 1) as c on true
 where e.tenant_id = $3 and e.id = $1";

/// Recorded times increase with versions, so `annals.version_at` finds the version by binary search.
const FIND_EVENT_RECORDED_AT: &str = "-- find_event_recorded_at
select e.id, e.event_type from annals.events e
 where e.tenant_id = $1 and e.aggregate_type = $2 and e.aggregate_id = $3 and e.created_at = $5
   and e.aggregate_version = annals.version_at($1, $2, $3, $4, $5)";

impl Store {
    /// Id and type of the event that was recorded in an entity's stream at exactly this time, if the caller may see it.
    pub async fn find_event_recorded_at(
        &self,
        caller: &Caller,
        of: &StoredEntity,
        at: Timestamp,
    ) -> Result<Option<(EventId, String)>, StoreError> {
        let at = at.as_datetime();
        let params: [Param<'_>; 5] = [
            (caller.tenant_uuid(), Type::UUID),
            (&of.aggregate_type, Type::TEXT),
            (&of.aggregate_id, Type::TEXT),
            (&of.entity.version, Type::INT4),
            (&at, Type::TIMESTAMPTZ),
        ];
        let rows = self.read(As::Caller(caller), FIND_EVENT_RECORDED_AT, &params).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((
            EventId::from(row.try_get::<_, Uuid>("id")?),
            row.try_get("event_type")?,
        )))
    }

    /// Whether the event may be compensated, as far as the caller may see; `None` if the caller may not see the event. Only callers
    /// who see the whole tenant see parked streams.
    pub async fn find_compensation_status(
        &self,
        caller: &Caller,
        id: EventId,
    ) -> Result<Option<CompensationStatus>, StoreError> {
        let ids: Vec<Uuid> = (0..ATTEMPTS)
            .map(|attempt| *id.of_compensation(attempt).as_uuid())
            .collect();
        let params: [Param<'_>; 3] = [
            (id.as_uuid(), Type::UUID),
            (&ids, Type::UUID_ARRAY),
            (caller.tenant_uuid(), Type::UUID),
        ];
        let rows = self.read(As::Caller(caller), FIND_COMPENSATION_STATUS, &params).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let last: Option<i32> = row.try_get("attempt")?;
        let last = last.and_then(|attempt| u8::try_from(attempt).ok());
        let is_skipped: Option<bool> = row.try_get("is_skipped")?;
        if let Some(last) = last.filter(|last| is_skipped != Some(true) || last + 1 == ATTEMPTS) {
            let by = id.of_compensation(last);
            return Ok(Some(CompensationStatus::Compensated { by }));
        }
        if row.try_get("not_applied")? {
            return Ok(Some(CompensationStatus::NotApplied));
        }
        let compensation = id.of_compensation(last.map_or(0, |last| last + 1));
        Ok(Some(CompensationStatus::Open { compensation }))
    }
}
