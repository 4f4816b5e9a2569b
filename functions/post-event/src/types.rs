//! `POST /events/types`: staff registers an event type, or a new version of one, for its tenant.

mod evolution;
mod faults;
mod indexed;
mod limits;
mod schema;

use self::faults::{fault, parsed};
use crate::App;
use annals_domain::event::FieldFault;
use annals_domain::json;
use annals_domain::weight::text_bytes;
use annals_domain::{AggregateType, Effect, EventKind, EventType, Inverse, Requires, Role, SchemaVersion, semver};
use annals_http::{ApiError, Authenticated, JsonBody, Params};
use annals_store::{NewVersion, Registration};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

/// The body of a registration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    event_type: String,
    aggregate_type: Option<String>,
    #[serde(default = "first_version")]
    version: String,
    description: Option<String>,
    schema: Value,
    example: Value,
    effect: Option<Value>,
    posters: Option<Vec<String>>,
    /// Null removes the requirement; if it is left out, it stays.
    #[serde(default, deserialize_with = "json::given")]
    requires: Option<Value>,
    starter_sees: Option<bool>,
    indexed: Option<Vec<String>>,
    inverse: Option<Value>,
    #[serde(default)]
    upcasters: Vec<evolution::UpcasterBody>,
}

fn first_version() -> String {
    annals_domain::ids::FIRST_VERSION.as_str().to_owned()
}

/// Registers a type or a version. 201 with the type, as `GET /events/types/{event_type}` answers it.
pub async fn register(
    State(app): State<App>,
    who: Authenticated,
    params: Params,
    body: JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let caller = who.staff()?;
    let body: Body = body.read()?;
    let known = app.store.fresh_catalog(&caller).await?;
    limits::refuse_full_catalog(&known)?;
    let known = known.find(caller.tenant_id(), &body.event_type).cloned();
    let registration = read(body, known.as_deref())?;
    // The database refuses a version that is not later.
    if let Some(known) = &known
        && semver::is_later(registration.version.version.as_str(), known.current_version.as_str())
    {
        evolution::check(known, &registration.version)?;
    }
    app.store.register_event_type(&caller, &registration).await?;
    if !registration.version.upcasters.is_empty() {
        app.queue.request_rebuilds().await;
    }
    let catalog = app.store.catalog(&caller).await?;
    let kind = catalog
        .find(caller.tenant_id(), registration.event_type.as_str())
        .ok_or_else(|| ApiError::Internal("a registered type is missing".into()))?;
    Ok((StatusCode::CREATED, Json(kind.to_json())).into_response())
}

/// The registration that a body asks for. Fields that it leaves out are those of the version before. By default, staff and services may post
/// a new type, and it has no effect on the state.
fn read(body: Body, known: Option<&EventKind>) -> Result<Registration, ApiError> {
    let mut faults = Vec::new();
    let event_type = parsed(EventType::try_from(body.event_type), "event_type", &mut faults);
    // The aggregate type follows from the event type. If the event type is invalid, only that is reported.
    let aggregate_name = body
        .aggregate_type
        .or_else(|| event_type.as_ref().map(|t| t.aggregate_part().to_owned()));
    let aggregate_type =
        aggregate_name.and_then(|name| parsed(AggregateType::try_from(name), "aggregate_type", &mut faults));
    let version = parsed(SchemaVersion::try_from(body.version), "version", &mut faults);
    let effect = match body.effect {
        None => Some(known.map_or(Effect::None, |k| k.effect.clone())),
        Some(json) => read_effect(&json, &mut faults),
    };
    let inverse = match body.inverse {
        None => known.and_then(|k| k.inverse.clone()),
        Some(json) => read_inverse(&json, &mut faults),
    };
    let posters = match body.posters {
        None => known.map_or_else(|| vec![Role::Staff, Role::Service], |k| k.posters.clone()),
        Some(names) => read_posters(&names, &mut faults),
    };
    let requires = match body.requires {
        None => known.and_then(|k| k.requires),
        Some(given) => read_requires(&given, &mut faults),
    };
    let starter_sees = body
        .starter_sees
        .unwrap_or_else(|| known.is_some_and(|k| k.starter_sees));
    schema::check(&body.schema, &body.example, &mut faults);
    if let Some(fields) = &body.indexed {
        indexed::check(fields, &body.schema, known, &mut faults);
    }
    refuse_other_aggregates(event_type.as_ref(), aggregate_type.as_ref(), &mut faults);
    let upcasters = evolution::read(body.upcasters, version.as_ref(), &mut faults);
    let description = body.description.or_else(|| known.map(|k| k.description.clone()));
    match (event_type, aggregate_type, version, effect, faults.is_empty()) {
        (Some(event_type), Some(aggregate_type), Some(version), Some(effect), true) => Ok(Registration {
            description: description.unwrap_or_else(|| event_type.to_string()),
            event_type,
            aggregate_type,
            effect,
            posters,
            requires,
            starter_sees,
            indexed: body.indexed,
            inverse,
            version: NewVersion {
                version,
                schema: body.schema,
                example: body.example,
                upcasters,
            },
            based_on: known.map(|k| k.current_version.clone()),
        }),
        _ => Err(ApiError::unprocessable(
            "invalid_event_type",
            "the event type cannot be registered",
            faults,
        )),
    }
}

fn refuse_other_aggregates(
    event_type: Option<&EventType>,
    aggregate_type: Option<&AggregateType>,
    faults: &mut Vec<FieldFault>,
) {
    if let (Some(event_type), Some(aggregate_type)) = (event_type, aggregate_type)
        && event_type.aggregate_part() != aggregate_type.as_str()
    {
        fault(faults, "event_type", "must begin with the aggregate_type and a dot");
    }
}

fn read_effect(json: &Value, faults: &mut Vec<FieldFault>) -> Option<Effect> {
    if text_bytes(json) > schema::MAX_SCHEMA_BYTES {
        let detail = format!("must be at most {} bytes of JSON", schema::MAX_SCHEMA_BYTES);
        fault(faults, "effect", detail);
        return None;
    }
    let effect = Effect::from_json(&json.to_string()).map_err(|e| format!("is not a valid effect: {e}"));
    parsed(effect, "effect", faults)
}

fn read_inverse(json: &Value, faults: &mut Vec<FieldFault>) -> Option<Inverse> {
    let inverse = Inverse::from_json(&json.to_string()).map_err(|e| format!("is not a valid inverse: {e}"));
    parsed(inverse, "inverse", faults)
}

fn read_requires(given: &Value, faults: &mut Vec<FieldFault>) -> Option<Requires> {
    let requires = given.as_str().and_then(Requires::from_name);
    if requires.is_none() && !given.is_null() {
        fault(faults, "requires", "must be new, existing or null");
    }
    requires
}

fn read_posters(names: &[String], faults: &mut Vec<FieldFault>) -> Vec<Role> {
    let posters: Vec<Role> = names.iter().filter_map(|name| Role::from_name(name)).collect();
    if posters.is_empty() || posters.len() != names.len() {
        let detail = "must list one or more of user, agent, staff and service";
        fault(faults, "posters", detail);
    }
    posters
}
