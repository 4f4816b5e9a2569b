//! audit-query on Lambda.

use annals::{App, config::Config, http};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals::telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    http::serve(audit_query::router(app)).await
}
