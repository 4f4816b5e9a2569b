//! The Lambda binary of csv-upload.

use annals_config::Config;
use csv_upload::App;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals_telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    annals_http::serve(csv_upload::router(app)).await
}
