//! Pages: items and a cursor to the next ones. A page that would exceed [`PAGE_BYTES`] is cut, and gets a cursor like any other.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::entity::EntityAnswer;
use super::error::ApiError;
use super::params::Limit;
use annals_domain::Event;
use annals_store::{HistoryEvent, KpiLine, ListedUpcaster, PAGE_BYTES};

/// An item of a page.
pub trait Listed: Serialize {
    /// Whether reading stopped after this item because of its size, so that there may be more.
    fn ends_read(&self) -> bool {
        false
    }
}

impl Listed for serde_json::Value {}

impl Listed for KpiLine {}

impl Listed for ListedUpcaster {}

impl Listed for Event {
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

/// A page of a list: `{"items": […], "next_cursor": …}`, and what [`Page::with`] adds.
#[derive(Debug, Serialize)]
pub struct Page {
    items: Vec<Box<RawValue>>,
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
        let mut items: Vec<Box<RawValue>> = Vec::with_capacity(found.len().min(limit.items()));
        let mut bytes = 0;
        for item in found.iter().take(limit.items()) {
            let raw = to_raw_value(item).map_err(|e| ApiError::Internal(Box::new(e)))?;
            // The first item always fits: after a page without items, reading could not continue.
            bytes += raw.get().len();
            if bytes > PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.push(raw);
        }
        let last = items.len().checked_sub(1).and_then(|index| found.get(index));
        let last = last.filter(|last| items.len() < found.len() || last.ends_read());
        Ok(Self {
            next_cursor: last.map(cursor),
            items,
            extra: BTreeMap::new(),
        })
    }

    /// Adds `cursor`, which every page of an ascending list of events has: the position from which to continue later. If there is
    /// no next page, it is `at_the_end`.
    ///
    /// # Errors
    /// The cursor cannot be written as JSON.
    pub fn with_end_cursor(self, at_the_end: &str) -> Result<Self, ApiError> {
        let cursor = self.next_cursor.clone().unwrap_or_else(|| at_the_end.to_owned());
        self.with("cursor", &cursor)
    }

    /// Whether the page has no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a member next to the items, about the whole list.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn with(mut self, name: &'static str, what: &impl Serialize) -> Result<Self, ApiError> {
        let raw = to_raw_value(what).map_err(|e| ApiError::Internal(Box::new(e)))?;
        self.extra.insert(name, raw);
        Ok(self)
    }

    /// A page of the rows that `keep` accepts. The cursor continues after the last row read, kept or not.
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn filtered<T: Listed>(
        read: &[T],
        limit: Limit,
        keep: impl Fn(&T) -> bool,
        cursor: impl Fn(&T) -> String,
    ) -> Result<Self, ApiError> {
        let mut page = Self::cut(read, limit, cursor)?;
        let mut index = 0;
        page.items.retain(|_| {
            index += 1;
            keep(&read[index - 1])
        });
        Ok(page)
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
        page.next_cursor = page.next_cursor.or(examined_to);
        Ok(page)
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Ok(body) = serde_json::to_vec(&self) else {
            return ApiError::Internal("a page could not be written".into()).into_response();
        };
        (
            [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body,
        )
            .into_response()
    }
}
