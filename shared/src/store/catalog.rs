//! The catalog: read whole, kept per tenant, and read again when the database says that it has moved on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::RwLock;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::session::As;
use super::{Store, StoreError};
use crate::domain::catalog::EventSchema;
use crate::domain::{
    AggregateType, Caller, Catalog, Effect, EventKind, EventType, Inverse, Role, SchemaVersion, TenantId, Timestamp,
    Upcaster,
};

/// Tenants whose catalogs a process keeps at most; beyond it forgets all and starts anew.
const TENANTS_KEPT: usize = 1_000;

/// How often a read is begun again because the catalog changed under it.
pub(super) const CATALOG_TRIES: usize = 5;

/// What a read answers with that was begun again too often.
pub(super) fn catalog_unsteady() -> StoreError {
    StoreError::Unavailable("the catalog changes all the time".into())
}

/// What a process remembers of catalogs.
#[derive(Default)]
pub struct CatalogCache {
    callers: RwLock<HashMap<TenantId, Arc<Catalog>>>,
    projector: RwLock<Option<Arc<Catalog>>>,
}

/// In order, because a later row replaces an earlier one: a module may bring a version that a tenant has had of its own. `limit 1`
/// tells the planner that there is one revision: a table without statistics, as this one stays, is thought to have thousands of
/// rows, and what that seems to cost has PostgreSQL compile the statement, in twenty times the time that it takes.
const READ_CATALOG: &str = "-- read_catalog
select t.tenant_id, t.event_type, t.aggregate_type, t.current_version, t.description, t.effect::text, t.posters, t.created_at,
       t.inverse::text, v.version, v.schema::text, v.example::text, r.revision,
       (select jsonb_agg(jsonb_build_object('from_version', u.from_version, 'to_version', u.to_version, 'steps', u.steps)
                         order by u.tenant_id nulls first)::text
          from annals.upcasters u
         where u.event_type = t.event_type and (u.tenant_id is null or u.tenant_id is not distinct from t.tenant_id)) as upcasters
  from (select revision from annals.catalog_revision limit 1) as r
  left join (annals.event_types t
             join annals.event_type_versions v
               on v.event_type = t.event_type and (v.tenant_id is null or v.tenant_id is not distinct from t.tenant_id))
    on true
 order by v.tenant_id nulls first";

const REGISTER_EVENT_TYPE: &str = "-- register_event_type
select annals.register_event_type($1, $2, $3, $4, $5::jsonb, $6, $7::jsonb, $8::jsonb, $9::jsonb, $10::jsonb, $11)";

/// A type, or a new version of one, that staff registers at run time.
#[derive(Debug)]
pub struct Registration {
    /// The type.
    pub event_type: EventType,
    /// Whose streams hold it.
    pub aggregate_type: AggregateType,
    /// One sentence for people.
    pub description: String,
    /// What it does to state.
    pub effect: Effect,
    /// Roles that may post it.
    pub posters: Vec<Role>,
    /// How its events are compensated.
    pub inverse: Option<Inverse>,
    /// Its data.
    pub version: NewVersion,
    /// Version that was the current one when the new one was judged; none: the type was unknown.
    pub based_on: Option<SchemaVersion>,
}

/// A version of an event type's data.
#[derive(Debug)]
pub struct NewVersion {
    /// The version, which becomes the current one.
    pub version: SchemaVersion,
    /// The JSON Schema.
    pub schema: Value,
    /// Data that it accepts.
    pub example: Value,
    /// What lifts data of older versions to it.
    pub upcasters: Vec<Upcaster>,
}

impl Store {
    /// The catalog as the caller's tenant knows it, from memory where possible.
    ///
    /// # Errors
    /// The database's.
    pub async fn catalog(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        if let Some(catalog) = self.catalogs.callers.read().await.get(&caller.tenant_id()) {
            return Ok(Arc::clone(catalog));
        }
        self.fresh_catalog(caller).await
    }

    /// The catalog as the caller's tenant knows it, read now: for requests that name a type which memory lacks, or after the
    /// append function said that the catalog has changed.
    ///
    /// # Errors
    /// The database's.
    pub async fn fresh_catalog(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        let catalog = Arc::new(catalog_from(&self.read(As::Caller(caller), READ_CATALOG, &[]).await?)?);
        let mut kept = self.catalogs.callers.write().await;
        if kept.len() >= TENANTS_KEPT {
            kept.clear();
        }
        kept.insert(caller.tenant_id(), Arc::clone(&catalog));
        Ok(catalog)
    }

    /// The catalog as the caller's tenant knows it, at this revision or a later one.
    ///
    /// # Errors
    /// The database's.
    pub async fn catalog_since(&self, caller: &Caller, at_least: i64) -> Result<Arc<Catalog>, StoreError> {
        let known = self.catalog(caller).await?;
        if known.revision() >= at_least {
            return Ok(known);
        }
        self.fresh_catalog(caller).await
    }

    /// The catalog of just this revision, which rows were read at: state that was folded by one catalog and goes on by another
    /// would be neither's.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] where the catalog has changed since: read the rows again.
    pub(super) async fn catalog_at(&self, caller: &Caller, revision: i64) -> Result<Arc<Catalog>, StoreError> {
        let catalog = self.catalog_since(caller, revision).await?;
        if catalog.revision() == revision {
            Ok(catalog)
        } else {
            Err(StoreError::Outdated)
        }
    }

    /// The catalog of all tenants, for the projector, at this revision or a later one.
    ///
    /// # Errors
    /// The database's.
    pub async fn projector_catalog(&self, at_least: i64) -> Result<Arc<Catalog>, StoreError> {
        if let Some(catalog) = self
            .catalogs
            .projector
            .read()
            .await
            .as_ref()
            .filter(|c| c.revision() >= at_least)
        {
            return Ok(Arc::clone(catalog));
        }
        self.fresh_projector_catalog().await
    }

    /// The catalog of all tenants, read now: for a reader of the log, which must know every type that it may meet.
    ///
    /// # Errors
    /// The database's.
    pub async fn fresh_projector_catalog(&self) -> Result<Arc<Catalog>, StoreError> {
        let catalog = Arc::new(catalog_from(&self.read(As::Projector, READ_CATALOG, &[]).await?)?);
        *self.catalogs.projector.write().await = Some(Arc::clone(&catalog));
        Ok(catalog)
    }

    /// Registers an event type, or a new version of one, for the caller's tenant.
    ///
    /// # Errors
    /// A refusal where the caller is not staff, the version exists or is no newer one, the type belongs to other aggregates, or
    /// upcasters do not lead to it from every version.
    pub async fn register_event_type(&self, caller: &Caller, new: &Registration) -> Result<(), StoreError> {
        let effect = serde_json::json!(new.effect).to_string();
        let posters: Vec<&str> = new.posters.iter().map(|role| role.as_str()).collect();
        let schema = new.version.schema.to_string();
        let example = new.version.example.to_string();
        let inverse = new
            .inverse
            .as_ref()
            .map(|inverse| serde_json::json!(inverse).to_string());
        let upcasters = serde_json::json!(new.version.upcasters).to_string();
        let based_on = new.based_on.as_ref().map(SchemaVersion::as_str);
        self.write(
            As::Caller(caller),
            REGISTER_EVENT_TYPE,
            &[
                (&new.event_type.as_str(), Type::TEXT),
                (&new.aggregate_type.as_str(), Type::TEXT),
                (&new.version.version.as_str(), Type::TEXT),
                (&new.description, Type::TEXT),
                (&effect, Type::TEXT),
                (&posters, Type::TEXT_ARRAY),
                (&schema, Type::TEXT),
                (&example, Type::TEXT),
                (&inverse, Type::TEXT),
                (&upcasters, Type::TEXT),
                (&based_on, Type::TEXT),
            ],
        )
        .await
        .map_err(super::session::lost_is_unavailable)?;
        self.fresh_catalog(caller).await.map(|_| ())
    }
}

fn catalog_from(rows: &[Row]) -> Result<Catalog, StoreError> {
    let mut revision = 0;
    let mut kinds: BTreeMap<(Option<Uuid>, String), EventKind> = BTreeMap::new();
    for row in rows {
        revision = row.try_get("revision")?;
        let Some(name) = row.try_get::<_, Option<String>>("event_type")? else {
            continue;
        };
        let tenant: Option<Uuid> = row.try_get("tenant_id")?;
        let kind = match kinds.entry((tenant, name)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(kind_from(row)?),
        };
        let schema = EventSchema::new(parse(row.try_get("schema")?)?, parse(row.try_get("example")?)?);
        kind.versions.insert(row.try_get("version")?, schema);
    }
    Ok(Catalog::new(revision, kinds.into_values().collect()))
}

fn kind_from(row: &Row) -> Result<EventKind, StoreError> {
    let unexpected = |what: &str| StoreError::Unexpected(format!("the catalog holds an unusable {what}"));
    let posters: Vec<String> = row.try_get("posters")?;
    Ok(EventKind {
        tenant_id: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from),
        event_type: EventType::try_from(row.try_get::<_, String>("event_type")?)
            .map_err(|_| unexpected("event type"))?,
        aggregate_type: AggregateType::try_from(row.try_get::<_, String>("aggregate_type")?)
            .map_err(|_| unexpected("aggregate type"))?,
        current_version: SchemaVersion::try_from(row.try_get::<_, String>("current_version")?)
            .map_err(|_| unexpected("version"))?,
        description: row.try_get("description")?,
        effect: Effect::from_json(&parse(row.try_get("effect")?)?).map_err(|_| unexpected("effect"))?,
        posters: posters.iter().filter_map(|name| Role::from_name(name)).collect(),
        created_at: Timestamp::from(row.try_get::<_, chrono::DateTime<chrono::Utc>>("created_at")?),
        versions: BTreeMap::new(),
        upcasters: upcasters_from(row.try_get("upcasters")?)?,
        inverse: match row.try_get::<_, Option<&str>>("inverse")? {
            None => None,
            Some(text) => Some(Inverse::from_json(&parse(text)?).map_err(|_| unexpected("inverse"))?),
        },
    })
}

/// By the version that each lifts; a later one, the tenant's own, in place of an earlier one.
fn upcasters_from(text: Option<&str>) -> Result<BTreeMap<String, Upcaster>, StoreError> {
    let all: Vec<Upcaster> = serde_json::from_str(text.unwrap_or("[]"))
        .map_err(|e| StoreError::Unexpected(format!("the catalog holds unusable upcasters: {e}")))?;
    Ok(all
        .into_iter()
        .map(|upcaster| (upcaster.from_version.clone(), upcaster))
        .collect())
}

fn parse(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON in the catalog: {e}")))
}
