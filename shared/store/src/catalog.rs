//! The catalog: read as a whole, cached per tenant, and read again when the database reports a newer revision.

pub(crate) mod cache;
pub(crate) mod registration;
pub(crate) mod upcasters;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::schema::EventSchema;
use annals_domain::{
    AggregateType, Caller, Catalog, Effect, EventKind, EventType, Inverse, Requires, Role, SchemaVersion, TenantId,
    Timestamp, Upcaster,
};

/// Limits of the cache: number of tenants, and bytes of memory for their types. When one is reached, the cache is emptied.
const TENANTS_KEPT: usize = 1_000;
const BYTES_KEPT: usize = 64 << 20;

/// Maximum attempts of work that starts again if the catalog changes meanwhile. The last one fails with [`StoreError::Outdated`].
pub const CATALOG_TRIES: usize = 5;

/// Starts a read again if the catalog changes meanwhile.
pub(crate) async fn retry_if_outdated<T, F>(read: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..CATALOG_TRIES {
        match read().await {
            Err(StoreError::Outdated) => {}
            other => return other,
        }
    }
    read().await
}

/// Parameter of the statements below: whether built-in types are left out.
const OWN: bool = true;
const ALL: bool = false;

/// `limit 1` tells the planner that there is one revision. This table stays without statistics, and PostgreSQL assumes thousands of rows
/// for it. The estimated cost would make PostgreSQL compile the statement (JIT), which takes twenty times as long as running it.
const READ_TYPES: &str = "-- read_types
select r.revision, t.tenant_id, t.event_type, t.aggregate_type, t.current_version, t.description, t.effect::text, t.posters,
       t.created_at, t.inverse::text, t.requires, t.starter_sees, t.appended_by is not null as closed
  from (select revision from annals.catalog_revision limit 1) as r
  left join annals.event_types t on not $1 or t.tenant_id is not null";

const READ_REVISION: &str = "-- read_revision
select revision from annals.catalog_revision";

/// The parameter is the same as in [`READ_TYPES`].
const READ_UPCASTERS: &str = "-- read_upcasters
select tenant_id, event_type, from_version, to_version, steps::text
  from annals.upcasters where not $1 or tenant_id is not null";

/// The parameter is the same as in [`READ_TYPES`].
const READ_INDEXED: &str = "-- read_indexed
select tenant_id, event_type, field from annals.indexed_fields where not is_dropped and (not $1 or tenant_id is not null)";

const READ_VERSIONS: &str = "-- read_versions
select tenant_id, event_type, version, schema::text, example::text
  from annals.event_type_versions where not $1 or tenant_id is not null";

impl Store {
    /// The catalog of the caller's tenant, from memory if possible.
    pub async fn catalog(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        self.catalog_since(caller, 0).await
    }

    /// The catalog of the caller's tenant, read now. For requests that name a type which is not in memory, and after the append
    /// function has reported that the catalog changed.
    pub async fn fresh_catalog(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        let built_in = self.catalogs.built_in.read().await.clone();
        if let Some(built_in) = built_in {
            let own = self.read_catalog(caller, OWN).await?;
            // With another revision, the built-in types may have changed too.
            if own.revision == built_in.revision() {
                return Ok(self.keep(caller, own.beside(&built_in)).await);
            }
        }
        let (catalog, built_in) = self.read_catalog(caller, ALL).await?.split();
        *self.catalogs.built_in.write().await = Some(Arc::new(built_in));
        Ok(self.keep(caller, catalog).await)
    }

    /// The catalog of the caller's tenant, at this revision or a later one.
    pub async fn catalog_since(&self, caller: &Caller, at_least: i64) -> Result<Arc<Catalog>, StoreError> {
        match self.kept(caller, at_least).await.filter(|kept| !kept.is_outline()) {
            Some(kept) => Ok(kept),
            None => self.fresh_catalog(caller).await,
        }
    }

    /// The catalog without schemas and examples, which are most of it. It is enough to list types, and to upcast and fold events.
    pub async fn outline(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        self.outline_since(caller, 0).await
    }

    /// The outline as it is now, for requests that must know every type that another process has registered. Usually only the revision is
    /// read.
    pub async fn current_outline(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        let row = self.read_row(As::Caller(caller), READ_REVISION, &[]).await?;
        self.outline_since(caller, row.try_get("revision")?).await
    }

    /// The outline, read now.
    pub async fn fresh_outline(&self, caller: &Caller) -> Result<Arc<Catalog>, StoreError> {
        let outline = self.read_outline(As::Caller(caller)).await?;
        Ok(self.keep(caller, outline).await)
    }

    /// The catalog or its outline, at this revision or a later one.
    pub(crate) async fn outline_since(&self, caller: &Caller, at_least: i64) -> Result<Arc<Catalog>, StoreError> {
        match self.kept(caller, at_least).await {
            Some(kept) => Ok(kept),
            None => self.fresh_outline(caller).await,
        }
    }

    /// The outline at exactly the revision that rows were read at. A state that is folded partly by one catalog and partly by another
    /// would be wrong for both.
    ///
    /// # Errors
    /// [`StoreError::Outdated`] if the catalog has changed since: read the rows again.
    pub(crate) async fn outline_at(&self, caller: &Caller, revision: i64) -> Result<Arc<Catalog>, StoreError> {
        let outline = self.outline_since(caller, revision).await?;
        if outline.revision() == revision {
            Ok(outline)
        } else {
            Err(StoreError::Outdated)
        }
    }

    /// The outline of all tenants' catalogs, for the projector, at this revision or a later one.
    pub async fn projector_outline(&self, at_least: i64) -> Result<Arc<Catalog>, StoreError> {
        let kept = self.catalogs.projector.read().await.clone();
        match kept.filter(|kept| kept.revision() >= at_least) {
            Some(kept) => Ok(kept),
            None => self.fresh_projector_outline().await,
        }
    }

    /// The outline of all tenants' catalogs, read now: for a reader of the log, which must know every type in it.
    pub async fn fresh_projector_outline(&self) -> Result<Arc<Catalog>, StoreError> {
        let outline = Arc::new(self.read_outline(As::Projector).await?);
        *self.catalogs.projector.write().await = Some(Arc::clone(&outline));
        Ok(outline)
    }

    async fn kept(&self, caller: &Caller, at_least: i64) -> Option<Arc<Catalog>> {
        let kept = self.catalogs.callers.read().await.get(&caller.tenant_id()).cloned();
        kept.filter(|kept| kept.revision() >= at_least)
    }

    async fn keep(&self, caller: &Caller, catalog: Catalog) -> Arc<Catalog> {
        let mut kept = self.catalogs.callers.write().await;
        // An outline does not replace a full catalog of the same or a later revision.
        if let Some(known) = kept.get(&caller.tenant_id())
            && catalog.is_outline()
            && !known.is_outline()
            && known.revision() >= catalog.revision()
        {
            return Arc::clone(known);
        }
        let catalog = Arc::new(catalog);
        let bytes: usize = kept.values().map(|known| known.own_footprint()).sum();
        if kept.len() >= TENANTS_KEPT || bytes + catalog.own_footprint() > BYTES_KEPT {
            kept.clear();
        }
        kept.insert(caller.tenant_id(), Arc::clone(&catalog));
        catalog
    }

    /// Four statements, combined here. In a SQL join, each type would be compared with each version, because the planner does not
    /// know how many there are.
    async fn read_catalog(&self, caller: &Caller, own: bool) -> Result<Kinds, StoreError> {
        let own: [Param<'_>; 1] = [(&own, Type::BOOL)];
        let statements = [READ_TYPES, READ_UPCASTERS, READ_INDEXED, READ_VERSIONS].map(|sql| (sql, &own[..]));
        let [types, upcasters, indexed, versions] = self.read_together(As::Caller(caller), statements).await?;
        let mut kinds = Kinds::of(&types, &upcasters, &indexed)?;
        for row in &versions {
            kinds.add_version(row)?;
        }
        Ok(kinds)
    }

    async fn read_outline(&self, who: As<'_>) -> Result<Catalog, StoreError> {
        let all: [Param<'_>; 1] = [(&ALL, Type::BOOL)];
        let statements = [READ_TYPES, READ_UPCASTERS, READ_INDEXED].map(|sql| (sql, &all[..]));
        let [types, upcasters, indexed] = self.read_together(who, statements).await?;
        Kinds::of(&types, &upcasters, &indexed).map(Kinds::into_outline)
    }
}

/// Event types while they are combined, by tenant (`None`: built in) and name.
struct Kinds {
    revision: i64,
    found: HashMap<(Option<Uuid>, String), EventKind>,
}

impl Kinds {
    /// The types. The result of a catalog without types is one row with only the revision.
    fn of(types: &[Row], upcasters: &[Row], indexed: &[Row]) -> Result<Self, StoreError> {
        let first = types.first();
        let first = first.ok_or_else(|| StoreError::Unexpected("a catalog without a revision".to_owned()))?;
        let mut kinds = Self {
            revision: first.try_get("revision")?,
            found: HashMap::with_capacity(types.len()),
        };
        for row in types {
            if let Some(name) = row.try_get::<_, Option<String>>("event_type")? {
                let kind = kind_from(row, &name)?;
                kinds.found.insert((row.try_get("tenant_id")?, name), kind);
            }
        }
        for row in upcasters {
            kinds.add_upcaster(row)?;
        }
        for row in indexed {
            let field = row.try_get("field")?;
            if let Some(kind) = kinds.of_row(row)? {
                kind.indexed.insert(field);
            }
        }
        Ok(kinds)
    }

    fn add_version(&mut self, row: &Row) -> Result<(), StoreError> {
        let schema = EventSchema::new(row.try_get("schema")?, row.try_get("example")?);
        let version = row.try_get("version")?;
        if let Some(kind) = self.of_row(row)? {
            kind.versions.insert(version, Arc::new(schema));
        }
        Ok(())
    }

    fn add_upcaster(&mut self, row: &Row) -> Result<(), StoreError> {
        let steps = serde_json::from_str(row.try_get("steps")?).map_err(|_| unusable("upcaster"))?;
        let upcaster = Upcaster {
            from_version: row.try_get("from_version")?,
            to_version: row.try_get("to_version")?,
            steps,
        };
        if let Some(kind) = self.of_row(row)? {
            kind.upcasters.insert(upcaster.from_version.clone(), upcaster);
        }
        Ok(())
    }

    fn of_row(&mut self, row: &Row) -> Result<Option<&mut EventKind>, StoreError> {
        let key = (row.try_get("tenant_id")?, row.try_get("event_type")?);
        Ok(self.found.get_mut(&key))
    }

    fn into_outline(self) -> Catalog {
        Catalog::outline(self.revision, self.found.into_values())
    }

    /// The whole catalog, and the built-in part of it.
    fn split(self) -> (Catalog, Catalog) {
        let (built_in, own): (Vec<_>, Vec<_>) = self.found.into_values().partition(|kind| kind.tenant_id.is_none());
        let built_in = Catalog::new(self.revision, built_in);
        (built_in.with(own), built_in)
    }

    fn beside(self, built_in: &Catalog) -> Catalog {
        built_in.with(self.found.into_values())
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
        requires: row
            .try_get::<_, Option<&str>>("requires")?
            .and_then(Requires::from_name),
        starter_sees: row.try_get("starter_sees")?,
        closed: row.try_get("closed")?,
        indexed: BTreeSet::new(),
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
