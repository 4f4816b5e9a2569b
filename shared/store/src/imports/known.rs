//! Uploads of a file that is known: those with the same bytes.

use annals_domain::Caller;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};

/// The latest few: who has imported a file so often in different ways has been told so.
const UPLOADS_OF_FILE: &str = "-- uploads_of_file
select u.id, u.options, u.header
  from annals.uploads u
 where u.tenant_id = $1 and u.file_sha256 = $2 and (u.events_appended > 0 or u.status = 'running') and u.dataset = $3 and u.header is not null
 order by u.created_at desc limit 100";

/// An earlier upload of a file.
#[derive(Debug)]
pub struct EarlierUpload {
    /// Its id.
    pub id: Uuid,
    /// Whether what it appended is being compensated.
    pub is_reverting: bool,
    /// Its fields as they were sent.
    pub options: Value,
    /// The file's header.
    pub header: Vec<String>,
}

impl Store {
    /// The uploads of the same file as the same dataset that have appended events, or may be appending them, and that the caller may see, latest first. Without those
    /// of which all was compensated: their rows are imported again.
    pub async fn uploads_of_file(
        &self,
        caller: &Caller,
        dataset: &str,
        file_sha256: &[u8],
    ) -> Result<Vec<EarlierUpload>, StoreError> {
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&file_sha256, Type::BYTEA),
            (&dataset, Type::TEXT),
        ];
        let rows = self.read(As::Caller(caller), UPLOADS_OF_FILE, &params).await?;
        let earlier = rows.iter().map(|row| {
            Ok(EarlierUpload {
                id: row.try_get("id")?,
                is_reverting: false,
                options: row.try_get::<_, Json<Value>>("options")?.0,
                header: row.try_get("header")?,
            })
        });
        let mut earlier = earlier.collect::<Result<Vec<EarlierUpload>, StoreError>>()?;
        let ids: Vec<Uuid> = earlier.iter().map(|upload| upload.id).collect();
        let reverts = self.reverts_among(&ids).await?;
        earlier.retain(|upload| reverts.get(&upload.id) != Some(&Some(0)));
        for upload in &mut earlier {
            upload.is_reverting = reverts.get(&upload.id) == Some(&None);
        }
        Ok(earlier)
    }
}
