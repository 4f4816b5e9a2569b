//! The Lambda binary of console.

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    annals_telemetry::start();
    annals_http::serve(annals_console::router()).await
}
