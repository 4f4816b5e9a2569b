//! The general event types of a module: `{type}.created`, `.updated`, `.deleted`.

use annals::App;
use annals::domain::{AggregateId, AggregateType, Caller, Catalog, EventType, NewEvent};
use annals::http::{ApiError, Problem};
use axum::http::StatusCode;
use serde_json::{Map, Value};

/// One of a module's three general event types.
pub(super) struct Verb {
    pub(super) aggregate_type: AggregateType,
    pub(super) event_type: EventType,
}

impl Verb {
    /// The type `{aggregate_type}.{action}`, if the module has it: 404 for no module, 405 for a module that is not edited so.
    pub(super) async fn find(
        app: &App,
        caller: &Caller,
        aggregate_type: String,
        action: &str,
    ) -> Result<Self, ApiError> {
        let unknown = |name: &str| ApiError::no_such_kind(name);
        let aggregate_type = AggregateType::try_from(aggregate_type.clone()).map_err(|_| unknown(&aggregate_type))?;
        let event_type =
            EventType::try_from(format!("{aggregate_type}.{action}")).map_err(|_| unknown(aggregate_type.as_str()))?;
        let mut catalog = app.store.catalog(caller).await?;
        if catalog.find(caller.tenant_id(), event_type.as_str()).is_none() {
            catalog = app.store.fresh_catalog(caller).await?;
        }
        let has = |catalog: &Catalog| catalog.find(caller.tenant_id(), event_type.as_str()).is_some();
        if has(&catalog) {
            return Ok(Self {
                aggregate_type,
                event_type,
            });
        }
        if catalog.knows_aggregate(caller.tenant_id(), aggregate_type.as_str()) {
            let detail = format!(
                "an entity of type {aggregate_type} changes by its own events only: GET /api/v1/events/types?aggregate_type={aggregate_type} lists them"
            );
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_generic_edit", detail).into());
        }
        Err(unknown(aggregate_type.as_str()))
    }

    /// Data that tell these changes. A schema of the tenant's own may know no `removed`: there, a field that is taken out becomes
    /// null.
    pub(super) async fn told_as_it_may_be(
        &self,
        app: &App,
        caller: &Caller,
        changes: Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        let told =
            |changes: &Map<String, Value>| Map::from_iter([("changes".to_owned(), Value::Object(changes.clone()))]);
        let data = told(&changes);
        if changes.values().all(|change| change.get("removed").is_none()) {
            return Ok(data);
        }
        let catalog = app.store.catalog(caller).await?;
        let kind = catalog.find(caller.tenant_id(), self.event_type.as_str());
        let takes = |data| {
            kind.and_then(|kind| kind.current())
                .is_some_and(|schema| schema.check(data).is_ok())
        };
        let mut plain = changes;
        for change in plain.values_mut().filter_map(Value::as_object_mut) {
            change.remove("removed");
        }
        let plain = told(&plain);
        Ok(if !takes(&data) && takes(&plain) { plain } else { data })
    }

    pub(super) fn event(&self, id: AggregateId, data: Map<String, Value>) -> NewEvent {
        NewEvent::plain(self.event_type.clone(), self.aggregate_type.clone(), id, data)
    }
}
