//! Imports of large uploads. A worker takes a lease of an import and renews it while it works. If the worker is killed, the lease expires
//! and another worker continues.
//!
//! Invariant: a partition's progress is written in the transaction that appends the events of its rows, only by the holder of the
//! lease, and only from the progress that the worker has read. A kill therefore loses nothing and repeats nothing. If two workers both
//! believe that they hold the lease, only one of them can append.

pub(crate) mod uploads;

mod confirmed;
mod due;
mod known;
mod leased;
mod partitions;
mod progress;
mod reverts;
mod transaction;

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

pub use self::due::DueImport;
pub use self::known::EarlierUpload;
use self::leased::taken_over;
pub use self::leased::{LeasedImport, PartitionProgress, TAKEN_OVER};
pub use self::partitions::ChunkOutcome;
pub use self::progress::UploadRecord;
pub use self::reverts::{DueRevert, LeasedRevert, LeftAlone, RevertRecord, RevertScope, RevertStep, Revertible};
pub use self::transaction::ImportTransaction;
use crate::connection::statement::{As, Param, Statement};
use crate::log::append::CheckedEvents;
use crate::{Store, StoreError, UploadStatus};
use annals_domain::{Caller, Role, TenantId};

/// A lease that is not renewed expires after this many seconds.
pub const LEASE_SECONDS: i32 = 90;
/// Hours after the address's expiry for which the file is still awaited: a transfer that began in time may take that long.
const GRACE_HOURS: i32 = 6;
/// Maximum number of imports, of all tenants, that run at the same time. Each takes connections of its own, and the rest of the API
/// needs some, too.
pub const MAX_RUNNING_IMPORTS: i32 = 4;

/// A request for a large upload.
#[derive(Debug)]
pub struct NewImport<'a> {
    /// The upload's id, which is the object's name as well.
    pub id: Uuid,
    /// Name of the dataset.
    pub dataset: &'a str,
    /// The upload's fields as they were sent.
    pub options: &'a Value,
    /// Whether nothing is to be appended.
    pub dry_run: bool,
    /// Whether the import begins when its file has arrived, without a confirmation of its options.
    pub starts: bool,
    /// Seconds for which the file may be sent, or its options may be confirmed.
    pub seconds: i32,
}

/// What the inspection of a file found.
#[derive(Debug)]
pub struct Inspection<'a> {
    /// SHA-256 of the file.
    pub file_sha256: &'a [u8],
    /// Its header.
    pub header: &'a [String],
    /// The character that separates its fields.
    pub delimiter: char,
    /// Headers of columns that are not read.
    pub ignored_columns: &'a [String],
    /// The upload's fields, with those that the file has decided.
    pub options: &'a Value,
    /// What the caller should know of it: a list of codes and messages.
    pub warnings: &'a Value,
    /// How many rows it has.
    pub rows: i64,
    /// Its encoding, delimiter and header as JSON.
    pub reader: &'a Value,
    /// The resume point before its first row.
    pub resume_point: &'a Value,
    /// How many partitions its rows are dispatched to.
    pub partitions: i32,
}

/// How an import ends.
#[derive(Debug)]
pub struct ImportEnd<'a> {
    /// `Completed` or `Failed`.
    pub status: UploadStatus,
    /// Why the file as a whole was refused: code and detail.
    pub failure: Option<&'a Value>,
    /// Maximum number of rejected rows that the report keeps.
    pub rows_kept: i64,
}

/// The outcome of an attempt to acquire the lease of an import.
#[derive(Debug)]
pub enum AcquireOutcome {
    /// This process holds the lease.
    Acquired(Box<LeasedImport>),
    /// Another worker holds the lease, or [`MAX_RUNNING_IMPORTS`] others are leased.
    Busy,
    /// The import has ended.
    Ended,
    /// There is no import with this id.
    Unknown,
}

const REQUEST_IMPORT: &str = "-- request_import
with upload as (
    insert into annals.uploads (id, tenant_id, started_by, dataset, status, dry_run, options)
    values ($1, $2, $3, $4, 'waiting', $5, $6)
)
insert into annals.imports (upload_id, expires_at, claims, context, starts)
values ($1, clock_timestamp() + make_interval(secs => $7), $8, $9, $10)";

const ACQUIRE_LEASE: &str = "-- acquire_import_lease
select annals.acquire_import_lease($1, $2, $3, $4) as acquired";

const READ_LEASED_IMPORT: &str = "-- read_leased_import
select i.claims, i.context, i.attempts, i.object_tag, i.reader, i.resume_point, u.dataset, u.dry_run, u.options, u.status, u.file_sha256,
       i.starts, i.inspection->>'object_tag' as inspected_tag, case when i.inspection is null then i.asked end as asked, i.expires_at + make_interval(hours => $3) < clock_timestamp() as is_over
  from annals.imports i join annals.uploads u on u.id = i.upload_id
 where i.upload_id = $1 and i.holder = $2";

const RENEW_LEASE: &str = "-- renew_import_lease
update annals.imports set held_until = clock_timestamp() + make_interval(secs => $3) where upload_id = $1 and holder = $2
returning 1";

const RELEASE_LEASE: &str = "-- release_import_lease
update annals.imports set holder = null, held_until = null, attempts = case when $3 then 0 else attempts end
 where upload_id = $1 and holder = $2";

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

const RECORD_INSPECTION: &str = "-- record_import_inspection
with noted as (
    update annals.imports set rows_found = $3, reader = $4, resume_point = $5, partitions = $6, attempts = 0
     where upload_id = $1 and holder = $2 and reader is null
    returning 1
), described as (
    update annals.uploads set file_sha256 = $7, header = $8, delimiter = $9, ignored_columns = $10, warnings = $11, options = $12
     where id = $1 and exists (select from noted)
)
insert into annals.import_partitions (upload_id, partition)
select $1, partition from generate_series(0, $6 - 1) as partition where exists (select from noted)
returning partition";

const FINISH_IMPORT: &str = include_str!("queries/imports/finish.sql");

impl Store {
    /// Records the request for a large upload, together with its event.
    ///
    /// # Errors
    /// A refusal of the append.
    pub async fn request_import(
        &self,
        caller: &Caller,
        event: CheckedEvents<'_>,
        context: &Value,
        new: &NewImport<'_>,
    ) -> Result<(), StoreError> {
        let request = Statement::new(REQUEST_IMPORT)
            .with(new.id, Type::UUID)
            .with(*caller.tenant_uuid(), Type::UUID)
            .with(caller.actor().as_str(), Type::TEXT)
            .with(new.dataset, Type::TEXT)
            .with(new.dry_run, Type::BOOL)
            .with(Json(new.options), Type::JSONB)
            .with(f64::from(new.seconds), Type::FLOAT8)
            .with(Json(caller.database_claims()), Type::JSONB)
            .with(Json(context), Type::JSONB)
            .with(new.starts, Type::BOOL);
        self.append_also(caller, event, context, &[request]).await
    }

    /// Acquires the lease of an import that no other worker holds, unless [`MAX_RUNNING_IMPORTS`] others are leased.
    pub async fn acquire_lease(&self, id: Uuid) -> Result<AcquireOutcome, StoreError> {
        let holder = Uuid::new_v4();
        let seconds = f64::from(LEASE_SECONDS);
        let params: [Param<'_>; 4] = [
            (&id, Type::UUID),
            (&holder, Type::UUID),
            (&seconds, Type::FLOAT8),
            (&MAX_RUNNING_IMPORTS, Type::INT4),
        ];
        let acquired = self.write(As::Projector, ACQUIRE_LEASE, &params).await;
        let acquired = acquired?;
        if acquired.first().map_or(Ok(false), |row| row.try_get("acquired"))? {
            return Ok(AcquireOutcome::Acquired(Box::new(self.read_leased(id, holder).await?)));
        }
        Ok(match self.find_import(id).await? {
            None => AcquireOutcome::Unknown,
            Some(true) => AcquireOutcome::Ended,
            Some(false) => AcquireOutcome::Busy,
        })
    }

    /// Reads again an import whose lease this process holds.
    ///
    /// # Errors
    /// [`TAKEN_OVER`] if another worker holds the lease by now.
    pub async fn leased_import(&self, import: &LeasedImport) -> Result<LeasedImport, StoreError> {
        self.read_leased(import.id, import.holder).await
    }

    async fn read_leased(&self, id: Uuid, holder: Uuid) -> Result<LeasedImport, StoreError> {
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&holder, Type::UUID), (&GRACE_HOURS, Type::INT4)];
        let rows = self.read(As::Projector, READ_LEASED_IMPORT, &params).await?;
        let mut leased = leased_from(rows.first().ok_or_else(taken_over)?, id, holder)?;
        leased.partitions = self.import_partitions(id).await?;
        Ok(leased)
    }

    /// Renews a lease for another [`LEASE_SECONDS`].
    ///
    /// # Errors
    /// [`TAKEN_OVER`] if another worker holds the lease by now.
    pub async fn renew_lease(&self, id: Uuid, holder: Uuid) -> Result<(), StoreError> {
        let seconds = f64::from(LEASE_SECONDS);
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&holder, Type::UUID), (&seconds, Type::FLOAT8)];
        let renewed = self.write(As::Projector, RENEW_LEASE, &params).await;
        match renewed?.first() {
            Some(_) => Ok(()),
            // The import has ended, so no lease is needed any more: this worker ended it and is cleaning up, or another one has taken
            // it over and ended it.
            None if self.find_import(id).await? == Some(true) => Ok(()),
            None => Err(taken_over()),
        }
    }

    /// Releases a lease, so the next attempt need not wait until it expires. `did_all`: the attempt did all that could be done, and is not
    /// counted.
    pub async fn release_lease(&self, id: Uuid, holder: Uuid, did_all: bool) -> Result<(), StoreError> {
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&holder, Type::UUID), (&did_all, Type::BOOL)];
        let released = self.write(As::Projector, RELEASE_LEASE, &params).await;
        released.map(|_| ())
    }

    /// Begins an import whose file has arrived, together with its event.
    ///
    /// # Errors
    /// A refusal of the append; [`TAKEN_OVER`] if another worker holds the lease by now.
    pub async fn start_import(
        &self,
        import: &LeasedImport,
        event: CheckedEvents<'_>,
        (tag, size): (&str, i64),
    ) -> Result<(), StoreError> {
        let start = Statement::new(START_IMPORT)
            .with(import.id, Type::UUID)
            .with(import.holder, Type::UUID)
            .with(tag, Type::TEXT)
            .with(size, Type::INT8);
        self.append_also(&import.caller, event, &import.context, &[start]).await
    }

    /// Records what the inspection of the file found, and creates the partitions.
    ///
    /// # Errors
    /// [`TAKEN_OVER`] if another worker holds the lease by now.
    pub async fn record_inspection(&self, import: &LeasedImport, found: &Inspection<'_>) -> Result<(), StoreError> {
        let delimiter = found.delimiter.to_string();
        let params: [Param<'_>; 12] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&found.rows, Type::INT8),
            (&Json(found.reader), Type::JSONB),
            (&Json(found.resume_point), Type::JSONB),
            (&found.partitions, Type::INT4),
            (&found.file_sha256, Type::BYTEA),
            (&found.header, Type::TEXT_ARRAY),
            (&delimiter, Type::TEXT),
            (&found.ignored_columns, Type::TEXT_ARRAY),
            (&Json(found.warnings), Type::JSONB),
            (&Json(found.options), Type::JSONB),
        ];
        let recorded = self.write(As::Projector, RECORD_INSPECTION, &params).await;
        if recorded?.is_empty() {
            return Err(taken_over());
        }
        Ok(())
    }

    /// Ends an import, together with its event; with [`CheckedEvents::NONE`] if the catalog refuses that event.
    ///
    /// # Errors
    /// A refusal of the append; [`TAKEN_OVER`] if another worker holds the lease by now.
    pub async fn finish_import(
        &self,
        import: &LeasedImport,
        event: CheckedEvents<'_>,
        end: &ImportEnd<'_>,
    ) -> Result<(), StoreError> {
        let finish = Statement::new(FINISH_IMPORT)
            .with(import.id, Type::UUID)
            .with(import.holder, Type::UUID)
            .with(end.status.as_str(), Type::TEXT)
            .with(end.failure.map(Json), Type::JSONB)
            .with(end.rows_kept, Type::INT8);
        self.append_also(&import.caller, event, &import.context, &[finish])
            .await
    }
}

fn leased_from(row: &Row, id: Uuid, holder: Uuid) -> Result<LeasedImport, StoreError> {
    let Json(claims) = row.try_get::<_, Json<Value>>("claims")?;
    let Json(context) = row.try_get::<_, Json<Value>>("context")?;
    let Json(options) = row.try_get::<_, Json<Value>>("options")?;
    let json = |name: &str| -> Result<Option<Value>, StoreError> {
        Ok(row.try_get::<_, Option<Json<Value>>>(name)?.map(|Json(value)| value))
    };
    Ok(LeasedImport {
        id,
        holder,
        dataset: row.try_get("dataset")?,
        options,
        caller: caller_from(&claims).ok_or_else(|| StoreError::Unexpected("claims that name no caller".to_owned()))?,
        context,
        dry_run: row.try_get("dry_run")?,
        is_running: UploadStatus::from_name(row.try_get("status")?)? == UploadStatus::Running,
        is_over: row.try_get("is_over")?,
        attempts: row.try_get("attempts")?,
        object_tag: row.try_get("object_tag")?,
        inspected_tag: row.try_get("inspected_tag")?,
        reader: json("reader")?,
        resume_point: json("resume_point")?,
        file_sha256: row.try_get("file_sha256")?,
        starts: row.try_get("starts")?,
        asked: json("asked")?,
        partitions: Vec::new(),
    })
}

/// The caller whose [`Caller::database_claims`] these are.
fn caller_from(claims: &Value) -> Option<Caller> {
    let app = &claims["app_metadata"];
    let tenant = app["tenant_id"].as_str()?.parse::<Uuid>().ok().map(TenantId::from)?;
    let role = Role::from_name(app["role"].as_str()?)?;
    let subject = claims["sub"].as_str()?.parse().ok()?;
    Caller::new(tenant, role, subject, app["name"].as_str().map(str::to_owned)).ok()
}
