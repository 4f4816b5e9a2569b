//! The projector on Lambda.

use annals::config::{DatabaseSettings, snapshot_every, sweep_by_wake_ups, wake_queue_url};
use annals::queue::Queue;
use annals::store::{Access, Store, told};
use annals::telemetry::{self, Ids};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use projector::{CONNECTIONS, Invocation, Projector};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let database = DatabaseSettings::from_env()?;
    let access = Access::of(database.address, database.login)?;
    let store = Store::open(access, database.pool_size.max(CONNECTIONS))?;
    // Projecting takes one connection, which is made before there is an event that would wait for it; rebuilding makes others.
    let _met = store.meet().await;
    // A client of SQS costs a start some milliseconds, so it is made only if it is used.
    let queue = Queue::of_function(wake_queue_url().filter(|_| sweep_by_wake_ups()));
    let projector = Projector::new(store, snapshot_every()?).with_queue(queue);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        let ids = Ids::of_invocation(event.context.request_id, event.context.xray_trace_id);
        let answer = telemetry::within(ids, projector.handle(event.payload)).await;
        // Lambda keeps the error with the failed event, and prints it.
        answer.map_err(|error| Error::from(told(&error)))
    }))
    .await
}
