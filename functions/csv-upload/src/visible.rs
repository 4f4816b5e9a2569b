//! An upload that the caller may see.

use annals_domain::Caller;
use annals_http::ApiError;
use annals_store::UploadRecord;
use uuid::Uuid;

use crate::App;

/// The upload with this id.
///
/// # Errors
/// 404 if there is none, or if the caller may not see it; the database's.
pub(crate) async fn visible_upload(app: &App, caller: &Caller, id: &str) -> Result<UploadRecord, ApiError> {
    let missing = || ApiError::not_found("there is no upload with this id, or you may not see it");
    let id = Uuid::try_parse(id).map_err(|_| missing())?;
    app.store.find_upload(caller, id).await?.ok_or_else(missing)
}
