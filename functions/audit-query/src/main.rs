//! The Lambda binary of audit-query.

use annals_config::Config;
use audit_query::App;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals_telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    annals_http::serve(audit_query::router(app)).await
}
