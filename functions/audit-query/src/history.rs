//! `GET /events/aggregate/{type}/{id}/history`: a stream from its beginning. Each event has the change of state that it caused.

use crate::App;
use annals_http::{ApiError, Authenticated, Cursor, Page, Params, Path};
use annals_store::{HistoryQuery, WrittenEvent};
use axum::extract::State;

use crate::not_found::not_found;
use crate::request::after_number;

/// Oldest first. 404 if the stream does not exist or the caller may see none of its events.
pub async fn history(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let cursor = Cursor::of("history", &(&aggregate_type, &aggregate_id, caller.tenant_id()));
    let after = after_number(&mut params, &cursor)?;
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
        return Err(not_found(&app, &caller, &aggregate_type, &aggregate_id).await);
    }
    // The versions of one stream have no gaps and become visible in their order, so this list needs no high-water mark.
    let last = found.last().map_or(after_version, |event| event.aggregate_version);
    let at_the_end = cursor.encode(&last.to_string());
    let version = |event: &WrittenEvent| cursor.encode(&event.aggregate_version.to_string());
    Page::cut(&found, limit, version)?.with_end_cursor(&at_the_end)
}
