//! Appending events: in one round trip, and with a correct answer even if the connection breaks.

mod appended;
mod columns;
mod fields;

use std::collections::HashSet;

use futures_util::future::{join, join_all, join4};
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

pub use self::appended::Appended;
use self::appended::appended_from;
pub(crate) use self::columns::Columns;
use self::fields::Fields;
use crate::connection::session::lost_is_unavailable;
use crate::connection::statement::{AS_PROJECTOR, Param, Statement};
use crate::{Store, StoreError};
use annals_domain::event::EventFault;
use annals_domain::{AggregateId, AggregateType, Caller, NewEvent, StreamId};
use annals_telemetry::xray::in_postgres;

/// One event: this is the most frequent request. The statement is a transaction by itself. `annals_api` may execute the function, and the
/// function takes the verified claims as an argument, so no role and no setting is needed before. PostgreSQL parses and plans the statement
/// for every event, so it has few parameters, no casts of them, and no `from`.
const APPEND_EVENT: &str = "-- append_event
select annals.append_event($1, $2, $3, $4, $5, $6)";

/// Many events, as arrays.
const APPEND_EVENTS: &str = "-- append_events
select a.member, a.id, a.event_number, a.aggregate_version, a.created_at, a.schema_version, a.replayed, a.created_by, a.user_id
  from annals.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) as a
 order by a.member";

/// Many events, for imports, which need to know only that the statement succeeded.
pub(crate) const APPEND_EVENTS_ALSO: &str = "-- append_events_also
select count(*)
  from annals.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

const FIND_APPENDED: &str = "-- find_appended
select a.member, a.id, a.event_number, a.aggregate_version, a.created_at, a.schema_version, a.replayed, a.created_by, a.user_id
  from annals.find_appended($1, $2, $3, $4) as a";

const FIND_KNOWN_KEYS: &str = "-- find_known_keys
select k as key from annals.known_keys($1, $2) as k";

/// Maximum attempts of an append, after contention or a lost connection. Contention means that another append has won, so only a
/// stream to which dozens append at the same time reaches this number.
const TRIES: usize = 40;

/// Events that were checked against the catalog at this revision. The append refuses them with `catalog_changed` if the catalog has
/// another revision by then.
#[derive(Debug, Clone, Copy)]
pub struct CheckedEvents<'a> {
    /// The events; an import that only notes its progress has none.
    pub events: &'a [NewEvent],
    /// Revision of the catalog.
    pub catalog_revision: i64,
}

impl CheckedEvents<'_> {
    /// No events, for a transaction that appends nothing.
    pub const NONE: CheckedEvents<'static> = CheckedEvents {
        events: &[],
        catalog_revision: 0,
    };
}

/// Why events were not appended. The append service makes it; it is defined here so that the HTTP crate can answer with it without
/// depending on the queue.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The catalog refuses some of the events.
    #[error("the catalog refuses the events: {code}")]
    Refused {
        /// Code of the first fault, such as `schema_violation`.
        code: &'static str,
        /// Every fault of every event; never empty.
        faults: Vec<EventFault>,
    },
    /// The store refuses the events or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Appends events as the caller, all or none, in order. `recorded` is what the server observed of the request (address, agent,
    /// id).
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the index of the event at fault; with the code `catalog_changed` if the catalog has another
    /// revision than the events were checked against. If the connection breaks before the answer arrives, the append looks its events
    /// up by the ids that were chosen beforehand. An error therefore means that nothing was appended. The exception is
    /// [`StoreError::Unavailable`] after a broken connection, if no new connection could be made.
    pub async fn append(
        &self,
        caller: &Caller,
        checked: CheckedEvents<'_>,
        recorded: &Value,
    ) -> Result<Vec<Appended>, StoreError> {
        let (events, revision) = (checked.events, Some(checked.catalog_revision));
        let mut last = StoreError::Unexpected("an append was not tried".to_owned());
        let mut was_lost = false;
        for _ in 0..TRIES {
            let refused = match self.append_once(caller, events, recorded, revision).await {
                Err(StoreError::ConnectionLost(error)) => {
                    was_lost = true;
                    self.evict_idle();
                    last = StoreError::Unavailable(Box::new(error));
                    None
                }
                Err(contention @ StoreError::Contention(_)) => {
                    last = contention;
                    continue;
                }
                // The lost append may have been committed after the look-up. Then its own retry is refused, because of the version
                // that it has taken or because of its ids.
                Err(error) if was_lost => Some(error),
                other => return other,
            };
            let found = self.look_up(caller, events).await.map_err(lost_is_unavailable)?;
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
            // An event that is stored under the id of this request is not the client's retry but ours, after a lost connection.
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
        let params: [Param<'_>; 6] = [
            (&Json(caller.database_claims()), Type::JSONB),
            (&Json(Fields::from(event)), Type::JSONB),
            (&Json(&event.data), Type::JSONB),
            (&Json(&event.metadata), Type::JSONB),
            (&Json(recorded), Type::JSONB),
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

    /// Appends events, possibly none, as the caller, and executes further statements as the projector in the same transaction, all in one
    /// round trip. Each of these statements itself refuses what it must not do.
    ///
    /// If the connection breaks before the answer arrives, this does not look the events up: what the further statements have
    /// written shows whether the transaction was committed.
    pub(crate) async fn append_also(
        &self,
        caller: &Caller,
        checked: CheckedEvents<'_>,
        recorded: &Value,
        also: &[Statement<'_>],
    ) -> Result<(), StoreError> {
        let client = self.connection().await?;
        let columns = Columns::of(checked.events);
        let (claims, recorded) = (Json(caller.database_claims()), Json(recorded));
        let revision = Some(checked.catalog_revision);
        let params = columns.params(&claims, &recorded, &revision);
        let append = async {
            match checked.events {
                [] => Ok(()),
                _ => client.query_typed(APPEND_EVENTS_ALSO, &params).await.map(|_| ()),
            }
        };
        let also: Vec<_> = also
            .iter()
            .map(|statement| (statement.sql, statement.params()))
            .collect();
        let also = also.iter().map(|(sql, params)| client.query_typed(sql, params));
        // The futures are polled in this order, so the statements are sent in this order.
        let (begun, appended, switched, (said, ended)) = join4(
            client.batch_execute("begin"),
            append,
            client.batch_execute(AS_PROJECTOR),
            join(join_all(also), client.batch_execute("commit")),
        )
        .await;
        let said = said.into_iter().map(|rows| rows.map(|_| ()));
        let results = [begun, appended, switched].into_iter().chain(said).chain([ended]);
        // After a failed statement, the others fail because the transaction is aborted. The first error names the cause.
        let done: Result<(), tokio_postgres::Error> = results.collect();
        done.map_err(|error| lost_is_unavailable(error.into()))
    }

    /// Finds out whether an append whose connection was lost was committed: waits until no transaction can still be writing the
    /// events' streams, then looks the events up by their ids, which no other append can have used.
    async fn look_up(&self, caller: &Caller, events: &[NewEvent]) -> Result<Vec<Appended>, StoreError> {
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
        let rows = client.query_alone(FIND_APPENDED, &params).await?;
        rows.iter().map(appended_from).collect()
    }

    /// The idempotency keys among these under which the caller has appended an event.
    pub async fn known_keys(&self, caller: &Caller, keys: &[&str]) -> Result<HashSet<String>, StoreError> {
        let claims = Json(caller.database_claims());
        let params: [Param<'_>; 2] = [(&claims, Type::JSONB), (&keys, Type::TEXT_ARRAY)];
        let look = || async { Ok(self.connection().await?.query_alone(FIND_KNOWN_KEYS, &params).await?) };
        let rows = in_postgres(FIND_KNOWN_KEYS, self.retry_if_lost(look)).await?;
        rows.iter().map(|row| Ok(row.try_get("key")?)).collect()
    }

    /// Adds the events that are stored under other ids to those that were found. A batch is atomic, so each event that was not
    /// found was a retry. Appending it again finds the original by its key, even if the catalog has changed since.
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

/// Streams as two columns of text, for statements that take many.
pub(crate) fn stream_columns<'a>(
    streams: impl IntoIterator<Item = (&'a AggregateType, &'a AggregateId)>,
) -> (Vec<&'a str>, Vec<&'a str>) {
    streams.into_iter().map(|(t, i)| (t.as_str(), i.as_str())).unzip()
}

/// Streams as three columns, with their tenants.
pub(crate) fn tenant_stream_columns<'a>(
    streams: impl IntoIterator<Item = &'a StreamId> + Clone,
) -> (Vec<Uuid>, Vec<&'a str>, Vec<&'a str>) {
    let tenants = streams.clone().into_iter().map(|s| *s.tenant_id.as_uuid()).collect();
    let (types, ids) = stream_columns(streams.into_iter().map(|s| (&s.aggregate_type, &s.aggregate_id)));
    (tenants, types, ids)
}
