//! The Lambda binary of importer.

use annals_config::{DatabaseSettings, upload_bucket, wake_queue_url};
use annals_import::{CONNECTIONS, Importer};
use annals_queue::Queue;
use annals_storage::{S3, Storage};
use annals_store::{Store, redacted_error};
use annals_telemetry::Ids;
use futures_util::FutureExt;
use importer::{Invocation, TIME, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals_telemetry::start();
    let store = Store::of_function(DatabaseSettings::from_env()?, CONNECTIONS)?;
    let storage = Storage::S3(S3::of_function(upload_bucket()?)?);
    let importer = Importer::new(store, Queue::of_function(wake_queue_url()), storage);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        let deadline = Some(Instant::now() + TIME);
        let ids = Ids::of_invocation(event.context.request_id, event.context.xray_trace_id);
        let done = annals_telemetry::within(ids, handle(&importer, event.payload, deadline).boxed()).await;
        // Lambda stores the error with the failed event, and logs it.
        done.map_err(|error| Error::from(redacted_error(&error)))
    }))
    .await
}
