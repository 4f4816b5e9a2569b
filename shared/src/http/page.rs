//! Pages: items, and the cursor to the next ones. A page that would grow beyond 4 MiB is cut, with a cursor like any other.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::entity::EntityAnswer;
use super::error::ApiError;
use super::params::Limit;
use crate::domain::Event;
use crate::store::{HistoryEvent, KpiLine, ListedUpcaster};

/// Most bytes of a page's items: what a Lambda function may answer with, less what base64 and the frame take.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What pages list.
pub trait Listed: Serialize {
    /// Whether no more was read after it for want of room, though there may be more.
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

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    #[serde(flatten)]
    beside: BTreeMap<&'static str, Box<RawValue>>,
}

impl Page {
    /// The page of at most `limit` of these items, of which one more than the limit was read where there is a next page.
    /// `cursor` gives the cursor that goes on after an item.
    ///
    /// # Errors
    /// An item that cannot be serialised.
    pub fn cut<T: Listed>(found: &[T], limit: Limit, cursor: impl Fn(&T) -> String) -> Result<Self, ApiError> {
        let mut items: Vec<Box<RawValue>> = Vec::with_capacity(found.len().min(limit.items()));
        let mut bytes = 0;
        for item in found.iter().take(limit.items()) {
            let raw = to_raw_value(item).map_err(|e| ApiError::Internal(Box::new(e)))?;
            // The first item always fits: a page without items could not go on.
            bytes += raw.get().len();
            if bytes > MAX_BYTES && !items.is_empty() {
                break;
            }
            items.push(raw);
        }
        let last = items.len().checked_sub(1).and_then(|place| found.get(place));
        let last = last.filter(|last| items.len() < found.len() || last.ends_read());
        Ok(Self {
            next_cursor: last.map(cursor),
            items,
            beside: BTreeMap::new(),
        })
    }

    /// A page of an ascending list of events, which has a cursor at its end too: the one to go on from later. Where the page holds
    /// all there was, that is `at_the_end`.
    ///
    /// # Errors
    /// A cursor that cannot be serialised.
    pub fn going_on(self, at_the_end: &str) -> Result<Self, ApiError> {
        let cursor = self.next_cursor.clone().unwrap_or_else(|| at_the_end.to_owned());
        self.with("cursor", &cursor)
    }

    /// Whether it holds no item.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The same with a member of its own beside the items, which is about all pages.
    ///
    /// # Errors
    /// What cannot be serialised.
    pub fn with(mut self, name: &'static str, what: &impl Serialize) -> Result<Self, ApiError> {
        let raw = to_raw_value(what).map_err(|e| ApiError::Internal(Box::new(e)))?;
        self.beside.insert(name, raw);
        Ok(self)
    }

    /// A page of what is left of read rows after some were filtered out: the cursor goes on after the last row read.
    ///
    /// # Errors
    /// An item that cannot be serialised.
    pub fn filtered<T: Listed>(
        read: &[T],
        limit: Limit,
        keep: impl Fn(&T) -> bool,
        cursor: impl Fn(&T) -> String,
    ) -> Result<Self, ApiError> {
        let mut page = Self::cut(read, limit, cursor)?;
        let mut place = 0;
        page.items.retain(|_| {
            place += 1;
            keep(&read[place - 1])
        });
        Ok(page)
    }
}

impl Page {
    /// The page of what a bounded search found: where it is not cut it goes on at `looked_to`, which may lie beyond its last
    /// item, and even where it has none.
    ///
    /// # Errors
    /// An item that cannot be serialised.
    pub fn searched<T: Listed>(
        found: &[T],
        limit: Limit,
        cursor: impl Fn(&T) -> String,
        looked_to: Option<String>,
    ) -> Result<Self, ApiError> {
        let mut page = Self::cut(found, limit, cursor)?;
        page.next_cursor = page.next_cursor.or(looked_to);
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
