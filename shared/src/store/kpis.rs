//! Key figures of business days (V39): settled and announced for the projector, read for callers who see the tenant.
//!
//! State tables' triggers note what changes; settling adds that to the figures. Both are transactions of their own, so a reader sees
//! figures as they were settled last, and never half of a change.

mod read;

use chrono::NaiveDate;
use serde_json::{Map, Number, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

pub use self::read::{By, Days, Granularity, KpiLine, KpiPage, TopLine};
use super::session::{As, Param, lost_is_unavailable};
use super::{Store, StoreError};
use crate::domain::TenantId;

/// Changes that one transaction settles at most.
const AT_ONCE: i32 = 20_000;
/// Days of a tenant that are announced at once at most: a history of ten years takes some sweeps, and no sweep much longer.
const DAYS_AT_ONCE: i64 = 500;

const SETTLE_KPIS: &str = "-- settle_kpis
select annals.settle_kpis($1) as settled";

/// Figures of days that are over and have changed since they were announced, with the event that changed them last and what the
/// stream's last event says.
const LIST_DUE_KPIS: &str = "-- list_due_kpis
select d.tenant_id, d.day, d.currency, d.changes, coalesce(h.version, 0) as revision, l.data::text as announced, c.id as cause,
       jsonb_build_object(
           'day', d.day, 'currency', d.currency, 'revenue_cents', d.revenue_cents, 'refunds_cents', d.refunds_cents,
           'net_cents', d.revenue_cents - d.refunds_cents, 'sales_count', d.sales_count,
           'average_sale_cents', round((d.revenue_cents - d.refunds_cents) / nullif(d.sales_count, 0)),
           'expenses_cents', d.expenses_cents, 'expenses_count', d.expenses_count,
           'profit_cents', d.revenue_cents - d.refunds_cents - d.expenses_cents,
           'new_customers', r.new_customers, 'active_customers', r.active_customers)::text as figures
  from (select k.*, row_number() over (partition by k.tenant_id order by k.day, k.currency) as place
          from annals.kpi_days k where k.is_due and k.day < (now() at time zone 'UTC')::date) as d
 cross join lateral (
       select coalesce(sum(r.customers) filter (where r.previous_day = '-infinity'), 0) as new_customers,
              coalesce(sum(r.customers), 0) as active_customers
         from annals.kpi_returns r where r.tenant_id = d.tenant_id and r.day = d.day and r.currency = d.currency) as r
  left join annals.heads h on h.tenant_id = d.tenant_id and h.aggregate_type = 'kpi' and h.aggregate_id = d.currency || ':' || d.day
  left join annals.events l on l.tenant_id = h.tenant_id and l.aggregate_id = h.aggregate_id and l.aggregate_type = 'kpi'
                           and l.aggregate_version = h.version
  left join annals.events c on c.tenant_id = d.tenant_id and c.aggregate_id = d.cause_id and c.aggregate_type = d.cause_type
                           and c.aggregate_version = d.cause_version
 where d.place <= $1
 order by d.tenant_id, d.day, d.currency";

/// Those that have changed again since they were read stay due.
const NOTE_ANNOUNCED: &str = "-- note_announced_kpis
update annals.kpi_days d set is_due = false
  from unnest($1::uuid[], $2::date[], $3::text[], $4::bigint[]) as u (tenant_id, day, currency, changes)
 where d.tenant_id = u.tenant_id and d.day = u.day and d.currency = u.currency and d.changes = u.changes";

/// Figures of a day that is over, to be announced.
#[derive(Debug)]
pub struct DueKpi {
    /// Tenant.
    pub tenant_id: TenantId,
    /// The day.
    pub day: NaiveDate,
    /// Currency.
    pub currency: String,
    /// How often they have been announced.
    pub revision: i32,
    /// What they are, without a revision.
    pub figures: Map<String, Value>,
    /// What was announced last.
    pub announced: Option<Map<String, Value>>,
    /// The event that changed them last, where it is known.
    pub cause: Option<Uuid>,
    changes: i64,
}

impl Store {
    /// Settles some of what is noted; whether there may be more. Nothing where somebody else is at it.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle_kpis(&self) -> Result<bool, StoreError> {
        let rows = self
            .write(As::Projector, SETTLE_KPIS, &[(&AT_ONCE, Type::INT4)])
            .await
            .map_err(lost_is_unavailable)?;
        let settled: i64 = rows.first().map_or(Ok(0), |row| row.try_get("settled"))?;
        Ok(settled >= i64::from(AT_ONCE))
    }

    /// Figures of days that are over, which have changed since they were announced; some of each tenant's.
    ///
    /// # Errors
    /// The database's.
    pub async fn due_kpis(&self) -> Result<Vec<DueKpi>, StoreError> {
        let rows = self
            .read(As::Projector, LIST_DUE_KPIS, &[(&DAYS_AT_ONCE, Type::INT8)])
            .await?;
        rows.iter().map(due_from).collect()
    }

    /// Notes that these figures have been announced.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_announced(&self, announced: &[DueKpi]) -> Result<(), StoreError> {
        let tenants: Vec<Uuid> = announced.iter().map(|due| *due.tenant_id.as_uuid()).collect();
        let days: Vec<NaiveDate> = announced.iter().map(|due| due.day).collect();
        let currencies: Vec<&str> = announced.iter().map(|due| due.currency.as_str()).collect();
        let changes: Vec<i64> = announced.iter().map(|due| due.changes).collect();
        let params: [Param<'_>; 4] = [
            (&tenants, Type::UUID_ARRAY),
            (&days, Type::DATE_ARRAY),
            (&currencies, Type::TEXT_ARRAY),
            (&changes, Type::INT8_ARRAY),
        ];
        self.write(As::Projector, NOTE_ANNOUNCED, &params)
            .await
            .map(|_| ())
            .map_err(lost_is_unavailable)
    }
}

fn due_from(row: &Row) -> Result<DueKpi, StoreError> {
    let object = |text: &str| {
        serde_json::from_str(text).map_err(|e| StoreError::Unexpected(format!("figures that cannot be read: {e}")))
    };
    Ok(DueKpi {
        tenant_id: TenantId::from(row.try_get::<_, Uuid>("tenant_id")?),
        day: row.try_get("day")?,
        currency: row.try_get("currency")?,
        revision: row.try_get("revision")?,
        figures: object(row.try_get("figures")?)?,
        announced: row.try_get::<_, Option<&str>>("announced")?.map(object).transpose()?,
        cause: row.try_get("cause")?,
        changes: row.try_get("changes")?,
    })
}

/// A sum, which may be more than any machine's integer.
fn number(row: &Row, column: &str) -> Result<Number, StoreError> {
    optional_number(row, column)?.ok_or_else(|| StoreError::Unexpected(format!("no {column}")))
}

fn optional_number(row: &Row, column: &str) -> Result<Option<Number>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(str::parse)
        .transpose()
        .map_err(|e| StoreError::Unexpected(format!("{column} is no number: {e}")))
}
