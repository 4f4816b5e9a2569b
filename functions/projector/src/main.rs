//! The Lambda binary of projector.

use annals_config::{DatabaseSettings, snapshot_every, sweep_by_wake_ups, wake_queue_url};
use annals_queue::Queue;
use annals_store::{Store, redacted_error};
use annals_telemetry::Ids;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use projector::{CONNECTIONS, Invocation, Projector};

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals_telemetry::start();
    let store = Store::of_function(DatabaseSettings::from_env()?, CONNECTIONS)?;
    // Projecting takes one connection. It is opened during the start, so that no event waits for it. Rebuilds open more.
    let _connected = store.connect_early().await;
    // A client of SQS costs some milliseconds at the start, so it is made only if it is used.
    let queue = Queue::of_function(wake_queue_url().filter(|_| sweep_by_wake_ups()));
    let projector = Projector::new(store, snapshot_every()?).with_queue(queue);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        let ids = Ids::of_invocation(event.context.request_id, event.context.xray_trace_id);
        let answer = annals_telemetry::within(ids, projector.handle(event.payload)).await;
        // Lambda logs the error and stores it with the failed event, so it must hold no data.
        answer.map_err(|error| Error::from(redacted_error(&error)))
    }))
    .await
}
