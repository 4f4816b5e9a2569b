//! Lists the upcasters: the steps by which stored data of an old version are upcast when they are read.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::{Caller, Timestamp};

/// An upcaster in the catalog.
#[derive(Debug, Serialize)]
pub struct ListedUpcaster {
    /// Event type that it belongs to.
    pub event_type: String,
    /// Version that it upcasts from.
    pub from_version: String,
    /// Version that it upcasts to.
    pub to_version: String,
    /// Steps in order, a JSON array; empty: data of both versions are the same.
    pub steps: Box<RawValue>,
    /// Tenant that registered it; null: built in.
    pub tenant_id: Option<Uuid>,
    /// Whether it is built in.
    pub built_in: bool,
    /// Actor who registered it.
    pub created_by: String,
    /// Time of registration.
    pub created_at: Timestamp,
}

/// Ordered by version number, not by text: 1.10 comes after 1.9. A tenant's own upcaster replaces the built-in one.
const LIST_UPCASTERS: &str = "-- list_upcasters
select distinct on (u.event_type, annals.version_key(u.from_version))
       u.event_type, u.from_version, u.to_version, u.steps::text, u.tenant_id, u.created_by, u.created_at
  from annals.upcasters u
 where (u.tenant_id is null or u.tenant_id = $1) and ($2::text is null or u.event_type = $2)
   and (u.event_type, annals.version_key(u.from_version)) > ($3, annals.version_key($4))
 order by u.event_type, annals.version_key(u.from_version), u.tenant_id nulls last limit $5";

impl Store {
    /// Upcasters that apply to reads of the caller's tenant, by type and version, after the given type and version.
    pub async fn list_upcasters(
        &self,
        caller: &Caller,
        event_type: Option<&str>,
        after: Option<(&str, &str)>,
        limit: i64,
    ) -> Result<Vec<ListedUpcaster>, StoreError> {
        let (last_type, last_version) = after.unwrap_or_default();
        let params: [Param<'_>; 5] = [
            (caller.tenant_uuid(), Type::UUID),
            (&event_type, Type::TEXT),
            (&last_type, Type::TEXT),
            (&last_version, Type::TEXT),
            (&limit, Type::INT8),
        ];
        let mut found = Vec::new();
        for row in self.read(As::Caller(caller), LIST_UPCASTERS, &params).await? {
            let tenant_id: Option<Uuid> = row.try_get("tenant_id")?;
            found.push(ListedUpcaster {
                event_type: row.try_get("event_type")?,
                from_version: row.try_get("from_version")?,
                to_version: row.try_get("to_version")?,
                steps: RawValue::from_string(row.try_get("steps")?)
                    .map_err(|_| StoreError::Unexpected("steps that are not JSON".to_owned()))?,
                tenant_id,
                built_in: tenant_id.is_none(),
                created_by: row.try_get("created_by")?,
                created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
            });
        }
        Ok(found)
    }
}
