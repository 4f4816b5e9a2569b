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
use crate::domain::schema::EventSchema;
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

/// `limit 1` tells the planner that there is one revision: a table without statistics, as this one stays, is thought to have thousands
/// of rows, and what that seems to cost has PostgreSQL compile the statement, in twenty times the time that it takes.
const READ_TYPES: &str = "-- read_types
select r.revision, t.tenant_id, t.event_type, t.aggregate_type, t.current_version, t.description, t.effect::text, t.posters,
       t.created_at, t.inverse::text
  from (select revision from annals.catalog_revision limit 1) as r
  left join annals.event_types t on true";

/// A tenant's own come later, in place of what a module has brought under the same version.
const READ_VERSIONS: &str = "-- read_versions
select tenant_id, event_type, version, schema::text, example::text from annals.event_type_versions order by tenant_id nulls first";

/// As above.
const READ_UPCASTERS: &str = "-- read_upcasters
select tenant_id, event_type, from_version, to_version, steps::text from annals.upcasters order by tenant_id nulls first";

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
        let catalog = Arc::new(self.read_catalog(As::Caller(caller)).await?);
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
        let catalog = Arc::new(self.read_catalog(As::Projector).await?);
        *self.catalogs.projector.write().await = Some(Arc::clone(&catalog));
        Ok(catalog)
    }

    /// Put together here: joined there, each type would meet each version, since the planner knows nothing of how many there are.
    async fn read_catalog(&self, who: As<'_>) -> Result<Catalog, StoreError> {
        let [types, versions, upcasters] = self
            .read_together(who, [READ_TYPES, READ_VERSIONS, READ_UPCASTERS])
            .await?;
        let revision = types
            .first()
            .ok_or_else(|| StoreError::Unexpected("a catalog without a revision".to_owned()))?
            .try_get("revision")?;
        let mut kinds = Kinds::default();
        for row in &types {
            kinds.add(row)?;
        }
        for row in &versions {
            kinds.add_version(row)?;
        }
        for row in &upcasters {
            kinds.add_upcaster(row)?;
        }
        Ok(Catalog::new(revision, kinds.0.into_values().flatten().collect()))
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

/// Types that are put together, by name.
#[derive(Default)]
struct Kinds(HashMap<String, Vec<EventKind>>);

impl Kinds {
    /// A type; a catalog without any has one row, and nothing in it.
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        if let Some(name) = row.try_get::<_, Option<String>>("event_type")? {
            let kind = kind_from(row, &name)?;
            self.0.entry(name).or_default().push(kind);
        }
        Ok(())
    }

    fn add_version(&mut self, row: &Row) -> Result<(), StoreError> {
        for kind in self.of(row)? {
            let schema = EventSchema::new(row.try_get("schema")?, row.try_get("example")?);
            kind.versions.insert(row.try_get("version")?, schema);
        }
        Ok(())
    }

    fn add_upcaster(&mut self, row: &Row) -> Result<(), StoreError> {
        for kind in self.of(row)? {
            let steps = serde_json::from_str(row.try_get("steps")?).map_err(|_| unusable("upcaster"))?;
            let upcaster = Upcaster {
                from_version: row.try_get("from_version")?,
                to_version: row.try_get("to_version")?,
                steps,
            };
            kind.upcasters.insert(upcaster.from_version.clone(), upcaster);
        }
        Ok(())
    }

    /// Those that a row belongs to: what is built in holds for tenants' own types of that name, too.
    fn of(&mut self, row: &Row) -> Result<impl Iterator<Item = &mut EventKind>, StoreError> {
        let tenant = row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from);
        let same_name = self.0.get_mut(row.try_get::<_, &str>("event_type")?);
        let same_name = same_name.into_iter().flatten();
        Ok(same_name.filter(move |kind| tenant.is_none() || kind.tenant_id == tenant))
    }
}

fn kind_from(row: &Row, name: &str) -> Result<EventKind, StoreError> {
    let posters: Vec<&str> = row.try_get("posters")?;
    Ok(EventKind {
        tenant_id: row.try_get::<_, Option<Uuid>>("tenant_id")?.map(TenantId::from),
        event_type: EventType::try_from(name.to_owned()).map_err(|_| unusable("event type"))?,
        aggregate_type: AggregateType::try_from(row.try_get::<_, String>("aggregate_type")?)
            .map_err(|_| unusable("aggregate type"))?,
        current_version: SchemaVersion::try_from(row.try_get::<_, String>("current_version")?)
            .map_err(|_| unusable("version"))?,
        description: row.try_get("description")?,
        effect: Effect::from_json(row.try_get("effect")?).map_err(|_| unusable("effect"))?,
        posters: posters.into_iter().filter_map(Role::from_name).collect(),
        created_at: Timestamp::from(row.try_get::<_, chrono::DateTime<chrono::Utc>>("created_at")?),
        versions: BTreeMap::new(),
        upcasters: BTreeMap::new(),
        inverse: match row.try_get("inverse")? {
            None => None,
            Some(text) => Some(Inverse::from_json(text).map_err(|_| unusable("inverse"))?),
        },
    })
}

fn unusable(what: &str) -> StoreError {
    StoreError::Unexpected(format!("the catalog holds an unusable {what}"))
}
