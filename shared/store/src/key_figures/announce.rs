//! Announcements of the key figures of past days. What was announced last is read from the log.

use std::time::Duration;

use chrono::NaiveDate;
use serde_json::{Map, Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::tenant_from;
use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::{EventId, StreamId, TenantId};

/// Maximum number of days of a tenant that one call announces: a history of ten years takes several sweeps, and no sweep takes much
/// longer.
const DAYS_AT_ONCE: i64 = 500;

const LIST_TENANTS_WITH_DUE: &str = include_str!("../queries/key_figures/due_tenants.sql");
const LIST_DUE_KPIS: &str = include_str!("../queries/key_figures/due.sql");
const ANNOUNCE_KPIS: &str = "-- announce_kpis
select annals.announce_kpis($1, $2, $3, $4::text[]::jsonb[], $5, $6)";

/// Days that have changed again since they were read remain to be announced. The same applies to days that another transaction is
/// changing now, which this statement does not wait for (`skip locked`).
const NOTE_ANNOUNCED: &str = "-- note_announced_kpis
with announced as (
    select d.day, d.currency
      from annals.kpi_days d
      join unnest($2::date[], $3::text[], $4::bigint[]) as u (day, currency, changes)
        on u.day = d.day and u.currency = d.currency and u.changes = d.changes
     where d.tenant_id = $1
       for update of d skip locked
)
update annals.kpi_days d set is_due = false from announced a where d.tenant_id = $1 and d.day = a.day and d.currency = a.currency";

/// Figures of a past day that are to be announced.
#[derive(Debug)]
pub struct DueKpi {
    /// Business day.
    day: NaiveDate,
    /// Currency code.
    currency: String,
    /// Version of the stream `kpi/{currency}:{day}`.
    version: i32,
    /// The figures, without `revision`.
    figures: Map<String, Value>,
    /// Data of the last announcement; `None`: not announced yet.
    announced: Option<Map<String, Value>>,
    /// The event that changed the figures last, if known.
    cause: Option<Uuid>,
    changes: i64,
}

impl DueKpi {
    /// Whether the figures differ from the announced ones. A day without sales and expenses is not announced if it never was before.
    pub fn has_news(&self) -> bool {
        match &self.announced {
            Some(announced) => self
                .figures
                .iter()
                .any(|(name, value)| announced.get(name) != Some(value)),
            None => ["sales_count", "expenses_count"]
                .iter()
                .any(|count| self.figures.get(*count) != Some(&json!(0))),
        }
    }

    /// The stream of the announcements.
    ///
    /// # Errors
    /// The currency cannot be part of a stream's name.
    pub fn stream(&self, tenant_id: TenantId) -> Result<StreamId, StoreError> {
        let unusable = |_| StoreError::Unexpected("an impossible stream name of key figures".to_owned());
        Ok(StreamId {
            tenant_id,
            aggregate_type: "kpi".to_owned().try_into().map_err(unusable)?,
            aggregate_id: self.stream_name().try_into().map_err(unusable)?,
        })
    }

    fn stream_name(&self) -> String {
        format!("{}:{}", self.currency, self.day)
    }

    /// The figures with `revision`, the number of announcements including this one.
    fn data(&self) -> Value {
        let before = self.announced.as_ref().and_then(|data| data.get("revision"));
        let mut data = self.figures.clone();
        data.insert(
            "revision".to_owned(),
            json!(before.and_then(Value::as_i64).unwrap_or(0) + 1),
        );
        Value::Object(data)
    }
}

impl Store {
    /// Tenants that have days to announce and no changes left to apply. A day is announced when it is over, and again after it was
    /// corrected.
    pub async fn tenants_with_due_kpis(&self) -> Result<Vec<TenantId>, StoreError> {
        let rows = self.read(As::Projector, LIST_TENANTS_WITH_DUE, &[]).await?;
        rows.iter().map(tenant_from).collect()
    }

    /// A tenant's first days that are over and have changed since they were announced. Empty while changes are left to apply, because
    /// figures of half a bulk load must not be announced. A corrected day is included only after it has not changed for `rest`.
    pub async fn due_kpis(&self, tenant: TenantId, rest: Duration) -> Result<Vec<DueKpi>, StoreError> {
        let rest = rest.as_secs_f64();
        let params: [Param<'_>; 3] = [
            (tenant.as_uuid(), Type::UUID),
            (&DAYS_AT_ONCE, Type::INT8),
            (&rest, Type::FLOAT8),
        ];
        let rows = self.read(As::Projector, LIST_DUE_KPIS, &params).await?;
        rows.iter().map(due_from).collect()
    }

    /// Appends `kpi.calculated` for each of a tenant's figures, all or none.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the batch member: its stream has changed, or the tenant has its own rules for the type.
    pub async fn announce_kpis(&self, tenant: TenantId, due: &[DueKpi]) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = due.iter().map(|_| *EventId::generate().as_uuid()).collect();
        let streams: Vec<String> = due.iter().map(DueKpi::stream_name).collect();
        let datas: Vec<String> = due.iter().map(|kpi| kpi.data().to_string()).collect();
        let causes: Vec<Option<Uuid>> = due.iter().map(|kpi| kpi.cause).collect();
        let versions: Vec<i32> = due.iter().map(|kpi| kpi.version).collect();
        let params: [Param<'_>; 6] = [
            (tenant.as_uuid(), Type::UUID),
            (&ids, Type::UUID_ARRAY),
            (&streams, Type::TEXT_ARRAY),
            (&datas, Type::TEXT_ARRAY),
            (&causes, Type::UUID_ARRAY),
            (&versions, Type::INT4_ARRAY),
        ];
        self.write(As::Projector, ANNOUNCE_KPIS, &params).await.map(|_| ())
    }

    /// Marks these figures as announced.
    pub async fn note_announced(&self, tenant: TenantId, announced: &[DueKpi]) -> Result<(), StoreError> {
        let days: Vec<NaiveDate> = announced.iter().map(|due| due.day).collect();
        let currencies: Vec<&str> = announced.iter().map(|due| due.currency.as_str()).collect();
        let changes: Vec<i64> = announced.iter().map(|due| due.changes).collect();
        let params: [Param<'_>; 4] = [
            (tenant.as_uuid(), Type::UUID),
            (&days, Type::DATE_ARRAY),
            (&currencies, Type::TEXT_ARRAY),
            (&changes, Type::INT8_ARRAY),
        ];
        self.write(As::Projector, NOTE_ANNOUNCED, &params).await.map(|_| ())
    }
}

fn due_from(row: &Row) -> Result<DueKpi, StoreError> {
    let object = |text: &str| {
        serde_json::from_str(text).map_err(|e| StoreError::Unexpected(format!("unreadable key figures: {e}")))
    };
    Ok(DueKpi {
        day: row.try_get("day")?,
        currency: row.try_get("currency")?,
        version: row.try_get("version")?,
        figures: object(row.try_get("figures")?)?,
        announced: row.try_get::<_, Option<&str>>("announced")?.map(object).transpose()?,
        cause: row.try_get("cause")?,
        changes: row.try_get("changes")?,
    })
}
