//! The CSV upload on Lambda.

use annals::{App, config::Config, http};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals::telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    http::serve(csv_upload::router(app)).await
}
