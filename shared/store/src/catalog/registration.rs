//! Registration of event types, and of new versions of them, at run time (by staff).

use serde_json::{Value, json};
use tokio_postgres::types::{Json, Type};

use crate::connection::statement::Param;
use crate::{Store, StoreError};
use annals_domain::{AggregateType, Caller, Effect, EventType, Inverse, Requires, Role, SchemaVersion, Upcaster};

/// The statement is a transaction by itself, like an append: `annals_api` may execute the function, which takes the verified claims.
/// No client can therefore leave the transaction open and keep the catalog locked.
const REGISTER_EVENT_TYPE: &str = "-- register_event_type
select annals.register_indexed_type($1, $2, $3, $4, $5, $6::jsonb, $7, $8::jsonb, $9::jsonb, $10::jsonb, $11::jsonb, $12, $13, $14, $15)";

/// An event type, or a new version of one, to be registered.
#[derive(Debug)]
pub struct Registration {
    /// The event type.
    pub event_type: EventType,
    /// Aggregate type of the streams that hold such events.
    pub aggregate_type: AggregateType,
    /// One human-readable sentence.
    pub description: String,
    /// What an event does to the state of its aggregate.
    pub effect: Effect,
    /// Roles that may post such events.
    pub posters: Vec<Role>,
    /// What must exist before such an event is appended.
    pub requires: Option<Requires>,
    /// Whether the actor who started a stream sees events of this type that others append to it.
    pub starter_sees: bool,
    /// Fields of the data by which such events can be found; `None`: those that were declared stay.
    pub indexed: Option<Vec<String>>,
    /// How such an event is compensated.
    pub inverse: Option<Inverse>,
    /// The version to register: schema, example and upcasters.
    pub version: NewVersion,
    /// The current version when the new one was checked for compatibility; `None`: the type was not registered.
    pub based_on: Option<SchemaVersion>,
}

/// A version of an event type's data.
#[derive(Debug)]
pub struct NewVersion {
    /// The version number. It becomes the current one.
    pub version: SchemaVersion,
    /// The JSON Schema of the data.
    pub schema: Value,
    /// Example data that the schema accepts.
    pub example: Value,
    /// Upcasters from older versions to this one.
    pub upcasters: Vec<Upcaster>,
}

impl Store {
    /// Registers an event type, or a new version of one, for the caller's tenant.
    ///
    /// # Errors
    /// A refusal if the caller is not staff, if the version exists or is not newer, if the type belongs to another aggregate type, or if
    /// there is an older version from which the upcasters do not lead to this one.
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
        let params: [Param<'_>; 15] = [
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
            (&new.indexed, Type::TEXT_ARRAY),
        ];
        self.write_alone(REGISTER_EVENT_TYPE, &params).await?;
        self.fresh_catalog(caller).await.map(|_| ())
    }
}
