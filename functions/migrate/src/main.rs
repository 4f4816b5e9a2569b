//! migrate on Lambda.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals::telemetry::start();
    // Nothing is read before an invocation: a function that cannot start answers nobody, and a deployment would wait for it.
    run(service_fn(async |event: LambdaEvent<Value>| {
        migrate::handle(event.payload, migrate::TIME, migrate::as_configured()).await
    }))
    .await
}
