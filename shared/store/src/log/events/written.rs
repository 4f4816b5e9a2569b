//! Events of a page, written as the JSON of the answer while their rows are at hand.

use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio_postgres::Row;

use super::columns::EventRow;
use super::json_object::JsonObject;
use super::reading::Reading;
use super::upcasting::upcast_event;
use crate::log::pages::is_full;
use crate::{Store, StoreError, Usage};
use annals_domain::{Caller, Catalog};

/// Bytes of an event's JSON that its row does not have: the names of the members, and longer forms of ids and times.
const NAMES: usize = 512;

/// An event as an item of a page.
#[derive(Debug)]
pub struct WrittenEvent {
    /// Position over all streams.
    pub event_number: i64,
    /// Position in its stream.
    pub aggregate_version: i32,
    /// The item: a JSON object, the same as that of [`annals_domain::Event`], to which a history adds members.
    pub json: Vec<u8>,
    /// Whether the page that it was read with was cut after it because of the page's size.
    pub ends_read: bool,
}

impl Serialize for WrittenEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_slice(&self.json).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }
}

impl Store {
    /// Upcasts and writes the events of a page. `columns_of` reads a row.
    pub(super) async fn written_from(
        &self,
        caller: &Caller,
        rows: &[Row],
        reading: Reading,
        columns_of: impl Fn(&Row) -> Result<EventRow<'_>, StoreError>,
    ) -> Result<Vec<WrittenEvent>, StoreError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let catalog = match reading {
            Reading::Current => Some(self.outline_since(caller, first.try_get("catalog_revision")?).await?),
            Reading::AsStored => None,
        };
        let mut usage = Usage::default();
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let columns = columns_of(row)?;
            let object = columns.json_object(catalog.as_deref(), &mut usage)?;
            events.push(columns.written(object));
        }
        if let Some(event) = events.last_mut() {
            event.ends_read = is_full(last)?;
        }
        self.tally(caller.tenant_id(), usage).await;
        Ok(events)
    }
}

impl EventRow<'_> {
    /// The item of a page with this event.
    pub(crate) fn written(&self, object: JsonObject) -> WrittenEvent {
        WrittenEvent {
            event_number: self.event_number,
            aggregate_version: self.aggregate_version,
            json: object.end(),
            ends_read: false,
        }
    }

    /// The event's JSON, to which members can be added. If there is a catalog, the event is upcast to the current version of its type, and
    /// counted. Nearly all events have that version.
    pub(crate) fn json_object(&self, catalog: Option<&Catalog>, usage: &mut Usage) -> Result<JsonObject, StoreError> {
        match catalog.filter(|catalog| !self.is_current(catalog)) {
            None => Ok(self.as_stored()),
            Some(catalog) => {
                let mut event = self.to_event()?;
                upcast_event(catalog, &mut event, usage);
                JsonObject::with_members_of(&event).map_err(|e| StoreError::Unexpected(e.to_string()))
            }
        }
    }

    fn is_current(&self, catalog: &Catalog) -> bool {
        let kind = catalog.find(self.tenant_id, self.event_type);
        kind.is_none_or(|kind| self.version == kind.current_version.as_str())
    }

    /// Members and order are those of [`annals_domain::Event`].
    fn as_stored(&self) -> JsonObject {
        let texts = [self.data, self.metadata, self.recorded]
            .map(str::len)
            .iter()
            .sum::<usize>();
        let mut object = JsonObject::with_capacity(texts + NAMES);
        object.uuid("id", self.id);
        object.number("event_number", self.event_number);
        object.uuid("tenant_id", *self.tenant_id.as_uuid());
        object.text("event_type", self.event_type);
        object.text("aggregate_type", self.aggregate_type);
        object.text("aggregate_id", self.aggregate_id);
        object.number("aggregate_version", self.aggregate_version.into());
        object.text("version", self.version);
        object.json("data", self.data);
        object.json("metadata", self.metadata);
        object.json("recorded", self.recorded);
        object.text("created_by", self.created_by);
        if let Some(name) = &self.created_by_name {
            object.text("created_by_name", name);
        }
        object.uuid_or_null("user_id", self.user_id);
        object.text("source", self.source);
        object.time("timestamp", self.timestamp);
        object.time("created_at", self.created_at);
        object.text_or_null("correlation_id", self.correlation_id);
        object.text_or_null("command_id", self.command_id);
        object.uuid_or_null("causation_id", self.causation_id);
        object.text_or_null("idempotency_key", self.idempotency_key);
        object.boolean("processed", self.processed);
        if self.parked {
            object.boolean("parked", true);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use annals_domain::{TenantId, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_row_is_written_as_its_event_is_serialized() {
        let now = Timestamp::now();
        let mut row = EventRow {
            id: Uuid::from_u128(1 << 100),
            event_number: i64::MAX,
            tenant_id: TenantId::from(Uuid::nil()),
            event_type: "sale.created",
            aggregate_type: "sale",
            aggregate_id: "a \"quoted\" \\ id\n\u{1}é",
            aggregate_version: 7,
            version: "1.0",
            data: r#"{"a": 1.50, "b": ["\u0001"]}"#,
            metadata: "{}",
            recorded: r#"{"posted_by": "user:1"}"#,
            created_by: "user:1",
            created_by_name: None,
            user_id: None,
            source: "api",
            timestamp: now,
            created_at: now,
            correlation_id: None,
            command_id: None,
            causation_id: None,
            idempotency_key: None,
            processed: false,
            parked: false,
        };
        let check = |row: &EventRow<'_>| {
            let event = serde_json::to_string(&row.to_event().expect("an event")).expect("JSON");
            assert_eq!(String::from_utf8(row.as_stored().end()).expect("text"), event);
        };
        check(&row);
        row.created_by_name = Some(Cow::Borrowed("Ada \u{7f}"));
        (row.user_id, row.causation_id) = (Some(Uuid::max()), Some(Uuid::nil()));
        (row.correlation_id, row.command_id, row.idempotency_key) = (Some("c\t"), Some(""), Some("k"));
        (row.processed, row.parked) = (true, true);
        check(&row);
    }
}
