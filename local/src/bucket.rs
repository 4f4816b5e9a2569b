//! What a deployment has a bucket and a function of its own for: files are sent here, and imported beside everything else.

use std::time::Duration;

use annals::http::{ApiError, Params, Path, Problem};
use annals::storage::{Folder, WriteError};
use annals::store::Store;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::put;
use csv_upload::Importer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use uuid::Uuid;

use crate::error::one_line;
use crate::shutdown::Shutdown;

/// The place of the importer's schedule.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Bucket {
    folder: Folder,
    store: Store,
    came: UnboundedSender<Uuid>,
}

/// Takes files in, and says which have come: the place of the bucket and of its events.
pub fn router(folder: Folder, store: Store, came: UnboundedSender<Uuid>) -> Router {
    Router::new()
        .route("/uploads/{id}", put(take))
        .layer(DefaultBodyLimit::disable())
        .with_state(Bucket { folder, store, came })
}

async fn take(
    State(bucket): State<Bucket>,
    Path(id): Path<String>,
    mut params: Params,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found("there is no such upload"))?;
    let token = params.one("token")?.unwrap_or_default();
    params.end()?;
    bucket.folder.check(id, &token).map_err(refused)?;
    // Before the body is read: nothing would ever import it, or delete it.
    if bucket.store.open_imports(&[id]).await?.is_empty() {
        let detail = "this upload has come to its end; ask for another one by POST /api/v1/data/uploads";
        return Err(Problem::new(StatusCode::GONE, "upload_ended", detail).into());
    }
    let written = bucket.folder.write(id, &token, body.into_data_stream()).await;
    written.map_err(refused)?;
    // Where nobody listens any more, the next start's look finds it.
    let _ = bucket.came.send(id);
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

/// The importer's place: imports what has come, and looks now and then for what is due. Told to end, it leaves what it is at to the
/// next start, like one that is killed. `left` are the files of former runs.
pub async fn import(importer: Importer, left: Vec<Uuid>, came: UnboundedReceiver<Uuid>, mut shutdown: Shutdown) {
    tokio::select! {
        () = Box::pin(work(importer, left, came)) => {}
        () = shutdown.asked() => {}
    }
}

async fn work(importer: Importer, left: Vec<Uuid>, mut came: UnboundedReceiver<Uuid>) {
    // No import will ever ask for some of them: a bucket's own rule deletes those after a week.
    if let Err(error) = importer.delete_ended(&left).await {
        tracing::warn!(error = one_line(&error), "files that are nobody's stay where they are");
    }
    loop {
        let done = tokio::select! {
            Some(id) = came.recv() => Box::pin(importer.import_file(id, None)).await,
            () = tokio::time::sleep(LOOK_EVERY) => Box::pin(importer.import_due(None)).await,
        };
        if let Err(error) = done {
            tracing::warn!(error = one_line(&error), "import left; it goes on with the next look");
        }
    }
}
