//! The Lambda binary of migrate.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals_telemetry::start();
    // The configuration is read in the invocation, not here. A function that fails at its start sends no answer, and the deployment would
    // wait for one.
    run(service_fn(async |event: LambdaEvent<Value>| {
        migrate::handle(event.payload, migrate::TIME_LIMIT, migrate::as_configured()).await
    }))
    .await
}
