//! post-event on Lambda.

use annals::{App, config::Config};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals::telemetry::start();
    let app = App::new(Config::from_env()?).await?;
    lambda_http::run(annals::http::finish(post_event::router(app))).await
}
