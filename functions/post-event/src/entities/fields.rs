//! The fields of the entities of one aggregate type, according to the schemas of its general event types.
//!
//! A field that no update could change is refused when the entity is created, not only when a client tries to change it.

use std::collections::BTreeSet;

use annals_domain::event::FieldFault;
use annals_domain::schema::EventSchema;
use annals_domain::{Caller, Catalog, json_pointer};
use annals_http::ApiError;
use serde_json::{Map, Value};

use super::change::Change;
use super::verb::Verb;

/// The fields of the entities of one aggregate type.
pub(super) struct EntityFields {
    /// Whether fields that are not listed are refused.
    is_closed: bool,
    /// Fields that a schema lists, including those that it lists only to refuse them with a reason.
    listed: BTreeSet<String>,
    /// Fields that may have a value.
    usable: BTreeSet<String>,
    required: BTreeSet<String>,
}

impl EntityFields {
    /// The fields that the catalog's `created` or `updated` lists. The list is closed if either schema closes it, unless the schema of
    /// `created` allows more, for instance by `"additionalProperties": true`.
    fn of(catalog: &Catalog, caller: &Caller, verb: &Verb) -> Self {
        let schema = |action: &str| {
            let name = format!("{}.{action}", verb.aggregate_type);
            let kind = catalog.find(caller.tenant_id(), &name);
            kind.and_then(|kind| kind.current().map(EventSchema::schema))
                .unwrap_or_default()
        };
        let created = schema("created");
        let changes = schema("updated").pointer("/properties/changes").cloned();
        let changes = changes.unwrap_or_default();
        let (mut listed, mut usable) = (BTreeSet::new(), BTreeSet::new());
        for schema in [&created, &changes] {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                listed.insert(name.clone());
                if *field != Value::Bool(false) {
                    usable.insert(name.clone());
                }
            }
        }
        let closes = |schema: &Value| schema["additionalProperties"] == Value::Bool(false);
        let more = created.get("additionalProperties");
        let is_open =
            more.is_some_and(|more| *more != Value::Bool(false)) || created.get("patternProperties").is_some();
        let required = created["required"].as_array().into_iter().flatten();
        Self {
            is_closed: !is_open && (closes(&created) || closes(&changes)),
            listed,
            usable,
            required: required.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
        }
    }

    fn unknown<'a>(&'a self, fields: &'a Map<String, Value>) -> impl Iterator<Item = &'a String> {
        fields
            .keys()
            .filter(|name| self.is_closed && !self.listed.contains(*name))
    }

    /// Removes fields that are null and not required: in a creation, null is the same as absent.
    pub(super) fn drop_nulls(&self, fields: &mut Map<String, Value>) {
        fields.retain(|name, value| !value.is_null() || self.required.contains(name));
    }

    fn refusal(&self, verb: &Verb, fields: &Map<String, Value>) -> ApiError {
        let usable: Vec<&str> = self.usable.iter().map(String::as_str).collect();
        let usable = usable.join(", ");
        let fault = |name: &String| {
            let detail = format!("{} has no field {name}; its fields are: {usable}", verb.aggregate_type);
            FieldFault::new(json_pointer::join(&[name]), "unknown_field", detail)
        };
        let faults: Vec<FieldFault> = self.unknown(fields).map(fault).collect();
        let detail = faults.first().map_or_else(String::new, |fault| fault.detail.clone());
        ApiError::unprocessable("schema_violation", detail, faults)
    }
}

/// The entity's fields, if all of these are among them.
///
/// # Errors
/// 422 with each field that the entity does not have.
pub(super) async fn known(change: &Change, fields: &Map<String, Value>) -> Result<EntityFields, ApiError> {
    let (store, caller, verb) = (&change.by.app.store, &change.by.caller, &change.verb);
    let catalog = store.catalog(caller).await?;
    let known = EntityFields::of(&catalog, caller, verb);
    if known.unknown(fields).next().is_none() {
        return Ok(known);
    }
    // Another process may have registered a schema with the field.
    let catalog = store.fresh_catalog(caller).await?;
    let known = EntityFields::of(&catalog, caller, verb);
    if known.unknown(fields).next().is_none() {
        return Ok(known);
    }
    Err(known.refusal(verb, fields))
}
