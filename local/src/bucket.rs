//! Large files: clients upload them here, and a background task imports them. A deployment has an S3 bucket and the function importer for
//! this.

use std::time::Duration;

use annals_http::{ApiError, Params, Path, Problem};
use annals_import::Importer;
use annals_storage::{Folder, WriteError};
use annals_store::Store;
use annals_telemetry::chain;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::put;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use uuid::Uuid;

use crate::shutdown::Shutdown;

/// How often due imports are looked for. Deployed, a schedule does it each minute.
const IMPORT_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Bucket {
    folder: Folder,
    store: Store,
    uploaded: UnboundedSender<Uuid>,
}

/// Stores uploaded files in the folder, as the bucket does, and sends the id of each to `uploaded`, as the bucket's events do.
pub fn router(folder: Folder, store: Store, uploaded: UnboundedSender<Uuid>) -> Router {
    Router::new()
        .route("/uploads/{id}", put(receive_file))
        .layer(DefaultBodyLimit::disable())
        .with_state(Bucket {
            folder,
            store,
            uploaded,
        })
}

async fn receive_file(
    State(bucket): State<Bucket>,
    Path(id): Path<String>,
    mut params: Params,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found("there is no such upload"))?;
    let token = params.one("token")?.unwrap_or_default();
    params.end()?;
    bucket.folder.check(id, &token).map_err(refused)?;
    // Checked before the body is read, because nothing would import or delete the file of a finished upload.
    if bucket.store.open_imports(&[id]).await?.is_empty() {
        let detail = "this upload is finished; create another one with POST /api/v1/data/uploads";
        return Err(Problem::new(StatusCode::GONE, "upload_ended", detail).into());
    }
    let written = bucket.folder.write(id, &token, body.into_data_stream()).await;
    written.map_err(refused)?;
    // This fails only if the import task has ended. The next start of the server finds the file.
    let _ = bucket.uploaded.send(id);
    Ok(StatusCode::OK)
}

fn refused(error: WriteError) -> ApiError {
    let (status, code) = match &error {
        WriteError::Token => (StatusCode::FORBIDDEN, "address_expired"),
        WriteError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "file_too_large"),
        WriteError::BrokeOff => (StatusCode::BAD_REQUEST, "file_broke_off"),
        WriteError::Disk(_) => return ApiError::Internal(Box::new(error)),
    };
    Problem::new(status, code, error.to_string()).into()
}

/// Imports uploaded files, and every few seconds the imports that are due. On shutdown it stops in the middle of an import, which continues
/// at the next start, as after a kill. `left` are the files that earlier runs have left in the folder.
pub async fn import(importer: Importer, left: Vec<Uuid>, uploaded: UnboundedReceiver<Uuid>, mut shutdown: Shutdown) {
    tokio::select! {
        () = Box::pin(run(importer, left, uploaded)) => {}
        () = shutdown.requested() => {}
    }
}

async fn run(importer: Importer, left: Vec<Uuid>, mut uploaded: UnboundedReceiver<Uuid>) {
    // Deletes files whose upload is finished: no import will read them. In a bucket, a lifecycle rule deletes them after a week.
    if let Err(error) = importer.delete_ended(&left).await {
        tracing::warn!(error = chain(&error), "files of finished uploads not deleted");
    }
    loop {
        let done = tokio::select! {
            Some(id) = uploaded.recv() => Box::pin(importer.import_file(id, None)).await,
            () = tokio::time::sleep(IMPORT_EVERY) => Box::pin(importer.import_due(None)).await,
        };
        if let Err(error) = done {
            tracing::warn!(
                error = chain(&error),
                "import failed; it is tried again in a few seconds"
            );
        }
    }
}
