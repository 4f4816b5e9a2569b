//! The projector on Lambda.

use annals::config::{DatabaseConfig, snapshot_every};
use annals::store::Store;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use projector::{Invocation, Projector};

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals::telemetry::start();
    let projector = Projector::new(Store::new(&DatabaseConfig::from_env()?)?, snapshot_every()?);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        projector.handle(event.payload).await.map_err(Error::from)
    }))
    .await
}
