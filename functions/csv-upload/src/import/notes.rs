//! The events that tell of an import: requested, started, completed, failed.

use annals::domain::ids::TextFault;
use annals::domain::{AggregateId, AggregateType, Caller, EventType, NewEvent};
use annals::store::{LaneProgress, Store, StoreError};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Figures of all lanes.
pub(super) fn sum(lanes: &[LaneProgress]) -> LaneProgress {
    lanes.iter().fold(LaneProgress::default(), |sum, lane| LaneProgress {
        lane: 0,
        settled_row: sum.settled_row.max(lane.settled_row),
        accepted: sum.accepted + lane.accepted,
        rejected: sum.rejected + lane.rejected,
        duplicate: sum.duplicate + lane.duplicate,
        updated: sum.updated + lane.updated,
        rounded: sum.rounded + lane.rounded,
        reported: sum.reported + lane.reported,
        appended: sum.appended + lane.appended,
    })
}

/// Figures as events have them.
pub(super) fn figures(sum: &LaneProgress) -> Map<String, Value> {
    let total = sum.accepted + sum.rejected + sum.duplicate + sum.updated;
    [
        ("rows_total", total),
        ("rows_accepted", sum.accepted),
        ("rows_rejected", sum.rejected),
        ("rows_duplicate", sum.duplicate),
        ("rows_updated", sum.updated),
        ("rows_rounded", sum.rounded),
        ("events_appended", sum.appended),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), json!(count)))
    .collect()
}

/// An event of an import's stream, at its place there: an import is requested once and ends once.
pub(crate) fn event(
    id: Uuid,
    action: &str,
    version: Option<i32>,
    data: Map<String, Value>,
) -> Result<NewEvent, StoreError> {
    let unexpected = |fault: TextFault| StoreError::Unexpected(fault.to_string());
    let event_type = EventType::try_from(format!("import.{action}")).map_err(unexpected)?;
    let aggregate_type = AggregateType::try_from("import".to_owned()).map_err(unexpected)?;
    let aggregate_id = AggregateId::try_from(id.to_string()).map_err(unexpected)?;
    Ok(NewEvent {
        source: Some("csv".to_owned().try_into().map_err(unexpected)?),
        correlation_id: Some(id.to_string().try_into().map_err(unexpected)?),
        expected_version: version,
        ..NewEvent::plain(event_type, aggregate_type, aggregate_id, data)
    })
}

/// Revision of the catalog whose schemas take this event.
///
/// # Errors
/// A tenant that has registered the type anew, so that its schema refuses what Annals has to say.
pub(crate) async fn judged(store: &Store, caller: &Caller, event: &NewEvent) -> Result<i64, StoreError> {
    let catalog = store.fresh_catalog(caller).await?;
    let kind = catalog.find(caller.tenant_id(), event.event_type.as_str());
    let schema = kind.and_then(|kind| kind.versions.get(kind.current_version.as_str()));
    match schema.map(|schema| schema.check(&event.data)) {
        Some(Ok(())) => Ok(catalog.revision()),
        _ => Err(StoreError::Unexpected(format!(
            "the catalog does not take {}",
            event.event_type
        ))),
    }
}
