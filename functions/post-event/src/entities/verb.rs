//! The general event types of an aggregate type: `{type}.created`, `.updated`, `.deleted`.

use crate::write_request::Sender;
use annals_domain::{AggregateType, Catalog, EventType};
use annals_http::{ApiError, Problem};
use axum::http::StatusCode;
use serde_json::{Map, Value};

/// One of the three general event types of an aggregate type.
pub(super) struct Verb {
    pub(super) aggregate_type: AggregateType,
    pub(super) event_type: EventType,
}

impl Verb {
    /// The type `{aggregate_type}.{action}`.
    ///
    /// # Errors
    /// 404 if there is no such aggregate type. 405 if it has no such event type, because its entities change only by events of their own
    /// types.
    pub(super) async fn find(by: &Sender, aggregate_type: String, action: &str) -> Result<Self, ApiError> {
        let Sender { app, caller, .. } = by;
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
            // A resource of one entity may support the other change.
            let others = [("updated", "PATCH"), ("deleted", "DELETE")]
                .into_iter()
                .filter(|(other, _)| {
                    let name = format!("{aggregate_type}.{other}");
                    action != "created" && catalog.find(caller.tenant_id(), &name).is_some()
                });
            let methods: Vec<&str> = ["GET", "HEAD"]
                .into_iter()
                .chain(others.map(|(_, method)| method))
                .collect();
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_generic_edit", detail);
            return Err(problem.allowing(&methods).into());
        }
        Err(unknown(aggregate_type.as_str()))
    }

    /// Data of an event with these changes. A schema that the tenant has registered may not allow `removed`. Then a field that is removed
    /// becomes null instead.
    pub(super) async fn data_of(
        &self,
        by: &Sender,
        changes: Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        let data_of =
            |changes: &Map<String, Value>| Map::from_iter([("changes".to_owned(), Value::Object(changes.clone()))]);
        let data = data_of(&changes);
        if changes.values().all(|change| change.get("removed").is_none()) {
            return Ok(data);
        }
        let catalog = by.app.store.catalog(&by.caller).await?;
        let kind = catalog.find(by.caller.tenant_id(), self.event_type.as_str());
        let takes = |data| {
            kind.and_then(|kind| kind.current())
                .is_some_and(|schema| schema.check(data).is_ok())
        };
        let mut plain = changes;
        for change in plain.values_mut().filter_map(Value::as_object_mut) {
            change.remove("removed");
        }
        let plain = data_of(&plain);
        Ok(if !takes(&data) && takes(&plain) { plain } else { data })
    }
}
