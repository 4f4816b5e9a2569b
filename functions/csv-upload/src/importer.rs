//! The importer of large files on Lambda.

use annals::config::{DatabaseSettings, upload_bucket, wake_queue_url};
use annals::queue::Queue;
use annals::storage::{S3, Storage};
use annals::store::{Access, Store, told};
use annals::telemetry::{self, Ids};
use csv_upload::import::{CONNECTIONS, Importer, Invocation, TIME};
use futures_util::FutureExt;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let database = DatabaseSettings::from_env()?;
    let access = Access::of(database.address, database.login)?;
    // Made when they are needed.
    let store = Store::open(access, database.pool_size.max(CONNECTIONS))?;
    let storage = Storage::S3(S3::of_function(upload_bucket()?)?);
    let importer = Importer::new(store, Queue::of_function(wake_queue_url()), storage);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        let deadline = Some(Instant::now() + TIME);
        let ids = Ids::of_invocation(event.context.request_id, event.context.xray_trace_id);
        let done = telemetry::within(ids, importer.handle(event.payload, deadline).boxed()).await;
        // Lambda keeps the error with the failed event, and prints it.
        done.map_err(|error| Error::from(told(&error)))
    }))
    .await
}
