//! Imports that are due, and the purge of what finished imports have left.

use std::time::Instant;

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};

/// Imports without a lease: those whose worker was killed or ran out of time, and those whose file may have arrived although its event
/// was lost. Those that wait for a confirmation only if an inspection is asked for, or if they have waited too long.
const LIST_DUE_IMPORTS: &str = "-- list_due_imports
select u.id, case when u.status = 'running' then i.attempts else 0 end as attempts
  from annals.uploads u join annals.imports i on i.upload_id = u.id
 where u.status in ('waiting', 'running') and (i.held_until is null or i.held_until < clock_timestamp())
   and (i.starts or (i.asked is not null and i.inspection is null) or i.expires_at < clock_timestamp())
 order by u.status, i.attempts, u.created_at limit $1";

/// An import that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueImport {
    /// The upload.
    pub id: Uuid,
    /// Attempts since its last progress; 0 while its file is awaited.
    pub attempts: i32,
}

const LIST_TO_PURGE: &str = "-- list_imports_to_purge
select i.upload_id from annals.imports i join annals.uploads u on u.id = i.upload_id
 where i.partitions is not null and u.status in ('completed', 'failed') limit 1000";

const DELETE_CONTENTS: &str = "-- delete_import_contents
delete from annals.import_contents c
 where c.ctid = any (array(select o.ctid from annals.import_contents o where o.upload_id = $1 limit 10000))
returning 1";

/// Another process may be purging the same import. Rows that it is deleting are not visible as deleted before it commits, so this checks
/// that none is left.
const MARK_PURGED: &str = "-- mark_import_purged
update annals.imports i set partitions = null
 where i.upload_id = $1 and not exists (select from annals.import_contents c where c.upload_id = i.upload_id)";

const LIST_OPEN: &str = "-- list_open_imports
select u.id from annals.uploads u where u.id = any ($1) and u.status in ('waiting', 'running')";

const FIND_IMPORT: &str = "-- find_import
select u.status in ('completed', 'failed') as has_ended
  from annals.imports i join annals.uploads u on u.id = i.upload_id
 where i.upload_id = $1";

impl Store {
    /// Whether an import has ended; `None` if it does not exist.
    pub(super) async fn find_import(&self, id: Uuid) -> Result<Option<bool>, StoreError> {
        let found = self.read(As::Projector, FIND_IMPORT, &[(&id, Type::UUID)]).await?;
        Ok(found.first().map(|row| row.try_get("has_ended")).transpose()?)
    }

    /// Imports that have not ended and that no worker holds a lease of.
    pub async fn due_imports(&self, limit: i64) -> Result<Vec<DueImport>, StoreError> {
        let rows = self
            .read(As::Projector, LIST_DUE_IMPORTS, &[(&limit, Type::INT8)])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(DueImport {
                    id: row.try_get("id")?,
                    attempts: row.try_get("attempts")?,
                })
            })
            .collect()
    }

    /// Deletes the rows that finished imports needed only while they ran, until the given time.
    pub async fn purge_finished(&self, until: Option<Instant>) -> Result<(), StoreError> {
        let is_over = || until.is_some_and(|until| Instant::now() >= until);
        for row in self.read(As::Projector, LIST_TO_PURGE, &[]).await? {
            let id: Uuid = row.try_get("upload_id")?;
            let params: [Param<'_>; 1] = [(&id, Type::UUID)];
            loop {
                if is_over() {
                    return Ok(());
                }
                if self.write(As::Projector, DELETE_CONTENTS, &params).await?.is_empty() {
                    break;
                }
            }
            self.write(As::Projector, MARK_PURGED, &params).await?;
        }
        Ok(())
    }

    /// Those of these imports that have not ended.
    pub async fn open_imports(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let rows = self.read(As::Projector, LIST_OPEN, &[(&ids, Type::UUID_ARRAY)]).await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }
}
