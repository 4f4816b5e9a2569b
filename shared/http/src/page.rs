//! Pages: items and a cursor to the next ones. A page that would exceed [`PAGE_BYTES`] is cut, and gets a cursor like any other.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::entity::EntityAnswer;
use super::error::ApiError;
use super::links::NextPage;
use super::params::Limit;
use super::written_json::WrittenJson;
use annals_store::{HistoryEvent, KpiLine, ListedUpcaster, PAGE_BYTES, WrittenEvent};

/// An item of a page.
pub trait Listed: Serialize {
    /// Adds the item to a page's body.
    ///
    /// # Errors
    /// The item cannot be written as JSON.
    fn write(&self, body: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(body, self)
    }

    /// Whether reading stopped after this item because of its size, so that there may be more.
    fn ends_read(&self) -> bool {
        false
    }
}

impl Listed for serde_json::Value {}

impl Listed for KpiLine {}

impl Listed for ListedUpcaster {}

/// It is JSON already. To serialize it would check that.
impl Listed for WrittenEvent {
    fn write(&self, body: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        body.extend_from_slice(&self.json);
        Ok(())
    }

    fn ends_read(&self) -> bool {
        self.ends_read
    }
}

impl Listed for HistoryEvent {
    fn ends_read(&self) -> bool {
        self.event.ends_read
    }
}

impl Listed for EntityAnswer {
    fn ends_read(&self) -> bool {
        self.ends_read
    }
}

/// How every page begins.
const OPENING: &[u8] = br#"{"items":["#;

/// A page of a list: `{"items": […], "next_cursor": …}`, and what [`Page::with`] adds. Items are written into the body at once: most requests
/// are answered with a page, and a page of events is much text.
#[derive(Debug)]
pub struct Page {
    /// The body up to its last item.
    body: Vec<u8>,
    rest: Rest,
    /// Where the list continues after its last page; only a feed's page has it.
    at_the_end: Option<String>,
}

/// The members after the items.
#[derive(Debug, Serialize)]
struct Rest {
    next_cursor: Option<String>,
    #[serde(flatten)]
    extra: BTreeMap<&'static str, Box<RawValue>>,
}

impl Page {
    /// The page of at most `limit` items. `found` has one item more than the limit if there is a next page. `cursor` makes the
    /// cursor after an item.
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn cut<T: Listed>(found: &[T], limit: Limit, cursor: impl Fn(&T) -> String) -> Result<Self, ApiError> {
        Self::filtered(found, limit, |_| true, cursor)
    }

    /// A page of the rows that `keep` accepts. The cursor continues after the last row read, kept or not.
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn filtered<T: Listed>(
        found: &[T],
        limit: Limit,
        keep: impl Fn(&T) -> bool,
        cursor: impl Fn(&T) -> String,
    ) -> Result<Self, ApiError> {
        let mut body = OPENING.to_vec();
        let (mut read, mut bytes) = (0, 0);
        for item in found.iter().take(limit.items()) {
            let before = body.len();
            if before > OPENING.len() {
                body.push(b',');
            }
            let begin = body.len();
            item.write(&mut body).map_err(|e| ApiError::Internal(Box::new(e)))?;
            // The first item always fits: after a page without items, reading could not continue.
            bytes += body.len() - begin;
            if bytes > PAGE_BYTES && read > 0 {
                body.truncate(before);
                break;
            }
            read += 1;
            if !keep(item) {
                body.truncate(before);
            }
        }
        let last = found[..read].last();
        let last = last.filter(|last| read < found.len() || last.ends_read());
        let next_cursor = last.map(cursor);
        let extra = BTreeMap::new();
        Ok(Self {
            body,
            rest: Rest { next_cursor, extra },
            at_the_end: None,
        })
    }

    /// Adds `cursor`, which every page of an ascending list of events has: the position from which to continue later. If there is
    /// no next page, it is `at_the_end`.
    ///
    /// # Errors
    /// The cursor cannot be written as JSON.
    pub fn with_end_cursor(self, at_the_end: &str) -> Result<Self, ApiError> {
        let cursor = self.rest.next_cursor.clone().unwrap_or_else(|| at_the_end.to_owned());
        self.with("cursor", &cursor)
    }

    /// The same page of a feed, which has no end: if there is no next page yet, it continues at `at_the_end`. Its parameter is `after`.
    #[must_use]
    pub fn of_feed(self, at_the_end: String) -> Self {
        let at_the_end = Some(at_the_end);
        Self { at_the_end, ..self }
    }

    /// Whether the page has no items.
    pub fn is_empty(&self) -> bool {
        self.body.len() == OPENING.len()
    }

    /// Adds a member next to the items, about the whole list.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn with(mut self, name: &'static str, what: &impl Serialize) -> Result<Self, ApiError> {
        let raw = to_raw_value(what).map_err(|e| ApiError::Internal(Box::new(e)))?;
        self.rest.extra.insert(name, raw);
        Ok(self)
    }
}

impl Page {
    /// The page of a search that was bounded. If the page is not cut, it continues at `examined_to`, which may be after its last item, so a
    /// page without items may have a cursor, too.
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn searched<T: Listed>(
        found: &[T],
        limit: Limit,
        cursor: impl Fn(&T) -> String,
        examined_to: Option<String>,
    ) -> Result<Self, ApiError> {
        let mut page = Self::cut(found, limit, cursor)?;
        page.rest.next_cursor = page.rest.next_cursor.or(examined_to);
        Ok(page)
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        // The rest is an object of its own: without its opening bracket it completes the body.
        let (mut body, rest) = (self.body, serde_json::to_string(&self.rest));
        let Ok(Some(rest)) = rest.as_ref().map(|rest| rest.strip_prefix('{')) else {
            return ApiError::Internal("a page could not be written".into()).into_response();
        };
        body.extend_from_slice(b"],");
        body.extend_from_slice(rest.as_bytes());
        let mut response = WrittenJson(body).into_response();
        let parameter = if self.at_the_end.is_some() { "after" } else { "cursor" };
        if let Some(cursor) = self.rest.next_cursor.or(self.at_the_end) {
            response.extensions_mut().insert(NextPage { parameter, cursor });
        }
        response
    }
}
