//! audit-query on Lambda.

use annals::{App, config::Config};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals::telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    lambda_http::run(annals::http::finish(audit_query::router(app))).await
}
