//! The Lambda binary of post-event.

use annals_config::Config;
use post_event::App;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals_telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    annals_http::serve(post_event::router(app)).await
}
