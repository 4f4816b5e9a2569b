//! The events of an import's own stream: requested, started, completed, failed.

use annals_append::AppendService;
use annals_domain::event::Part;
use annals_domain::ids::TextFault;
use annals_domain::{AggregateId, AggregateType, Caller, EventType, NewEvent, RowCounts};
use annals_store::{AppendError, NewImport, Refusal, RefusalKind, Store, StoreError};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::options::Options;

/// The counts in the data of an import's last event, and whether it was a dry run.
pub(crate) fn counts(counts: &RowCounts, is_dry_run: bool) -> Map<String, Value> {
    let mut data = match json!(counts) {
        Value::Object(counts) => counts,
        _ => Map::new(),
    };
    data.insert("dry_run".to_owned(), json!(is_dry_run));
    data
}

/// An event of an import's stream.
///
/// # Errors
/// It never fails in practice: the names and ids are always valid.
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

/// The refusal of an import's event. The client did not write the event, so the answer names no fields of it. A tenant may have registered
/// the type again with a schema that refuses what Annals posts.
pub(crate) fn refusal(error: AppendError, event: &NewEvent) -> StoreError {
    let (code, faults) = match error {
        AppendError::Store(error) => return error,
        AppendError::Refused { code, faults } => (code, faults),
    };
    let event_type = &event.event_type;
    let (kind, message) = match (code, faults.into_iter().next()) {
        ("event_type_forbidden", Some(found)) => (RefusalKind::Forbidden, found.fault.detail),
        ("schema_violation", _) | (_, None) => (
            RefusalKind::Unprocessable,
            format!("the schema that you registered for {event_type} refuses the event"),
        ),
        (_, Some(found)) => (
            RefusalKind::Unprocessable,
            format!("{event_type}{} {}", found.fault.pointer, found.fault.detail),
        ),
    };
    StoreError::Refused(Refusal::new(kind, code, message))
}

/// Confirms how the file of a large upload is to be read, together with the event `import.confirmed`.
///
/// # Errors
/// The append's; `import_started`: the import has begun, or needs no confirmation.
pub async fn confirm(
    store: &Store,
    appends: &AppendService,
    (caller, context): (&Caller, &Value),
    id: Uuid,
    options: &Options,
) -> Result<(), StoreError> {
    let sent = Value::Object(options.sent.clone());
    let data = Map::from_iter([
        ("options".to_owned(), sent.clone()),
        ("dry_run".to_owned(), json!(options.dry_run)),
    ]);
    let event = event(id, "confirmed", None, data)?;
    let confirm = |checked| store.confirm_import(caller, checked, context, (id, &sent, options.dry_run));
    let confirmed = appends.append_with(caller, std::slice::from_ref(&event), confirm).await;
    confirmed.map_err(|error| refusal(error, &event))
}

/// Records the request for a large upload, together with its event `import.requested`.
///
/// # Errors
/// The append's.
pub async fn request(
    store: &Store,
    appends: &AppendService,
    caller: &Caller,
    context: &Value,
    new: &NewImport<'_>,
) -> Result<(), StoreError> {
    let data = Map::from_iter([
        ("dataset".to_owned(), json!(new.dataset)),
        ("options".to_owned(), new.options.clone()),
        ("dry_run".to_owned(), json!(new.dry_run)),
    ]);
    let event = event(new.id, "requested", Some(0), data)?;
    let request = |checked| store.request_import(caller, checked, context, new);
    let requested = appends.append_with(caller, std::slice::from_ref(&event), request).await;
    requested.map_err(|error| refusal(error, &event))
}
