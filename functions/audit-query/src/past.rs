//! What an entity looked like: as recorded at some time or version, as it was true at some time, and what lies between two of
//! those.

use std::collections::BTreeMap;

use annals::App;
use annals::domain::Caller;
use annals::domain::diff::{Change, changes};
use annals::http::{ApiError, Authenticated, EntityAnswer, Params, Path};
use annals::store::{Bounds, PastEntity, StoreError, StoredEntity};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Map;

use crate::entities;

/// Two states of an entity, and how they differ.
#[derive(Debug, Serialize)]
struct Diff {
    aggregate_type: String,
    aggregate_id: String,
    from: Side,
    to: Side,
    changes: BTreeMap<String, Change>,
}

/// One of two states.
#[derive(Debug, Serialize)]
struct Side {
    /// 0: before the first event.
    version: i32,
    deleted: bool,
}

/// Takes `at`, `version` and `valid_at`; none where the present is asked for.
pub(crate) fn bounds(params: &mut Params) -> Result<Option<Bounds>, ApiError> {
    let bounds = Bounds {
        version: version(params, "version")?,
        at: params.timestamp("at")?,
        valid_at: params.timestamp("valid_at")?,
    };
    if bounds.version.is_some() && bounds.at.is_some() {
        return Err(ApiError::bad_request(
            "contradictory_parameters",
            "at and version both say where the stream is read up to: give only one of them",
        ));
    }
    Ok((bounds != Bounds::default()).then_some(bounds))
}

fn version(params: &mut Params, name: &str) -> Result<Option<i32>, ApiError> {
    params.read(name, "must be a whole number from 0", |value| {
        value.parse().ok().filter(|version| *version >= 0)
    })
}

/// The entity within the bounds.
pub(crate) async fn find(
    app: &App,
    caller: &Caller,
    aggregate_type: &str,
    aggregate_id: &str,
    bounds: Bounds,
) -> Result<Response, ApiError> {
    let past = load(app, caller, aggregate_type, aggregate_id, bounds).await?;
    let found = past.found.ok_or_else(|| {
        ApiError::not_found(format!(
            "the {aggregate_type} with the id {aggregate_id} did not exist yet at that time or version"
        ))
    })?;
    // Without a tag: what has passed cannot be the condition of a write.
    Ok(Json(EntityAnswer::from(found)).into_response())
}

/// The entity within the bounds, which may be none: it began later.
async fn load(
    app: &App,
    caller: &Caller,
    aggregate_type: &str,
    aggregate_id: &str,
    bounds: Bounds,
) -> Result<PastEntity, ApiError> {
    let past = app
        .store
        .find_entity_at(caller, aggregate_type, aggregate_id, bounds)
        .await?;
    let Some(past) = past else {
        return Err(entities::missing(app, caller, aggregate_type, aggregate_id).await);
    };
    if past.in_future {
        return Err(ApiError::unprocessable(
            "time_in_future",
            "the time is in the future; ask for a time up to now",
            Vec::new(),
        ));
    }
    if bounds.version.is_some_and(|version| version > past.head_version) {
        return Err(ApiError::unprocessable(
            "version_in_future",
            format!("there is no such version yet: the newest is {}", past.head_version),
            Vec::new(),
        ));
    }
    Ok(past)
}

/// How often two states are loaded again because the catalog changed between them: what it changes is no change of the entity.
const TRIES: usize = 5;

async fn both(
    app: &App,
    caller: &Caller,
    aggregate_type: &str,
    aggregate_id: &str,
    [from, to]: [Bounds; 2],
) -> Result<[Option<StoredEntity>; 2], ApiError> {
    for _ in 0..TRIES {
        let before = load(app, caller, aggregate_type, aggregate_id, from).await?;
        let after = load(app, caller, aggregate_type, aggregate_id, to).await?;
        if before.catalog_revision == after.catalog_revision {
            return Ok([before.found, after.found]);
        }
    }
    Err(StoreError::Unavailable("the catalog changes all the time".into()).into())
}

/// `GET /entities/{type}/{id}/diff?from=&to=`, by versions, or `?from_at=&to_at=`, by recorded times; without an end, up to now.
pub async fn diff(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let from = side(&mut params, "from", "from_at")?.ok_or_else(|| {
        ApiError::bad_request(
            "missing_parameter",
            "say where the comparison begins: from (a version) or from_at (a time)",
        )
    })?;
    let to = side(&mut params, "to", "to_at")?.unwrap_or_default();
    params.end()?;
    let [before, after] = both(&app, &caller, &aggregate_type, &aggregate_id, [from, to]).await?;
    let state = |side: &Option<StoredEntity>| side.as_ref().map_or_else(Map::new, |s| s.entity.state.clone());
    let diff = Diff {
        changes: changes(&state(&before), &state(&after)),
        from: Side::of(before.as_ref()),
        to: Side::of(after.as_ref()),
        aggregate_type,
        aggregate_id,
    };
    Ok(Json(diff).into_response())
}

fn side(params: &mut Params, by_version: &str, by_time: &str) -> Result<Option<Bounds>, ApiError> {
    match (version(params, by_version)?, params.timestamp(by_time)?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::bad_request(
            "contradictory_parameters",
            format!("{by_version} and {by_time} say the same in two ways: give only one of them"),
        )),
        (version, at) => Ok(Some(Bounds {
            version,
            at,
            valid_at: None,
        })),
    }
}

impl Side {
    fn of(stored: Option<&StoredEntity>) -> Self {
        Self {
            version: stored.map_or(0, |s| s.entity.version),
            deleted: stored.is_some_and(|s| s.entity.deleted_at.is_some()),
        }
    }
}
