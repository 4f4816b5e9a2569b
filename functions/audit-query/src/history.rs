//! `GET /events/aggregate/{type}/{id}/history`: a stream from its beginning, each event with the state change that it caused.

use annals::App;
use annals::http::{ApiError, Authenticated, Cursor, Page, Params, Path};
use annals::store::{HistoryEvent, HistoryQuery};
use axum::extract::State;

use crate::entities::missing;

/// Oldest first; 404 for a stream that the caller sees nothing of.
pub async fn history(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let cursor = Cursor::of("history", &(&aggregate_type, &aggregate_id, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let after_version = i32::try_from(after.unwrap_or(0)).map_err(|_| Cursor::invalid())?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let query = HistoryQuery {
        aggregate_type: &aggregate_type,
        aggregate_id: &aggregate_id,
        after_version,
        limit: limit.plus_one(),
        reading,
    };
    let found = app.store.list_history(&caller, query).await?;
    if found.is_empty() && after.is_none() {
        return Err(missing(&app, &caller, &aggregate_type, &aggregate_id).await);
    }
    // A stream's versions have no gaps and become visible in their order, so its end needs no mark.
    let last = found
        .last()
        .map_or(after_version, |entry| entry.event.aggregate_version);
    let at_the_end = cursor.encode(&last.to_string());
    let version = |entry: &HistoryEvent| cursor.encode(&entry.event.aggregate_version.to_string());
    Page::cut(&found, limit, version)?.going_on(&at_the_end)
}
