//! Lists of events: their filters, and their pages in both orders.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::App;
use annals_domain::Caller;
use annals_http::{ApiError, Cursor, Limit, Page, Params};
use annals_store::{EventFilter, FieldFilter, Order, PageRange, Reading, WrittenEvent};

use crate::indexed_types::types_with_field;
use crate::request::after_number;

/// How long an ascending list waits for running appends. An append usually takes less. When the time is over, the page ends at an older
/// high-water mark.
pub(crate) const MARK_TIMEOUT: Duration = Duration::from_secs(1);

/// Filters of a request. Types and patterns are kept as the request named them.
pub(crate) struct EventQuery {
    types: Vec<String>,
    pub(crate) filter: EventFilter,
}

impl EventQuery {
    /// Takes the filters of `/events` and `/events/feed`, except `processed`.
    pub(crate) fn read(params: &mut Params) -> Result<Self, ApiError> {
        let mut query = Self {
            types: params.event_types("event_type")?,
            filter: EventFilter {
                aggregate_type: params.aggregate_type("aggregate_type")?,
                aggregate_id: params.one("aggregate_id")?,
                ..EventFilter::default()
            },
        };
        query.read_actor(params)?;
        query.read_common(params)?;
        query.filter.field = params.field()?.map(|(name, text)| FieldFilter::new(name, &text));
        Ok(query)
    }

    /// Takes the filters of the lists under `/audit`: they have `entity_type` instead of an aggregate.
    pub(crate) fn read_audit(params: &mut Params) -> Result<Self, ApiError> {
        let mut query = Self {
            types: params.event_types("event_type")?,
            filter: EventFilter {
                aggregate_type: params.aggregate_type("entity_type")?,
                ..EventFilter::default()
            },
        };
        query.read_common(params)?;
        query.filter.processed = params.boolean("processed")?;
        Ok(query)
    }

    /// Events that are not projected yet.
    pub(crate) fn unprocessed() -> Self {
        Self {
            types: Vec::new(),
            filter: EventFilter {
                processed: Some(false),
                ..EventFilter::default()
            },
        }
    }

    /// Takes the filters by actor.
    pub(crate) fn read_actor(&mut self, params: &mut Params) -> Result<(), ApiError> {
        self.filter.user_id = params.uuid("user_id")?;
        self.filter.created_by = params.actor("created_by")?;
        Ok(())
    }

    fn read_common(&mut self, params: &mut Params) -> Result<(), ApiError> {
        self.filter.correlation_id = params.one("correlation_id")?;
        self.filter.causation_id = params.uuid("causation_id")?;
        self.filter.command_id = params.one("command_id")?;
        self.filter.source = params.one("source")?;
        self.filter.from = params.timestamp("from")?;
        self.filter.to = params.timestamp("to")?;
        Ok(())
    }

    /// What a cursor of this query belongs to. It has the patterns as the request named them, because more types may match a pattern by the
    /// time the next page is read.
    pub(crate) fn scope(&self) -> EventFilter {
        EventFilter {
            event_types: Some(self.types.clone()),
            ..self.filter.clone()
        }
    }

    /// Cursors of the list of this name with this query.
    pub(crate) fn cursor(&self, list: &str, order: Order, caller: &Caller) -> Cursor {
        Cursor::of(list, &(self.scope(), order, caller.tenant_id()))
    }

    /// Adds `cursor` to a page of an ascending list: where to continue later. With `processed=true` it is null, because an event behind the
    /// cursor may become processed later, and a reader that continues from the cursor would miss it.
    pub(crate) fn with_cursor(&self, page: Page, at_the_end: &str) -> Result<Page, ApiError> {
        match self.filter.processed {
            Some(true) => page.with("cursor", &None::<&str>),
            _ => page.with_end_cursor(at_the_end),
        }
    }

    /// The filter with each pattern (`order.*`) replaced by the types that match it now. With a field of the data, the types are those of them
    /// that declare the field.
    pub(crate) async fn resolve(&self, app: &App, caller: &Caller) -> Result<EventFilter, ApiError> {
        let event_types = match &self.filter.field {
            None => resolve_types(app, caller, &self.types).await?,
            Some(field) => {
                let catalog = app.store.current_outline(caller).await?;
                let aggregate_type = self.filter.aggregate_type.as_deref();
                Some(types_with_field(
                    &catalog,
                    caller,
                    &self.types,
                    aggregate_type,
                    &field.name,
                )?)
            }
        };
        Ok(EventFilter {
            event_types,
            ..self.filter.clone()
        })
    }
}

/// A request for a page of events, sorted by number.
pub(crate) struct EventList {
    pub(crate) query: EventQuery,
    pub(crate) order: Order,
    pub(crate) cursor: Cursor,
    /// Number of the last event that the caller has.
    pub(crate) after: Option<i64>,
    pub(crate) limit: Limit,
    pub(crate) reading: Reading,
}

/// A page of an ascending list.
pub(crate) struct AscendingPage {
    pub(crate) page: Page,
    /// If the page is empty, the reader has seen everything up to this number.
    pub(crate) mark: i64,
}

impl EventList {
    /// Takes `cursor`, `limit` and `upcast`. Any other parameter that is left is refused.
    pub(crate) fn read(query: EventQuery, order: Order, cursor: Cursor, mut params: Params) -> Result<Self, ApiError> {
        let after = after_number(&mut params, &cursor)?;
        let (limit, reading) = (params.limit()?, params.reading()?);
        params.end()?;
        Ok(Self {
            query,
            order,
            cursor,
            after,
            limit,
            reading,
        })
    }

    /// The page: newest first, or oldest first up to the high-water mark.
    pub(crate) async fn page(&self, app: &App, caller: &Caller) -> Result<Page, ApiError> {
        if self.order == Order::Asc {
            return Ok(self.ascending_page(app, caller, self.after.unwrap_or(0)).await?.page);
        }
        let filter = self.query.resolve(app, caller).await?;
        let range = PageRange {
            order: self.order,
            after: self.after,
            up_to: None,
            limit: self.limit.plus_one(),
        };
        let found = app.store.list_events(caller, &filter, range, self.reading).await?;
        self.by_number(&found)
    }

    /// The ascending page after this number, up to the high-water mark.
    ///
    /// The order of the three reads matters: first the high-water mark, then the types that patterns match, then the events. If a type is
    /// registered after the high-water mark was read, its events have higher numbers. If it was registered before, this page knows it.
    pub(crate) async fn ascending_page(
        &self,
        app: &App,
        caller: &Caller,
        after: i64,
    ) -> Result<AscendingPage, ApiError> {
        let mark = app.store.high_water_mark_or_older(MARK_TIMEOUT).await?.max(after);
        let mut found = Vec::new();
        if mark > after {
            let filter = self.query.resolve(app, caller).await?;
            let range = PageRange {
                order: Order::Asc,
                after: Some(after),
                up_to: Some(mark),
                limit: self.limit.plus_one(),
            };
            found = app.store.list_events(caller, &filter, range, self.reading).await?;
        } else if self.query.filter.field.is_some() {
            // A field by which no event can be found is refused, also if there is no new event.
            self.query.resolve(app, caller).await?;
        }
        let at_the_end = self.cursor.encode(&mark.to_string());
        let page = self.query.with_cursor(self.by_number(&found)?, &at_the_end)?;
        Ok(AscendingPage { page, mark })
    }

    fn by_number(&self, found: &[WrittenEvent]) -> Result<Page, ApiError> {
        Page::cut(found, self.limit, |event| {
            self.cursor.encode(&event.event_number.to_string())
        })
    }
}

/// The types to search for: those that the request named, and those that its patterns (`order.*`) match. A name or pattern that matches no
/// type finds no events, which is not an error.
async fn resolve_types(app: &App, caller: &Caller, names: &[String]) -> Result<Option<Vec<String>>, ApiError> {
    if names.is_empty() {
        return Ok(None);
    }
    if !names.iter().any(|name| name.ends_with(".*")) {
        // Each once, because the statement reads the events of each name.
        let distinct: BTreeSet<&String> = names.iter().collect();
        return Ok(Some(distinct.into_iter().cloned().collect()));
    }
    // Another process may have registered a type a moment ago.
    let catalog = app.store.current_outline(caller).await?;
    Ok(Some(catalog.resolve(Some(caller.tenant_id()), names).types))
}
