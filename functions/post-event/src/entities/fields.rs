//! Which fields an entity has, as the schemas of its general event types say.
//!
//! A field that no later change could touch is refused when the entity is created, not only when somebody tries to change it.

use std::collections::BTreeSet;

use annals::App;
use annals::domain::event::FieldFault;
use annals::domain::schema::EventSchema;
use annals::domain::{Caller, Catalog};
use annals::http::ApiError;
use serde_json::{Map, Value};

use super::verb::Verb;

/// The fields of one kind of entity.
pub(super) struct EntityFields {
    /// Whether fields that are not listed are refused.
    is_closed: bool,
    /// Those that a schema lists, also where it lists them to refuse them with a reason of its own.
    listed: BTreeSet<String>,
    /// Those that may have a value.
    usable: BTreeSet<String>,
    required: BTreeSet<String>,
}

impl EntityFields {
    /// The fields as the catalog has them: what `created` or `updated` lists. The list is closed where either schema closes it, unless
    /// that of `created` says otherwise: `"additionalProperties": true` for instance.
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

    /// Takes out what is null: as good as absent, for a field that need not be there.
    pub(super) fn drop_nulls(&self, fields: &mut Map<String, Value>) {
        fields.retain(|name, value| !value.is_null() || self.required.contains(name));
    }

    fn refusal(&self, verb: &Verb, fields: &Map<String, Value>) -> ApiError {
        let usable: Vec<&str> = self.usable.iter().map(String::as_str).collect();
        let usable = usable.join(", ");
        let fault = |name: &String| {
            let detail = format!("{} has no field {name}; its fields are: {usable}", verb.aggregate_type);
            let name = name.replace('~', "~0").replace('/', "~1");
            FieldFault::new(format!("/{name}"), "unknown_field", detail)
        };
        let faults: Vec<FieldFault> = self.unknown(fields).map(fault).collect();
        let detail = faults.first().map_or_else(String::new, |fault| fault.detail.clone());
        ApiError::unprocessable("schema_violation", detail, faults)
    }
}

/// The entity's fields, where they include all of these.
///
/// # Errors
/// 422 with each field that the entity does not have.
pub(super) async fn known(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    fields: &Map<String, Value>,
) -> Result<EntityFields, ApiError> {
    let catalog = app.store.catalog(caller).await?;
    let known = EntityFields::of(&catalog, caller, verb);
    if known.unknown(fields).next().is_none() {
        return Ok(known);
    }
    // Another process may have registered a schema with the field.
    let catalog = app.store.fresh_catalog(caller).await?;
    let known = EntityFields::of(&catalog, caller, verb);
    if known.unknown(fields).next().is_none() {
        return Ok(known);
    }
    Err(known.refusal(verb, fields))
}
