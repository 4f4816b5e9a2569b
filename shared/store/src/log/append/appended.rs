//! The answer of an append.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use crate::StoreError;
use annals_domain::{EventId, Timestamp};

/// What the database decided about an appended event.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Which of the given events, from 0.
    pub member: usize,
    /// The id that was given, or for a retry the id of the original.
    pub id: EventId,
    /// Position over all streams.
    pub event_number: i64,
    /// Position in its stream.
    pub aggregate_version: i32,
    /// Recorded time.
    pub created_at: Timestamp,
    /// Version of the schema that its data follows.
    pub schema_version: String,
    /// Whether this is a retry: the event was there before, under its idempotency key.
    pub replayed: bool,
    /// Who acted, such as `user:{uuid}`.
    pub created_by: String,
    /// The person who acted, if it was one.
    pub user_id: Option<Uuid>,
}

pub(super) fn appended_from(row: &Row) -> Result<Appended, StoreError> {
    let member: i32 = row.try_get("member")?;
    Ok(Appended {
        member: usize::try_from(member).map_err(|_| StoreError::Unexpected("a negative member".to_owned()))?,
        id: EventId::from(row.try_get::<_, Uuid>("id")?),
        event_number: row.try_get("event_number")?,
        aggregate_version: row.try_get("aggregate_version")?,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
        schema_version: row.try_get("schema_version")?,
        replayed: row.try_get("replayed")?,
        created_by: row.try_get("created_by")?,
        user_id: row.try_get("user_id")?,
    })
}

/// The function's answer is one value of type `record`: the number of fields, then the type, length and bytes of each.
impl<'a> FromSql<'a> for Appended {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = Fields(raw.get(4..).ok_or("a record without fields")?);
        Ok(Self {
            member: 0,
            id: EventId::from(fields.next::<Uuid>(&Type::UUID)?),
            event_number: fields.next(&Type::INT8)?,
            aggregate_version: fields.next(&Type::INT4)?,
            created_at: Timestamp::from(fields.next::<DateTime<Utc>>(&Type::TIMESTAMPTZ)?),
            schema_version: fields.next(&Type::TEXT)?,
            replayed: fields.next(&Type::BOOL)?,
            created_by: fields.next(&Type::TEXT)?,
            user_id: fields.next(&Type::UUID)?,
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
        // The length of a null is -1.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.0 = rest;
            return T::from_sql_null(expected);
        };
        let (value, rest) = rest.split_at_checked(length).ok_or("a record cut short")?;
        self.0 = rest;
        T::from_sql(expected, value)
    }
}
