//! What happened to an entity: the events of all streams with its id, each with the state change that it caused, in either order.
//!
//! A change is computed from the state before the event, so the events of a page are grouped into stretches of one stream, and each
//! stretch is folded from the snapshot before it. There are limits to what a page folds and holds. A page that reaches a limit ends
//! early, with a cursor like any other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio_postgres::Row;

use crate::catalog::retry_if_outdated;
use crate::log::events::upcast;
use crate::log::history::{MAX_CHANGES, changes_json, fold_or_stop};
use crate::read_models::facts::EventText;
use crate::{Bounds, EventFilter, HistoryEvent, Order, PageRange, Reading, Store, StoreError};
use annals_domain::diff::FieldPath;
use annals_domain::{Caller, Catalog, Entity, Event};

/// Events that are folded at a time.
const PAGE: i64 = 100;
/// Maximum number of events that a page searches for changes of a field.
const SEARCHED: i64 = 1_000;
/// Events that a page folds before it stops. The stretch that is being folded at that moment is finished.
const MAX_FACTS: usize = 10_000;
/// Maximum number of versions between two events of a stretch. With more, loading a snapshot takes less time than folding the events
/// between them.
const MAX_GAP: u32 = 250;
/// Maximum number of versions of one stretch.
const MAX_STRETCH: u32 = 1_000;

/// Which page of an entity's events to read.
#[derive(Debug, Clone, Copy)]
pub struct AuditQuery<'a> {
    /// Which events; `aggregate_id` is the entity's id.
    pub filter: &'a EventFilter,
    /// Order by event number.
    pub order: Order,
    /// Continue after the event with this number.
    pub after: Option<i64>,
    /// Oldest first: the high-water mark that was taken before. Newest first: `None`.
    pub high_water_mark: Option<i64>,
    /// Maximum number of events, unless `field` is set.
    pub limit: i64,
    /// Only events that changed this field.
    pub field: Option<&'a FieldPath>,
    /// Whether the events are upcast.
    pub reading: Reading,
}

/// A page of what happened to an entity.
#[derive(Debug)]
pub struct Audited {
    /// The events with their changes.
    pub entries: Vec<HistoryEvent>,
    /// Number of the last event that was examined; `None` at the end of the list.
    pub examined_to: Option<i64>,
}

/// What one event of a page changed.
enum Change {
    /// The caller does not see the whole stream, and a fold of only some events would be wrong.
    Unseen,
    /// The event did not change the field that is asked for.
    Untouched,
    Changed {
        changes: Box<RawValue>,
        deleted: bool,
        skipped: bool,
    },
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Changed { changes, .. } => changes.get().len(),
            Self::Unseen | Self::Untouched => 0,
        }
    }
}

/// A stretch of a stream: indexes of its events in the page, by version.
#[derive(Debug)]
struct Stretch<'a> {
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    /// Version of the first event that was added.
    begun_at: i32,
    last_added: i32,
    places: BTreeMap<i32, usize>,
}

/// The progress of a page.
struct Page {
    changes: Vec<Option<Change>>,
    catalog: Option<Arc<Catalog>>,
    facts: usize,
    bytes: usize,
}

impl Store {
    /// A page of events with the state change that each caused, if the caller sees their whole streams.
    pub async fn list_audited(&self, caller: &Caller, query: AuditQuery<'_>) -> Result<Audited, StoreError> {
        retry_if_outdated(|| self.try_audited(caller, query)).await
    }

    async fn try_audited(&self, caller: &Caller, query: AuditQuery<'_>) -> Result<Audited, StoreError> {
        let most = query.field.map_or(query.limit, |_| SEARCHED);
        let range = PageRange {
            order: query.order,
            after: query.after.or(query.high_water_mark.map(|_| 0)),
            up_to: query.high_water_mark,
            limit: most,
        };
        let mut events = self.list_stored_events(caller, query.filter, range).await?;
        let mut page = Page {
            changes: events.iter().map(|_| None).collect(),
            catalog: None,
            facts: 0,
            bytes: 0,
        };
        for stretch in stretches(&events) {
            if page.facts >= MAX_FACTS || page.bytes >= MAX_CHANGES {
                break;
            }
            self.compute_changes(caller, &query, &stretch, &mut page).await?;
        }
        let known = page.changes.iter().position(Option::is_none).unwrap_or(events.len());
        // A read that ends early is full of bytes: there may be more.
        let is_read_whole = events.last().is_none_or(|last| !last.ends_read);
        let is_all = is_read_whole && known == events.len() && i64::try_from(known).is_ok_and(|known| known < most);
        events.truncate(known);
        let examined_to = events.last().filter(|_| !is_all).map(|event| event.event_number);
        let catalog = page.catalog.take();
        let mut entries: Vec<HistoryEvent> = events
            .into_iter()
            .zip(page.changes.into_iter().flatten())
            .filter_map(|(event, change)| entry_from(event, change, query.field.is_some()))
            .collect();
        if query.reading == Reading::Current && !entries.is_empty() {
            self.upcast_entries(caller, catalog, &mut entries).await?;
        }
        Ok(Audited { entries, examined_to })
    }

    async fn upcast_entries(
        &self,
        caller: &Caller,
        catalog: Option<Arc<Catalog>>,
        entries: &mut [HistoryEvent],
    ) -> Result<(), StoreError> {
        let catalog = match catalog {
            Some(catalog) => catalog,
            None => self.fresh_outline(caller).await?,
        };
        let usage = upcast(&catalog, entries.iter_mut().map(|entry| &mut entry.event));
        self.tally(caller.tenant_id(), usage).await;
        Ok(())
    }

    /// Computes what the events of a stretch changed.
    async fn compute_changes(
        &self,
        caller: &Caller,
        query: &AuditQuery<'_>,
        stretch: &Stretch<'_>,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        let before = stretch.places.first_key_value().map_or(0, |(version, _)| version - 1);
        let upto = stretch.places.last_key_value().map_or(0, |(version, _)| *version);
        let bounds = Bounds {
            version: Some(before),
            ..Bounds::default()
        };
        let past = self
            .find_entity_at(caller, stretch.aggregate_type, stretch.aggregate_id, bounds)
            .await?;
        let Some(past) = past else {
            stretch
                .places
                .values()
                .for_each(|place| page.changes[*place] = Some(Change::Unseen));
            return Ok(());
        };
        page.facts += past.events_read;
        let catalog = self.outline_at(caller, past.catalog_revision).await?;
        if page.catalog.get_or_insert_with(|| catalog.clone()).revision() != past.catalog_revision {
            return Err(StoreError::Outdated);
        }
        let mut fold = Fold {
            query,
            stretch,
            catalog,
            entity: past.found.map(|stored| stored.entity),
            reached: before,
            changes: VecDeque::new(),
            bytes: 0,
        };
        page.facts += self.fold_stretch(caller, &mut fold, upto).await?;
        page.bytes += fold.bytes;
        for (place, change) in fold.changes {
            page.changes[place] = Some(change);
        }
        Ok(())
    }

    /// Folds the stretch up to this version, or until the page is full. Returns how many events were read.
    async fn fold_stretch(&self, caller: &Caller, fold: &mut Fold<'_>, upto: i32) -> Result<usize, StoreError> {
        let mut events = 0;
        while fold.reached < upto && !fold.is_full() {
            let stream = (fold.stretch.aggregate_type, fold.stretch.aggregate_id);
            let rows = self.list_facts(caller, stream, (fold.reached, upto), PAGE).await?;
            if rows.is_empty() {
                return Err(StoreError::Unexpected("a stream with a gap".to_owned()));
            }
            events += rows.len();
            rows.iter().try_for_each(|row| fold.step(caller, row))?;
        }
        Ok(events)
    }
}

/// The progress of folding a stretch.
struct Fold<'a> {
    query: &'a AuditQuery<'a>,
    stretch: &'a Stretch<'a>,
    catalog: Arc<Catalog>,
    entity: Option<Entity>,
    reached: i32,
    changes: VecDeque<(usize, Change)>,
    bytes: usize,
}

impl Fold<'_> {
    /// Oldest first, the fold can stop: the events that follow belong to the next page.
    fn is_full(&self) -> bool {
        self.query.order == Order::Asc && self.bytes >= MAX_CHANGES
    }

    fn step(&mut self, caller: &Caller, row: &Row) -> Result<(), StoreError> {
        if row.try_get::<_, i64>("revision")? != self.catalog.revision() {
            return Err(StoreError::Outdated);
        }
        let event = EventText::from_row(row)?;
        let data = event.data()?;
        let fact = event.fact(&data);
        self.reached = fact.version;
        let entity = self.entity.get_or_insert_with(|| Entity::before(fact.created_at));
        let Some(place) = self.stretch.places.get(&fact.version) else {
            fold_or_stop(&self.catalog, caller.tenant_id(), entity, &fact)?;
            return Ok(());
        };
        let before = entity.state.clone();
        fold_or_stop(&self.catalog, caller.tenant_id(), entity, &fact)?;
        let change = match self.query.field {
            Some(field) if !field.differs(&before, &entity.state) => Change::Untouched,
            _ => Change::Changed {
                changes: changes_json(&before, entity)?,
                deleted: entity.deleted_at.is_some(),
                skipped: fact.skipped,
            },
        };
        if !self.is_full() {
            self.add(*place, change);
        }
        Ok(())
    }

    /// Adds a change. Newest first, the oldest changes are dropped when there are too many bytes: they belong to the next page.
    fn add(&mut self, place: usize, change: Change) {
        self.bytes += change.bytes();
        self.changes.push_back((place, change));
        while self.query.order == Order::Desc && self.bytes > MAX_CHANGES && self.changes.len() > 1 {
            if let Some((_, oldest)) = self.changes.pop_front() {
                self.bytes -= oldest.bytes();
            }
        }
    }
}

/// Groups the events of a page into stretches, in the order of the page.
fn stretches(events: &[Event]) -> Vec<Stretch<'_>> {
    let mut stretches: Vec<Stretch<'_>> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let version = event.aggregate_version;
        let stretch = stretches
            .iter_mut()
            .rfind(|stretch| {
                stretch.aggregate_type == event.aggregate_type && stretch.aggregate_id == event.aggregate_id
            })
            .filter(|stretch| stretch.takes(version));
        match stretch {
            Some(stretch) => {
                stretch.places.insert(version, place);
                stretch.last_added = version;
            }
            None => stretches.push(Stretch {
                aggregate_type: &event.aggregate_type,
                aggregate_id: &event.aggregate_id,
                begun_at: version,
                last_added: version,
                places: BTreeMap::from([(version, place)]),
            }),
        }
    }
    stretches
}

impl Stretch<'_> {
    fn takes(&self, version: i32) -> bool {
        self.last_added.abs_diff(version) <= MAX_GAP && self.begun_at.abs_diff(version) < MAX_STRETCH
    }
}

/// The event as it is returned; `None` if it did not change the field that is asked for.
fn entry_from(event: Event, change: Change, is_search: bool) -> Option<HistoryEvent> {
    let (changes, deleted, skipped) = match change {
        Change::Untouched => return None,
        Change::Unseen if is_search => return None,
        Change::Unseen => (None, None, false),
        Change::Changed {
            changes,
            deleted,
            skipped,
        } => (Some(changes), Some(deleted), skipped),
    };
    Some(HistoryEvent {
        event,
        changes,
        deleted,
        skipped,
    })
}
