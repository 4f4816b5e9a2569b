//! A stream's history: each event with the state change that it caused.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;

use crate::catalog::retry_if_outdated;
use crate::connection::statement::{As, Param};
use crate::log::events::{EventRow, Reading, WrittenEvent};
use crate::log::page_ends::PageEnd;
use crate::log::pages::{MAX_BYTES, PAGE_BYTES, is_full};
use crate::read_models::json_text::parse_object;
use crate::read_models::past::Bounds;
use crate::{EntityText, Store, StoreError, Usage};
use annals_domain::diff::{Changes, changes};
use annals_domain::{Caller, Catalog, Entity, Event, FoldError, StoredFact, TenantId};

const LIST_HISTORY: &str = "-- list_history
select * from annals.list_history(false, $1, $2, $3, stream_type => $4, stream_id => $5)";

/// Maximum bytes of the changes in a page, approximately. Changes need a limit of their own, because one change may hold a whole
/// collection twice.
pub(crate) const MAX_CHANGES: usize = PAGE_BYTES;

/// Which page of a stream to read.
#[derive(Debug, Clone, Copy)]
pub struct HistoryQuery<'a> {
    /// Aggregate type.
    pub aggregate_type: &'a str,
    /// Aggregate id.
    pub aggregate_id: &'a str,
    /// Only events after this version.
    pub after_version: i32,
    /// Maximum number of events.
    pub limit: i64,
    /// Whether the events are upcast.
    pub reading: Reading,
}

/// An event in the history of its stream.
#[derive(Debug, serde::Serialize)]
pub struct HistoryEvent {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// What it changed in the entity's state, in the form of [`changes`]; `None` if the caller does not see the whole stream.
    pub changes: Option<Box<RawValue>>,
    /// Whether the entity is deleted after the event; `None` if the caller does not see the whole stream.
    pub deleted: Option<bool>,
    /// Whether staff decided to leave the event out of the state.
    pub skipped: bool,
}

impl Store {
    /// Events of a stream that the caller may see, oldest first, written as the items of an answer. They have the members of a
    /// [`HistoryEvent`].
    pub async fn list_history(
        &self,
        caller: &Caller,
        query: HistoryQuery<'_>,
    ) -> Result<Vec<WrittenEvent>, StoreError> {
        retry_if_outdated(|| self.try_history(caller, query)).await
    }

    async fn try_history(&self, caller: &Caller, query: HistoryQuery<'_>) -> Result<Vec<WrittenEvent>, StoreError> {
        let after = i64::from(query.after_version);
        let params: [Param<'_>; 5] = [
            (&after, Type::INT8),
            (&query.limit, Type::INT8),
            (&MAX_BYTES, Type::INT8),
            (&query.aggregate_type, Type::TEXT),
            (&query.aggregate_id, Type::TEXT),
        ];
        let rows = self.read(As::Caller(caller), LIST_HISTORY, &params).await?;
        let Some(row) = rows.first() else {
            return Ok(Vec::new());
        };
        let revision: i64 = row.try_get("catalog_revision")?;
        let catalog = self.outline_at(caller, revision).await?;
        let whole: bool = row.try_get("sees_state")?;
        let mut skipped_so_far: i32 = row.try_get("skipped_before")?;
        let mut state = match (whole, query.after_version) {
            (false, _) => None,
            (true, 0) => Some(None),
            (true, version) => {
                let end = query.end_at(caller, version, revision, skipped_so_far);
                Some(self.entity_before(caller, &query, &end).await?)
            }
        };
        // The last of all rows asked for only shows that there is a next page, which begins with it.
        let shown = rows.len() - usize::from(i64::try_from(rows.len()).is_ok_and(|count| count == query.limit));
        let upcast_by = (query.reading == Reading::Current).then_some(&*catalog);
        let (mut history, mut bytes, mut usage) = (Vec::with_capacity(rows.len()), 0, Usage::default());
        for (place, row) in rows.iter().enumerate() {
            let columns = EventRow::named(row)?;
            let skipped: bool = row.try_get("skipped")?;
            let changed = match &mut state {
                Some(state) => Some(fold_in(&columns, skipped, &catalog, state)?),
                None => None,
            };
            skipped_so_far += i32::from(skipped);
            if let (true, Some(Some(entity))) = (place + 1 == shown, &state) {
                let end = query.end_at(caller, columns.aggregate_version, revision, skipped_so_far);
                self.page_ends.remember(end, EntityText::from(entity));
            }
            let mut object = columns.json_object(upcast_by, &mut usage)?;
            bytes += object
                .value("changes", &changed.as_ref().map(|(changes, _)| changes))
                .map_err(unwritable)?;
            object
                .value("deleted", &changed.map(|(_, deleted)| deleted))
                .map_err(unwritable)?;
            object.boolean("skipped", skipped);
            history.push(columns.written(object));
            if bytes > MAX_CHANGES {
                break;
            }
        }
        if let (Some(last_row), Some(last)) = (rows.get(history.len().saturating_sub(1)), history.last_mut()) {
            last.ends_read = bytes > MAX_CHANGES || is_full(last_row)?;
        }
        self.tally(caller.tenant_id(), usage).await;
        Ok(history)
    }

    /// The entity before the page's first event. If the page before was not read by this process, it is read in another transaction, so the
    /// catalog may have changed in between.
    async fn entity_before(
        &self,
        caller: &Caller,
        query: &HistoryQuery<'_>,
        end: &PageEnd,
    ) -> Result<Option<Entity>, StoreError> {
        if let Some(known) = self.page_ends.state_at(end) {
            return known.entity().map(Some);
        }
        let bounds = Bounds {
            version: Some(end.version),
            ..Bounds::default()
        };
        let past = self
            .find_entity_at(caller, query.aggregate_type, query.aggregate_id, bounds)
            .await?;
        match past {
            Some(past) if past.catalog_revision != end.revision => Err(StoreError::Outdated),
            past => Ok(past.and_then(|past| past.found).map(|stored| stored.entity)),
        }
    }
}

impl HistoryQuery<'_> {
    /// The end of a page of this history.
    fn end_at(&self, caller: &Caller, version: i32, revision: i64, skipped: i32) -> PageEnd {
        PageEnd {
            tenant_id: caller.tenant_id(),
            aggregate_type: self.aggregate_type.to_owned(),
            aggregate_id: self.aggregate_id.to_owned(),
            version,
            revision,
            skipped,
        }
    }
}

/// Folds an event of a page in. Returns what it changed, and whether the entity is deleted after it.
fn fold_in(
    event: &EventRow<'_>,
    skipped: bool,
    catalog: &Catalog,
    state: &mut Option<Entity>,
) -> Result<(Changes, bool), StoreError> {
    let data = parse_object(event.data)?;
    let fact = StoredFact {
        event_type: event.event_type,
        schema_version: event.version,
        version: event.aggregate_version,
        created_at: event.created_at,
        data: &data,
        skipped,
    };
    let entity = state.get_or_insert_with(|| Entity::before(event.created_at));
    let changes = if_in_order(entity, &fact, |entity| {
        catalog.fold_noting(event.tenant_id, entity, &fact)
    })?;
    Ok((changes, entity.deleted_at.is_some()))
}

/// Folds an event, unless this or an earlier event is too large. A stream stops before such an event until staff decides to leave it
/// out, so the events after it change nothing.
pub(crate) fn fold_or_stop(
    catalog: &Catalog,
    tenant_id: TenantId,
    entity: &mut Entity,
    fact: &StoredFact<'_>,
) -> Result<(), FoldError> {
    if_in_order(entity, fact, |entity| catalog.fold(tenant_id, entity, fact))
}

/// Has `fold` fold the event in, under the condition of [`fold_or_stop`].
fn if_in_order<T: Default>(
    entity: &mut Entity,
    fact: &StoredFact<'_>,
    fold: impl Fn(&mut Entity) -> Result<T, FoldError>,
) -> Result<T, FoldError> {
    if fact.version != entity.version.saturating_add(1) {
        return Ok(T::default());
    }
    match fold(entity) {
        Err(error) if error.is_about_size() => Ok(T::default()),
        other => other,
    }
}

/// The changes from a state to the entity after it, as JSON for the response.
pub(crate) fn changes_json(before: &Map<String, Value>, after: &Entity) -> Result<Box<RawValue>, StoreError> {
    to_raw_value(&changes(before, &after.state)).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::Unexpected(error.to_string())
}
