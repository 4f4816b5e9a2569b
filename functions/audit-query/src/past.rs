//! Time travel: an entity's state as recorded at a time (`at`) or version, its state in business time (`valid_at`), and the difference
//! between two states.

use std::collections::BTreeMap;

use crate::App;
use annals_domain::Caller;
use annals_domain::diff::{Change, changes};
use annals_http::{ApiError, Authenticated, EntityAnswer, Params, Path};
use annals_store::{Bounds, CATALOG_TRIES, PastEntity, StoreError, StoredEntity};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Map;

use crate::not_found::not_found;

/// The answer of `/diff`.
#[derive(Debug, Serialize)]
struct Diff {
    aggregate_type: String,
    aggregate_id: String,
    from: Side,
    to: Side,
    changes: BTreeMap<String, Change>,
}

/// One of the two compared states.
#[derive(Debug, Serialize)]
struct Side {
    /// 0 if the entity did not exist yet.
    version: i32,
    deleted: bool,
}

/// Takes `at`, `version` and `valid_at`. `None` if the request has none of the three, which means the present.
pub(crate) fn bounds(params: &mut Params) -> Result<Option<Bounds>, ApiError> {
    let bounds = Bounds {
        version: version(params, "version")?,
        at: params.timestamp("at")?,
        valid_at: params.timestamp("valid_at")?,
    };
    if bounds.version.is_some() && bounds.at.is_some() {
        return Err(ApiError::bad_request(
            "contradictory_parameters",
            "give either at or version, not both",
        ));
    }
    Ok((bounds != Bounds::default()).then_some(bounds))
}

fn version(params: &mut Params, name: &str) -> Result<Option<i32>, ApiError> {
    params.read(name, "must be a whole number from 0", |value| {
        value.parse().ok().filter(|version| *version >= 0)
    })
}

/// The entity's past state. It has no `ETag`, because a past state cannot be the condition of a write.
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
    Ok(Json(EntityAnswer::from(found)).into_response())
}

/// Reads the past state; `found` is `None` if the entity began later. 404 if there is no such entity, 422 if a bound is in the future.
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
        return Err(not_found(app, caller, aggregate_type, aggregate_id).await);
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

/// Reads both states by the same revision of the catalog. Otherwise a change of the catalog would look like a change of the entity.
async fn load_both(
    app: &App,
    caller: &Caller,
    aggregate_type: &str,
    aggregate_id: &str,
    [from, to]: [Bounds; 2],
) -> Result<[Option<StoredEntity>; 2], ApiError> {
    for _ in 0..CATALOG_TRIES {
        let before = load(app, caller, aggregate_type, aggregate_id, from).await?;
        let after = load(app, caller, aggregate_type, aggregate_id, to).await?;
        if before.catalog_revision == after.catalog_revision {
            return Ok([before.found, after.found]);
        }
    }
    Err(StoreError::Outdated.into())
}

/// `GET /entities/{type}/{id}/diff`: the fields that differ between two versions (`?from=&to=`) or two recorded times (`?from_at=&to_at=`).
/// Without `to` and `to_at` the present state is compared.
pub async fn diff(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let from = side(&mut params, "from", "from_at")?.ok_or_else(|| {
        ApiError::bad_request("missing_parameter", "from (a version) or from_at (a time) is required")
    })?;
    let to = side(&mut params, "to", "to_at")?.unwrap_or_default();
    params.end()?;
    let [before, after] = load_both(&app, &caller, &aggregate_type, &aggregate_id, [from, to]).await?;
    let state = |stored: &Option<StoredEntity>| stored.as_ref().map_or_else(Map::new, |s| s.entity.state.clone());
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
            format!("give either {by_version} or {by_time}, not both"),
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
