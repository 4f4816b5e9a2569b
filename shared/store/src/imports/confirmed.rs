//! Imports that wait until their options are confirmed, and the inspections of their files.

use annals_domain::Caller;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::leased::{LeasedImport, taken_over};
use crate::connection::statement::{As, Param, Statement};
use crate::{CheckedEvents, Refusal, RefusalKind, Store, StoreError};

const ASK_INSPECTION: &str = "-- ask_inspection
update annals.imports i set asked = $2, inspection = null, attempts = 0
  from annals.uploads u
 where i.upload_id = $1 and u.id = i.upload_id and u.status = 'waiting' and not i.starts
returning 1";

const FIND_INSPECTION: &str = "-- find_inspection
select i.inspection from annals.imports i where i.upload_id = $1 and i.asked is not null";

/// Only the answer to what is still asked is kept.
const ANSWER_INSPECTION: &str = "-- answer_inspection
update annals.imports i set inspection = $4 where i.upload_id = $1 and i.holder = $2 and i.asked = $3
returning 1";

const CONFIRM_IMPORT: &str = "-- confirm_import
with confirmed as (
    update annals.imports i set starts = true
      from annals.uploads u
     where i.upload_id = $1 and u.id = i.upload_id and u.status = 'waiting' and not i.starts
    returning 1
), described as (
    update annals.uploads set options = $2, dry_run = $3 where id = $1 and exists (select from confirmed)
    returning 1
)
select exists (select from described) or annals.refuse(409, 'import_started', 'the import has begun, or needs no confirmation')";

impl Store {
    /// Asks for an inspection of the file of an import that is not confirmed.
    ///
    /// # Errors
    /// `import_started`: the import has begun, or needs no confirmation.
    pub async fn ask_inspection(&self, id: Uuid, fields: &Value) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&id, Type::UUID), (&Json(fields), Type::JSONB)];
        match self.write(As::Projector, ASK_INSPECTION, &params).await?.first() {
            Some(_) => Ok(()),
            None => {
                let message = "the import has begun, or needs no confirmation: request an upload with start=confirmed";
                Err(StoreError::Refused(Refusal::new(
                    RefusalKind::Conflict,
                    "import_started",
                    message,
                )))
            }
        }
    }

    /// The inspection of an import's file: `None` if none was asked for, `Some(None)` while it is not answered.
    pub async fn find_inspection(&self, id: Uuid) -> Result<Option<Option<Value>>, StoreError> {
        let rows = self.read(As::Projector, FIND_INSPECTION, &[(&id, Type::UUID)]).await?;
        let inspection = rows
            .first()
            .map(|row| row.try_get::<_, Option<Json<Value>>>("inspection"));
        Ok(inspection
            .transpose()?
            .map(|inspection| inspection.map(|Json(answer)| answer)))
    }

    /// Records the answer of an inspection.
    ///
    /// # Errors
    /// [`super::TAKEN_OVER`] if another worker holds the lease by now, or if something else was asked.
    pub async fn answer_inspection(
        &self,
        import: &LeasedImport,
        asked: &Value,
        answer: &Value,
    ) -> Result<(), StoreError> {
        let params: [Param<'_>; 4] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&Json(asked), Type::JSONB),
            (&Json(answer), Type::JSONB),
        ];
        match self.write(As::Projector, ANSWER_INSPECTION, &params).await?.first() {
            Some(_) => Ok(()),
            None => Err(taken_over()),
        }
    }

    /// Confirms how a file is to be read, together with the event that says so. The import begins when its file has arrived.
    ///
    /// # Errors
    /// A refusal of the append; `import_started`: the import has begun, or needs no confirmation.
    pub async fn confirm_import(
        &self,
        caller: &Caller,
        event: CheckedEvents<'_>,
        context: &Value,
        (id, options, dry_run): (Uuid, &Value, bool),
    ) -> Result<(), StoreError> {
        let confirm = Statement::new(CONFIRM_IMPORT)
            .with(id, Type::UUID)
            .with(Json(options), Type::JSONB)
            .with(dry_run, Type::BOOL);
        self.append_also(caller, event, context, &[confirm]).await
    }
}
