//! Appending events: one round trip, and an answer that is true even when the connection breaks.

mod columns;

use std::collections::HashSet;

use futures_util::future::{join, join_all, join4};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Json, Type};
use uuid::Uuid;

pub(super) use self::columns::Columns;
use super::session::{AS_PROJECTOR, Param, lost_is_unavailable};
use super::{Store, StoreError};
use crate::domain::event::Part;
use crate::domain::{AggregateId, AggregateType, Caller, EventId, NewEvent, StreamId, Timestamp};
use crate::telemetry::xray::in_postgres;

/// One event: by scalars, because this is the common request and sets cost more. The statement is parsed and planned for every
/// event, which is why it is as plain as can be: no `from`, whose planning was a fifth of the append, and no casts
/// of parameters, each of which is carried out while planning.
///
/// It is a transaction by itself: `annals_api` may execute the function, and the function takes the verified claims as an
/// argument, so there is no role and no setting to begin with.
const APPEND_EVENT: &str = "-- append_event
select annals.append_event($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

/// Many events, by columns.
pub(super) const APPEND_EVENTS: &str = "-- append_events
select a.member, a.id, a.event_number, a.aggregate_version, a.created_at, a.schema_version, a.replayed
  from annals.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) as a
 order by a.member";

const SETTLE_APPEND: &str = "-- settle_append
select a.member, a.id, a.event_number, a.aggregate_version, a.created_at, a.schema_version, a.replayed
  from annals.settle_append($1, $2, $3, $4) as a";

const FIND_KNOWN_KEYS: &str = "-- find_known_keys
select k as key from annals.known_keys($1, $2) as k";

/// How often contention is tried again. Each loss means that somebody else has won, so this is reached only by a stream
/// that dozens fight for at once.
const TRIES: usize = 40;

/// What the database decided about an appended event.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Which of the given events, from 0.
    pub member: usize,
    /// Its id: the given one, or the original's for a retry.
    pub id: EventId,
    /// Position over all streams.
    pub event_number: i64,
    /// Position in its stream.
    pub aggregate_version: i32,
    /// Recorded time.
    pub created_at: Timestamp,
    /// Version of the schema that its data follows.
    pub schema_version: String,
    /// Whether the event was there before, under its idempotency key.
    pub replayed: bool,
}

impl Store {
    /// Appends events as the caller, all or none, in order. `recorded` is what the server observed of the request (address, agent,
    /// id). `catalog_revision` is that of the catalog which the events were checked against.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the member at fault; `catalog_changed` among them when the catalog has moved on. An
    /// unknown outcome is settled before this returns: an error means that nothing was appended, unless it is
    /// [`StoreError::Unavailable`] after the connection was lost and could not be made again.
    pub async fn append(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        recorded: &Value,
        catalog_revision: i64,
    ) -> Result<Vec<Appended>, StoreError> {
        let mut last = StoreError::Unexpected("an append was not tried".to_owned());
        let mut was_lost = false;
        for _ in 0..TRIES {
            let refused = match self.append_once(caller, events, recorded, Some(catalog_revision)).await {
                Err(StoreError::ConnectionLost(error)) => {
                    was_lost = true;
                    self.distrust_idle();
                    last = StoreError::Unavailable(Box::new(error));
                    None
                }
                Err(contention @ StoreError::Contention(_)) => {
                    last = contention;
                    continue;
                }
                // What was lost may have arrived late, after the settling had looked: then it is what refuses its own retry,
                // by the version that it has taken or by its ids.
                Err(error) if was_lost => Some(error),
                other => return other,
            };
            let found = self.settle(caller, events).await.map_err(lost_is_unavailable)?;
            if !found.is_empty() {
                return self.complete(caller, events, found, recorded).await;
            }
            if let Some(error) = refused {
                return Err(error);
            }
        }
        Err(last)
    }

    async fn append_once(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        recorded: &Value,
        catalog_revision: Option<i64>,
    ) -> Result<Vec<Appended>, StoreError> {
        let mut appended = match events {
            [] => return Ok(Vec::new()),
            [event] => self.append_event(caller, event, recorded, catalog_revision).await?,
            many => self.append_events(caller, many, recorded, catalog_revision).await?,
        };
        if appended.len() != events.len() {
            return Err(StoreError::Unexpected(format!(
                "{} events appended of {}",
                appended.len(),
                events.len()
            )));
        }
        for one in &mut appended {
            // Under its own id it is no retry of the client's, but ours after a lost connection.
            one.replayed &= events.get(one.member).is_none_or(|event| event.id != one.id);
        }
        Ok(appended)
    }

    async fn append_event(
        &self,
        caller: &Caller,
        event: &NewEvent,
        recorded: &Value,
        revision: Option<i64>,
    ) -> Result<Vec<Appended>, StoreError> {
        let claims = caller.database_claims();
        let happened_at = event.timestamp.map(|t| t.as_datetime());
        let created_by = event.created_by.as_ref().map(|actor| actor.as_str());
        let version = event.version.as_ref().map(|v| v.as_str());
        let source = event.source.as_ref().map(|s| s.as_str());
        let correlation_id = event.correlation_id.as_ref().map(|c| c.as_str());
        let command_id = event.command_id.as_ref().map(|c| c.as_str());
        let key = event.idempotency_key.as_ref().map(|k| k.as_str());
        let params: [Param<'_>; 20] = [
            (&Json(&claims), Type::JSONB),
            (event.id.as_uuid(), Type::UUID),
            (&event.event_type.as_str(), Type::TEXT),
            (&event.aggregate_type.as_str(), Type::TEXT),
            (&event.aggregate_id.as_str(), Type::TEXT),
            (&version, Type::TEXT),
            (&Json(&event.data), Type::JSONB),
            (&Json(&event.metadata), Type::JSONB),
            (&Json(recorded), Type::JSONB),
            (&created_by, Type::TEXT),
            (&event.user_id, Type::UUID),
            (&source, Type::TEXT),
            (&happened_at, Type::TIMESTAMPTZ),
            (&correlation_id, Type::TEXT),
            (&event.causation_id, Type::UUID),
            (&command_id, Type::TEXT),
            (&key, Type::TEXT),
            (&event.expected_version, Type::INT4),
            (&event.part.map(Part::as_str), Type::TEXT),
            (&revision, Type::INT8),
        ];
        let client = self.connection().await?;
        let rows = in_postgres(APPEND_EVENT, client.query_alone(APPEND_EVENT, &params)).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn append_events(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        recorded: &Value,
        revision: Option<i64>,
    ) -> Result<Vec<Appended>, StoreError> {
        let columns = Columns::of(events);
        let (claims, recorded) = (Json(caller.database_claims()), Json(recorded));
        let params = columns.params(&claims, &recorded, &revision);
        let client = self.connection().await?;
        let rows = in_postgres(APPEND_EVENTS, client.query_alone(APPEND_EVENTS, &params)).await?;
        rows.iter().map(appended_from).collect()
    }

    /// Appends events as the caller, and has the projector say some more in the same transaction, all in one flight. Each of those
    /// statements refuses for itself what must not be. Events may be none.
    ///
    /// Nothing is settled here: where the connection was lost, what the statements wrote tells what has become of it.
    pub(super) async fn append_also(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        recorded: &Value,
        catalog_revision: i64,
        also: &[(&'static str, &[Param<'_>])],
    ) -> Result<(), StoreError> {
        let client = self.connection().await?;
        let columns = Columns::of(events);
        let (claims, recorded, revision) = (Json(caller.database_claims()), Json(recorded), Some(catalog_revision));
        let params = columns.params(&claims, &recorded, &revision);
        let append = async {
            match events {
                [] => Ok(()),
                _ => client.query_typed(APPEND_EVENTS, &params).await.map(|_| ()),
            }
        };
        let also = also.iter().map(|(sql, params)| client.query_typed(sql, params));
        // In this order on the wire, because in this order they are polled.
        let (begun, appended, switched, (said, ended)) = join4(
            client.batch_execute("begin"),
            append,
            client.batch_execute(AS_PROJECTOR),
            join(join_all(also), client.batch_execute("commit")),
        )
        .await;
        begun?;
        appended?;
        switched?;
        for rows in said {
            rows?;
        }
        Ok(ended?)
    }

    /// Finds out what became of an append whose connection was lost: waits until no transaction can still be writing the
    /// events' streams, then looks for the ids, which nobody else can have used.
    async fn settle(&self, caller: &Caller, events: &[NewEvent]) -> Result<Vec<Appended>, StoreError> {
        let types: Vec<&str> = events.iter().map(|e| e.aggregate_type.as_str()).collect();
        let ids: Vec<&str> = events.iter().map(|e| e.aggregate_id.as_str()).collect();
        let event_ids: Vec<Uuid> = events.iter().map(|e| *e.id.as_uuid()).collect();
        let claims = Json(caller.database_claims());
        let params: [Param<'_>; 4] = [
            (&claims, Type::JSONB),
            (&types, Type::TEXT_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&event_ids, Type::UUID_ARRAY),
        ];
        let client = self.connection().await?;
        let rows = client.query_alone(SETTLE_APPEND, &params).await?;
        rows.iter().map(appended_from).collect()
    }

    /// Those of these idempotency keys under which the caller has appended an event.
    ///
    /// # Errors
    /// The database's.
    pub async fn known_keys(&self, caller: &Caller, keys: &[&str]) -> Result<HashSet<String>, StoreError> {
        let claims = Json(caller.database_claims());
        let params: [Param<'_>; 2] = [(&claims, Type::JSONB), (&keys, Type::TEXT_ARRAY)];
        let look = || async { Ok(self.connection().await?.query_alone(FIND_KNOWN_KEYS, &params).await?) };
        let rows = in_postgres(FIND_KNOWN_KEYS, self.twice_if_lost(look)).await?;
        rows.iter().map(|row| Ok(row.try_get("key")?)).collect()
    }

    /// Adds to the settled members those that are stored under other ids: a batch is atomic, so whatever else is missing was a
    /// retry, and appending it again finds the original by its key, whatever the catalog has become.
    async fn complete(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        mut found: Vec<Appended>,
        recorded: &Value,
    ) -> Result<Vec<Appended>, StoreError> {
        let missing: Vec<usize> = (0..events.len())
            .filter(|member| found.iter().all(|a| a.member != *member))
            .collect();
        let retries: Vec<NewEvent> = missing.iter().map(|member| events[*member].clone()).collect();
        for mut original in self
            .append_once(caller, &retries, recorded, None)
            .await
            .map_err(lost_is_unavailable)?
        {
            original.member = missing[original.member];
            found.push(original);
        }
        found.sort_by_key(|appended| appended.member);
        Ok(found)
    }
}

fn appended_from(row: &Row) -> Result<Appended, StoreError> {
    let member: i32 = row.try_get("member")?;
    Ok(Appended {
        member: usize::try_from(member).map_err(|_| StoreError::Unexpected("a negative member".to_owned()))?,
        id: EventId::from(row.try_get::<_, Uuid>("id")?),
        event_number: row.try_get("event_number")?,
        aggregate_version: row.try_get("aggregate_version")?,
        created_at: Timestamp::from(row.try_get::<_, chrono::DateTime<chrono::Utc>>("created_at")?),
        schema_version: row.try_get("schema_version")?,
        replayed: row.try_get("replayed")?,
    })
}

/// The function's answer as one value of type `record`: how many fields, then each one's type, length and bytes.
impl<'a> FromSql<'a> for Appended {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = Fields(raw.get(4..).ok_or("a record without fields")?);
        Ok(Self {
            member: usize::try_from(fields.next::<i32>(&Type::INT4)?)?,
            id: EventId::from(fields.next::<Uuid>(&Type::UUID)?),
            event_number: fields.next(&Type::INT8)?,
            aggregate_version: fields.next(&Type::INT4)?,
            created_at: Timestamp::from(fields.next::<chrono::DateTime<chrono::Utc>>(&Type::TIMESTAMPTZ)?),
            schema_version: fields.next(&Type::TEXT)?,
            replayed: fields.next(&Type::BOOL)?,
        })
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::RECORD
    }
}

type RecordError = Box<dyn std::error::Error + Sync + Send>;

/// Fields of a record that are not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next<T: FromSql<'a>>(&mut self, expected: &Type) -> Result<T, RecordError> {
        let (oid, rest) = self.0.split_first_chunk().ok_or("a record cut short")?;
        let (length, rest) = rest.split_first_chunk().ok_or("a record cut short")?;
        if u32::from_be_bytes(*oid) != expected.oid() {
            return Err(format!("a record's field is no {expected}").into());
        }
        // A null's length is -1; the function returns none.
        let length = usize::try_from(i32::from_be_bytes(*length))?;
        let (value, rest) = rest.split_at_checked(length).ok_or("a record cut short")?;
        self.0 = rest;
        T::from_sql(expected, value)
    }
}

/// A JSON object as text.
pub(super) fn json_text(members: &serde_json::Map<String, Value>) -> String {
    serde_json::to_string(members).unwrap_or_else(|_| unreachable!("a map with text keys is always JSON"))
}

/// Streams as two columns of text, for statements that take many.
pub(super) fn stream_columns<'a>(
    streams: impl IntoIterator<Item = (&'a AggregateType, &'a AggregateId)>,
) -> (Vec<&'a str>, Vec<&'a str>) {
    streams.into_iter().map(|(t, i)| (t.as_str(), i.as_str())).unzip()
}

/// Streams as three columns, with their tenants.
pub(super) fn tenant_stream_columns<'a>(
    streams: impl IntoIterator<Item = &'a StreamId> + Clone,
) -> (Vec<Uuid>, Vec<&'a str>, Vec<&'a str>) {
    let tenants = streams.clone().into_iter().map(|s| *s.tenant_id.as_uuid()).collect();
    let (types, ids) = stream_columns(streams.into_iter().map(|s| (&s.aggregate_type, &s.aggregate_id)));
    (tenants, types, ids)
}
