//! Event types, and new versions of them, that staff registers at run time.

use serde_json::{Value, json};
use tokio_postgres::types::{Json, Type};

use super::session::{Param, lost_is_unavailable};
use super::{Store, StoreError};
use crate::domain::{AggregateType, Caller, Effect, EventType, Inverse, Requires, Role, SchemaVersion, Upcaster};
use crate::telemetry::xray::in_postgres;

/// A transaction by itself, like an append: `annals_api` may execute the function, which takes the verified claims. No client can leave
/// it open and so keep the catalog locked.
const REGISTER_EVENT_TYPE: &str = "-- register_event_type
select annals.register_event_type($1, $2, $3, $4, $5, $6::jsonb, $7, $8::jsonb, $9::jsonb, $10::jsonb, $11::jsonb, $12, $13, $14)";

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
    /// What must be there before it.
    pub requires: Option<Requires>,
    /// Whether who started a stream sees events of this type that others append to it.
    pub starter_sees: bool,
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
    /// Registers an event type, or a new version of one, for the caller's tenant.
    ///
    /// # Errors
    /// A refusal where the caller is not staff, the version exists or is no newer one, the type belongs to other aggregates, or
    /// upcasters do not lead to it from every version.
    pub async fn register_event_type(&self, caller: &Caller, new: &Registration) -> Result<(), StoreError> {
        let effect = json!(new.effect).to_string();
        let posters: Vec<&str> = new.posters.iter().map(|role| role.as_str()).collect();
        let schema = new.version.schema.to_string();
        let example = new.version.example.to_string();
        let inverse = new.inverse.as_ref().map(|inverse| json!(inverse).to_string());
        let upcasters = json!(new.version.upcasters).to_string();
        let based_on = new.based_on.as_ref().map(SchemaVersion::as_str);
        let requires = new.requires.map_or("nothing", Requires::as_str);
        let claims = Json(caller.database_claims());
        let params: [Param<'_>; 14] = [
            (&claims, Type::JSONB),
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
            (&requires, Type::TEXT),
            (&new.starter_sees, Type::BOOL),
        ];
        let client = self.connection().await?;
        let registered = in_postgres(REGISTER_EVENT_TYPE, client.query_alone(REGISTER_EVENT_TYPE, &params)).await;
        registered.map_err(|error| lost_is_unavailable(error.into()))?;
        self.fresh_catalog(caller).await.map(|_| ())
    }
}
