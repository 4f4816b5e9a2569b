//! The projector on Lambda.

use annals::config::{DatabaseConfig, snapshot_every};
use annals::store::Store;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use projector::{CONNECTIONS, Invocation, Projector};

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals::telemetry::start();
    let mut database = DatabaseConfig::from_env()?;
    // Made when they are needed: projecting takes one.
    database.pool_size = database.pool_size.max(CONNECTIONS);
    let projector = Projector::new(Store::new(&database)?, snapshot_every()?);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        projector.handle(event.payload).await.map_err(Error::from)
    }))
    .await
}
