//! Imports: large uploads, which go on from where they were left, whoever left them and however.
//!
//! Invariant: what is settled is written in the transaction that appends its events, and only by who holds the import, from where
//! the lane was left. So a kill loses nothing and repeats nothing, and two workers that both believe to hold an import cannot
//! both get on.

mod answer;
mod lanes;
mod look;
mod whole;

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

pub use self::answer::UploadRecord;
pub use self::lanes::{LaneProgress, SettledRows};
pub use self::look::DueImport;
pub use self::whole::WholeImport;
use super::session::{As, Param, lost_is_unavailable};
use super::{Refusal, Store, StoreError, UploadStatus};
use crate::domain::{Caller, NewEvent, Role, TenantId};

/// Seconds after which a worker that has not been heard of counts as dead.
pub const HELD_SECONDS: i32 = 90;
/// Imports that are worked on at once, of all tenants: each takes connections of its own, and the rest of the API wants some, too.
pub const AT_ONCE: i32 = 4;

/// What is refused to who holds an import no more.
pub const TAKEN_OVER: &str = "import_taken_over";

/// A large upload that somebody asks for.
#[derive(Debug)]
pub struct NewImport<'a> {
    /// Its id, and the object's name.
    pub id: Uuid,
    /// What its rows are.
    pub dataset: &'a str,
    /// Its fields as they were sent.
    pub options: &'a Value,
    /// Whether it is only to say what would happen.
    pub dry_run: bool,
    /// Seconds for which the file may be sent.
    pub seconds: i32,
}

/// An import that this process holds.
#[derive(Debug, Clone)]
pub struct HeldImport {
    /// The upload.
    pub id: Uuid,
    /// Who holds it: this attempt.
    pub holder: Uuid,
    /// What its rows are.
    pub dataset: String,
    /// The upload's fields.
    pub options: Value,
    /// In whose name events are appended.
    pub caller: Caller,
    /// What the server knew of the request.
    pub context: Value,
    /// Whether it is only to say what would happen.
    pub dry_run: bool,
    /// Whether it has begun.
    pub is_running: bool,
    /// Attempts since it last got further, this one counted.
    pub attempts: i32,
    /// The object that it is about; none before it began.
    pub object_tag: Option<String>,
    /// How the file is written, once that is known.
    pub reader: Option<Value>,
    /// Where it goes on, likewise.
    pub place: Option<Value>,
    /// SHA-256 of the file, likewise.
    pub file_sha256: Option<Vec<u8>>,
    /// Every lane, once there are any.
    pub lanes: Vec<LaneProgress>,
}

/// What the first reading of a file found.
#[derive(Debug)]
pub struct Inspection<'a> {
    /// SHA-256 of its bytes.
    pub file_sha256: &'a [u8],
    /// Its header.
    pub header: &'a [String],
    /// What separates its fields.
    pub delimiter: char,
    /// Headers of columns that are not read.
    pub ignored_columns: &'a [String],
    /// Rows that it has.
    pub rows: i64,
    /// How it is written.
    pub reader: &'a Value,
    /// Where its first row begins.
    pub place: &'a Value,
    /// Lanes that its rows are to be dealt to.
    pub lanes: i32,
}

/// How an import ends.
#[derive(Debug)]
pub struct ImportEnd<'a> {
    /// To its end, or not.
    pub status: UploadStatus,
    /// Why the file as a whole was refused: code and detail.
    pub failure: Option<&'a Value>,
    /// Refused rows that are kept at most.
    pub rows_kept: i64,
}

/// What became of an attempt to take an import.
#[derive(Debug)]
pub enum Taking {
    /// It is held now.
    Held(Box<HeldImport>),
    /// Somebody else holds it, or as many others are held as may be.
    Busy,
    /// It has come to its end.
    Ended,
    /// There is none of that id.
    Unknown,
}

const REQUEST_IMPORT: &str = "-- request_import
with upload as (
    insert into annals.uploads (id, tenant_id, started_by, dataset, status, dry_run, options)
    values ($1, $2, $3, $4, 'waiting', $5, $6)
)
insert into annals.imports (upload_id, expires_at, claims, context)
values ($1, clock_timestamp() + make_interval(secs => $7), $8, $9)";

const TAKE_IMPORT: &str = "-- take_import
select annals.take_import($1, $2, $3, $4) as taken";

const READ_HELD_IMPORT: &str = "-- read_held_import
select i.claims, i.context, i.attempts, i.object_tag, i.reader, i.place, u.dataset, u.dry_run, u.options, u.status, u.file_sha256
  from annals.imports i join annals.uploads u on u.id = i.upload_id
 where i.upload_id = $1 and i.holder = $2";

const KEEP_IMPORT: &str = "-- keep_import
update annals.imports set held_until = clock_timestamp() + make_interval(secs => $3) where upload_id = $1 and holder = $2
returning 1";

const RELEASE_IMPORT: &str = "-- release_import
update annals.imports set holder = null, held_until = null where upload_id = $1 and holder = $2";

const START_IMPORT: &str = "-- start_import
with begun as (
    update annals.imports i set object_tag = $3, size_bytes = $4, attempts = 1
      from annals.uploads u
     where i.upload_id = $1 and i.holder = $2 and u.id = i.upload_id and u.status = 'waiting'
    returning 1
), running as (
    update annals.uploads set status = 'running', started_at = clock_timestamp()
     where id = $1 and exists (select from begun)
    returning 1
)
select exists (select from running) or annals.refuse(409, 'import_taken_over', 'another worker has taken the import over')";

const NOTE_INSPECTION: &str = "-- note_import_inspection
with noted as (
    update annals.imports set rows_found = $3, reader = $4, place = $5, lanes = $6, attempts = 0
     where upload_id = $1 and holder = $2 and reader is null
    returning 1
), described as (
    update annals.uploads set file_sha256 = $7, header = $8, delimiter = $9, ignored_columns = $10
     where id = $1 and exists (select from noted)
)
insert into annals.import_lanes (upload_id, lane)
select $1, lane from generate_series(0, $6 - 1) as lane where exists (select from noted)
returning lane";

impl Store {
    /// Records that the caller wants to upload a large file, with the event that says so.
    ///
    /// # Errors
    /// The append's.
    pub async fn request_import(
        &self,
        caller: &Caller,
        event: &NewEvent,
        context: &Value,
        catalog_revision: i64,
        new: &NewImport<'_>,
    ) -> Result<(), StoreError> {
        let claims = caller.database_claims();
        let seconds = f64::from(new.seconds);
        let params: [Param<'_>; 9] = [
            (&new.id, Type::UUID),
            (caller.tenant_uuid(), Type::UUID),
            (&caller.actor().as_str(), Type::TEXT),
            (&new.dataset, Type::TEXT),
            (&new.dry_run, Type::BOOL),
            (&Json(new.options), Type::JSONB),
            (&seconds, Type::FLOAT8),
            (&Json(&claims), Type::JSONB),
            (&Json(context), Type::JSONB),
        ];
        let also = [(REQUEST_IMPORT, &params[..])];
        self.append_also(caller, std::slice::from_ref(event), context, catalog_revision, &also)
            .await
            .map_err(lost_is_unavailable)
    }

    /// Takes an import that nobody works on, unless [`AT_ONCE`] others are worked on.
    ///
    /// # Errors
    /// The database's.
    pub async fn take_import(&self, id: Uuid) -> Result<Taking, StoreError> {
        let holder = Uuid::new_v4();
        let seconds = f64::from(HELD_SECONDS);
        let params: [Param<'_>; 4] = [
            (&id, Type::UUID),
            (&holder, Type::UUID),
            (&seconds, Type::FLOAT8),
            (&AT_ONCE, Type::INT4),
        ];
        let taken = self.write(As::Projector, TAKE_IMPORT, &params).await;
        let taken = taken.map_err(lost_is_unavailable)?;
        if taken.first().map_or(Ok(false), |row| row.try_get("taken"))? {
            return Ok(Taking::Held(Box::new(self.read_held(id, holder).await?)));
        }
        Ok(match self.find_import(id).await? {
            None => Taking::Unknown,
            Some(true) => Taking::Ended,
            Some(false) => Taking::Busy,
        })
    }

    /// An import that this process holds, as it is now.
    ///
    /// # Errors
    /// The database's, or that somebody else works on it.
    pub async fn held_import(&self, import: &HeldImport) -> Result<HeldImport, StoreError> {
        self.read_held(import.id, import.holder).await
    }

    async fn read_held(&self, id: Uuid, holder: Uuid) -> Result<HeldImport, StoreError> {
        let params: [Param<'_>; 2] = [(&id, Type::UUID), (&holder, Type::UUID)];
        let rows = self.read(As::Projector, READ_HELD_IMPORT, &params).await?;
        let mut held = held_from(rows.first().ok_or_else(taken_over)?, id, holder)?;
        held.lanes = self.import_lanes(id).await?;
        Ok(held)
    }

    /// Says that the import is still worked on.
    ///
    /// # Errors
    /// The database's, or that somebody else works on it.
    pub async fn keep_import(&self, id: Uuid, holder: Uuid) -> Result<(), StoreError> {
        let seconds = f64::from(HELD_SECONDS);
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&holder, Type::UUID), (&seconds, Type::FLOAT8)];
        let kept = self.write(As::Projector, KEEP_IMPORT, &params).await;
        match kept.map_err(lost_is_unavailable)?.first() {
            Some(_) => Ok(()),
            // Its end is nobody's doing but the holder's, who is cleaning up.
            None if self.find_import(id).await? == Some(true) => Ok(()),
            None => Err(taken_over()),
        }
    }

    /// Lets go of an import, so that the next attempt need not wait until this one counts as dead.
    ///
    /// # Errors
    /// The database's.
    pub async fn release_import(&self, id: Uuid, holder: Uuid) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&id, Type::UUID), (&holder, Type::UUID)];
        let released = self.write(As::Projector, RELEASE_IMPORT, &params).await;
        released.map(|_| ()).map_err(lost_is_unavailable)
    }

    /// Begins an import whose file has arrived, with the event that says so.
    ///
    /// # Errors
    /// The append's, or that somebody else works on it.
    pub async fn start_import(
        &self,
        import: &HeldImport,
        event: &NewEvent,
        catalog_revision: i64,
        (tag, size): (&str, i64),
    ) -> Result<(), StoreError> {
        let params: [Param<'_>; 4] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&tag, Type::TEXT),
            (&size, Type::INT8),
        ];
        let also = [(START_IMPORT, &params[..])];
        let events = std::slice::from_ref(event);
        self.append_also(&import.caller, events, &import.context, catalog_revision, &also)
            .await
            .map_err(lost_is_unavailable)
    }

    /// Notes what the first reading found.
    ///
    /// # Errors
    /// The database's, or that somebody else works on it.
    pub async fn note_inspection(&self, import: &HeldImport, found: &Inspection<'_>) -> Result<(), StoreError> {
        let delimiter = found.delimiter.to_string();
        let params: [Param<'_>; 10] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&found.rows, Type::INT8),
            (&Json(found.reader), Type::JSONB),
            (&Json(found.place), Type::JSONB),
            (&found.lanes, Type::INT4),
            (&found.file_sha256, Type::BYTEA),
            (&found.header, Type::TEXT_ARRAY),
            (&delimiter, Type::TEXT),
            (&found.ignored_columns, Type::TEXT_ARRAY),
        ];
        let noted = self.write(As::Projector, NOTE_INSPECTION, &params).await;
        if noted.map_err(lost_is_unavailable)?.is_empty() {
            return Err(taken_over());
        }
        Ok(())
    }

    /// Ends an import, with the event that says so; without one where there is none that the catalog takes.
    ///
    /// # Errors
    /// The append's, or that somebody else works on it.
    pub async fn finish_import(
        &self,
        import: &HeldImport,
        event: Option<(&NewEvent, i64)>,
        end: &ImportEnd<'_>,
    ) -> Result<(), StoreError> {
        let failure = end.failure.map(Json);
        let params: [Param<'_>; 5] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&end.status.as_str(), Type::TEXT),
            (&failure, Type::JSONB),
            (&end.rows_kept, Type::INT8),
        ];
        let also = [(lanes::FINISH, &params[..])];
        let (events, revision) = event.map_or((&[][..], 0), |(event, revision)| {
            (std::slice::from_ref(event), revision)
        });
        self.append_also(&import.caller, events, &import.context, revision, &also)
            .await
            .map_err(lost_is_unavailable)
    }
}

fn held_from(row: &Row, id: Uuid, holder: Uuid) -> Result<HeldImport, StoreError> {
    let Json(claims) = row.try_get::<_, Json<Value>>("claims")?;
    let Json(context) = row.try_get::<_, Json<Value>>("context")?;
    let Json(options) = row.try_get::<_, Json<Value>>("options")?;
    let json = |name: &str| -> Result<Option<Value>, StoreError> {
        Ok(row.try_get::<_, Option<Json<Value>>>(name)?.map(|Json(value)| value))
    };
    Ok(HeldImport {
        id,
        holder,
        dataset: row.try_get("dataset")?,
        options,
        caller: caller_from(&claims).ok_or_else(|| StoreError::Unexpected("claims that name no caller".to_owned()))?,
        context,
        dry_run: row.try_get("dry_run")?,
        is_running: UploadStatus::from_name(row.try_get("status")?)? == UploadStatus::Running,
        attempts: row.try_get("attempts")?,
        object_tag: row.try_get("object_tag")?,
        reader: json("reader")?,
        place: json("place")?,
        file_sha256: row.try_get("file_sha256")?,
        lanes: Vec::new(),
    })
}

/// The caller that [`Caller::database_claims`] wrote down.
fn caller_from(claims: &Value) -> Option<Caller> {
    let app = &claims["app_metadata"];
    let tenant = app["tenant_id"].as_str()?.parse::<Uuid>().ok().map(TenantId::from)?;
    let role = Role::from_name(app["role"].as_str()?)?;
    let subject = claims["sub"].as_str()?.parse().ok()?;
    Caller::new(tenant, role, subject, app["name"].as_str().map(str::to_owned)).ok()
}

fn taken_over() -> StoreError {
    StoreError::Refused(Refusal {
        status: 409,
        code: TAKEN_OVER.to_owned(),
        message: "another worker has taken the import over".to_owned(),
        member: None,
        figure: None,
        fields: Vec::new(),
    })
}
