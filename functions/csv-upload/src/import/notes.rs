//! The events that tell of an import: requested, started, completed, failed.

use annals::domain::event::Part;
use annals::domain::ids::TextFault;
use annals::domain::{AggregateId, AggregateType, Caller, EventType, NewEvent};
use annals::store::{LaneProgress, Refusal, Store, StoreError};
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
        reported_bytes: sum.reported_bytes + lane.reported_bytes,
        errors: sum.errors + lane.errors,
        appended: sum.appended + lane.appended,
    })
}

/// What the last event of an import says: its figures, and whether anything was meant.
pub(super) fn figures(sum: &LaneProgress, is_dry_run: bool) -> Map<String, Value> {
    let mut data = match json!(sum.figures()) {
        Value::Object(figures) => figures,
        _ => Map::new(),
    };
    data.insert("dry_run".to_owned(), json!(is_dry_run));
    data
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
        part: Some(Part::Import),
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
    let schema = kind.and_then(|kind| kind.current());
    match schema.map(|schema| schema.check(&event.data)) {
        Some(Ok(())) => Ok(catalog.revision()),
        _ => Err(StoreError::Refused(Refusal {
            status: 422,
            code: "schema_violation".to_owned(),
            message: format!("your schema of {} does not take what is to be said", event.event_type),
            member: None,
            figure: None,
            fields: Vec::new(),
        })),
    }
}
