//! The CSV upload on Lambda.

use annals::App;
use annals::config::Config;
use lambda_http::{Error, run};

#[tokio::main]
async fn main() -> Result<(), Error> {
    annals::telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    run(annals::http::finish(csv_upload::router(app))).await
}
