//! `GET /events…`: the log, filtered; what comes next; and what is not projected yet.

use std::time::{Duration, Instant};

use annals::App;
use annals::domain::{Caller, Event};
use annals::http::{ApiError, Authenticated, Cursor, Limit, Page, Params, Path};
use annals::store::{EventFilter, Order, Reading};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

/// How long an ascending list waits for appends that are under way. Longer than one takes; after that the list ends earlier, at
/// a number that is settled for certain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// What a caller asks for: filters, with types and patterns as they were given.
pub(crate) struct Asked {
    types: Vec<String>,
    pub(crate) filter: EventFilter,
}

impl Asked {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        let mut asked = Self {
            types: params.event_types("event_type")?,
            filter: EventFilter {
                aggregate_type: params.aggregate_type("aggregate_type")?,
                aggregate_id: params.one("aggregate_id")?,
                ..EventFilter::default()
            },
        };
        asked.read_actor(params)?;
        asked.read_rest(params)?;
        Ok(asked)
    }

    /// What the lists of `/audit/…` are asked for: `entity_type` in place of an aggregate.
    pub(crate) fn of_audit(params: &mut Params) -> Result<Self, ApiError> {
        let mut asked = Self {
            types: params.event_types("event_type")?,
            filter: EventFilter {
                aggregate_type: params.aggregate_type("entity_type")?,
                ..EventFilter::default()
            },
        };
        asked.read_rest(params)?;
        asked.filter.processed = params.boolean("processed")?;
        Ok(asked)
    }

    /// Who acted.
    pub(crate) fn read_actor(&mut self, params: &mut Params) -> Result<(), ApiError> {
        self.filter.user_id = params.uuid("user_id")?;
        self.filter.created_by = params.actor("created_by")?;
        Ok(())
    }

    fn read_rest(&mut self, params: &mut Params) -> Result<(), ApiError> {
        self.filter.correlation_id = params.one("correlation_id")?;
        self.filter.causation_id = params.uuid("causation_id")?;
        self.filter.command_id = params.one("command_id")?;
        self.filter.source = params.one("source")?;
        self.filter.from = params.timestamp("from")?;
        self.filter.to = params.timestamp("to")?;
        Ok(())
    }

    /// What a cursor belongs to: the patterns as they were asked for, since what they stand for may grow between two pages.
    pub(crate) fn scope(&self) -> EventFilter {
        EventFilter {
            event_types: Some(self.types.clone()),
            ..self.filter.clone()
        }
    }

    fn cursor(&self, order: Order, caller: &Caller) -> Cursor {
        Cursor::of("events", &(self.scope(), order, caller.tenant_id()))
    }

    /// A page of an ascending list with its `cursor`. With `processed=true` that is null: an event behind the cursor may become processed
    /// later, and a reader that goes on from the cursor would miss it.
    pub(crate) fn with_cursor(&self, page: Page, at_the_end: &str) -> Result<Page, ApiError> {
        match self.filter.processed {
            Some(true) => page.with("cursor", &None::<&str>),
            _ => page.going_on(at_the_end),
        }
    }

    pub(crate) async fn resolved(&self, app: &App, caller: &Caller) -> Result<EventFilter, ApiError> {
        Ok(EventFilter {
            event_types: resolve_types(app, caller, &self.types).await?,
            ..self.filter.clone()
        })
    }
}

/// `GET /events`.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let mut asked = Asked::read(&mut params)?;
    asked.filter.processed = params.boolean("processed")?;
    let order = order(&mut params)?;
    let cursor = asked.cursor(order, &caller);
    page(&app, &caller, asked, order, cursor, params).await
}

/// `order`: newest first unless the request says otherwise.
pub(crate) fn order(params: &mut Params) -> Result<Order, ApiError> {
    let order = params.read("order", "must be asc or desc", |value| match value {
        "asc" => Some(Order::Asc),
        "desc" => Some(Order::Desc),
        _ => None,
    })?;
    Ok(order.unwrap_or(Order::Desc))
}

/// A page of the events that match, by number: newest first, or oldest first up to where the log is settled.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    asked: Asked,
    order: Order,
    cursor: Cursor,
    mut params: Params,
) -> Result<Page, ApiError> {
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    if order == Order::Asc {
        let tail = Tail {
            asked,
            cursor,
            limit,
            reading,
        };
        return Ok(tail.read(app, caller, after.unwrap_or(0)).await?.page);
    }
    let filter = asked.resolved(app, caller).await?;
    let found = app
        .store
        .list_events(caller, &filter, order, after, limit.plus_one(), reading)
        .await?;
    by_number(&found, limit, &cursor)
}

/// A list that a reader goes on reading: oldest first, up to where the log is settled.
struct Tail {
    asked: Asked,
    cursor: Cursor,
    limit: Limit,
    reading: Reading,
}

/// A page of it.
struct TailPage {
    page: Page,
    /// Number up to which the reader has seen everything, where the page is empty.
    settled_to: i64,
}

impl Tail {
    /// The next page after this number.
    ///
    /// The order matters: the mark first, then what patterns stand for, then the page. A type that is registered between the mark
    /// and the page may have events beyond the mark only; one that was registered before it is known to this page.
    async fn read(&self, app: &App, caller: &Caller, after: i64) -> Result<TailPage, ApiError> {
        let settled_to = app.store.settled_mark_or_older(PATIENCE).await?.max(after);
        let mut found = Vec::new();
        if settled_to > after {
            let filter = self.asked.resolved(app, caller).await?;
            found = app
                .store
                .list_settled(
                    caller,
                    &filter,
                    (after, settled_to),
                    self.limit.plus_one(),
                    self.reading,
                )
                .await?;
        }
        let at_the_end = self.cursor.encode(&settled_to.to_string());
        let page = by_number(&found, self.limit, &self.cursor)?;
        let page = self.asked.with_cursor(page, &at_the_end)?;
        Ok(TailPage { page, settled_to })
    }
}

/// Longest wait for something new: what API Gateway gives an answer (30 s) leaves time for the rest.
const MAX_WAIT_SECONDS: u64 = 20;
/// Pauses between two looks for something new. A look reads the highest number and one list of locks, and takes no transaction id.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// `GET /events/feed?after=&limit=&wait=`: what comes after a cursor, at once where there is something, otherwise when it comes.
/// `after=now` begins at the end of the log. It does not take
/// `processed`: events become processed behind any cursor.
pub async fn feed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let asked = Asked::read(&mut params)?;
    let cursor = asked.cursor(Order::Asc, &caller);
    let after = params.one("after")?;
    let read_wait = |value: &str| value.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    let wait = params.read("wait", "must be a whole number of seconds from 0 to 20", read_wait)?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let mut position = match after.as_deref() {
        None => 0,
        Some("now") => app.store.settled_mark_or_older(PATIENCE).await?,
        Some(after) => cursor.decode_number(after)?,
    };
    let tail = Tail {
        asked,
        cursor,
        limit,
        reading,
    };
    let deadline = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    let mut pause = FIRST_PAUSE;
    loop {
        let TailPage { page, settled_to } = tail.read(&app, &caller, position).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !page.is_empty() || left.is_zero() {
            return Ok(page);
        }
        position = settled_to;
        // The connection is back in the pool here, so `local` serves other requests with it. On Lambda an environment serves one request
        // at a time: there a waiting reader occupies it, and its connection, until it is answered (template.yaml, `RouteSettings`).
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn by_number(found: &[Event], limit: Limit, cursor: &Cursor) -> Result<Page, ApiError> {
    Page::cut(found, limit, |event| cursor.encode(&event.event_number.to_string()))
}

/// The types to look for: the names as they were given, and the types that patterns (`order.*`) match. A name or a pattern that
/// matches no type finds no events; that is not an error.
async fn resolve_types(app: &App, caller: &Caller, names: &[String]) -> Result<Option<Vec<String>>, ApiError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut types = names.to_vec();
    if names.iter().any(|name| name.ends_with(".*")) {
        // Fresh, so that a type which another process registered a moment ago is not left out.
        let catalog = app.store.fresh_outline(caller).await?;
        let matching = names
            .iter()
            .flat_map(|name| catalog.matching(Some(caller.tenant_id()), name));
        types.extend(matching.map(str::to_owned));
    }
    types.sort();
    types.dedup();
    Ok(Some(types))
}

/// `GET /events/{id}?upcast=`.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let reading = params.reading()?;
    params.end()?;
    let missing = ApiError::no_such_event;
    let id = Uuid::try_parse(&id).map_err(|_| missing())?;
    let found = app.store.find_event(&caller, id.into(), reading).await?;
    let event = found.ok_or_else(missing)?;
    Ok(Json(event).into_response())
}

/// `GET /events/unprocessed`: oldest first, those of parked streams among them.
pub async fn unprocessed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let cursor = Cursor::of("unprocessed", &caller.tenant_id());
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let asked = Asked {
        types: Vec::new(),
        filter: EventFilter {
            processed: Some(false),
            ..EventFilter::default()
        },
    };
    let tail = Tail {
        asked,
        cursor,
        limit,
        reading,
    };
    Ok(tail.read(&app, &caller, after.unwrap_or(0)).await?.page)
}
