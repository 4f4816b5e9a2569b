//! The projector on Lambda.

use annals::config::{DatabaseSettings, snapshot_every};
use annals::store::{Access, Store};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use projector::{CONNECTIONS, Invocation, Projector};

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals::telemetry::start();
    let database = DatabaseSettings::from_env()?;
    let access = Access::of(database.address, database.login).await?;
    // Made when they are needed: projecting takes one.
    let store = Store::open(access, database.pool_size.max(CONNECTIONS))?;
    let projector = Projector::new(store, snapshot_every()?);
    run(service_fn(async |event: LambdaEvent<Invocation>| {
        projector.handle(event.payload).await.map_err(Error::from)
    }))
    .await
}
