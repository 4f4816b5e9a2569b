//! scratch
use annals::{
    App,
    auth::Verifier,
    config::{AuthConfig, DatabaseConfig},
    queue::Queue,
    store::Store,
};
use std::sync::Arc;
#[tokio::main]
async fn main() {
    annals::telemetry::start();
    let store = Store::new(&DatabaseConfig {
        url: "postgres://owner@127.0.0.1:5499/csv_scratch?sslmode=disable".into(),
        pool_size: 4,
    })
    .unwrap();
    let verifier = Verifier::new(&AuthConfig {
        secret: Some("x".repeat(40)),
        audience: "authenticated".into(),
        ..Default::default()
    })
    .unwrap();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut n = 0;
        while rx.recv().await.is_some() {
            n += 1;
            if n % 25 == 0 {
                tracing::info!(n, "wake-ups");
            }
        }
    });
    let app = App {
        store,
        verifier: Arc::new(verifier),
        queue: Queue::Channel(tx),
    };
    let l = tokio::net::TcpListener::bind("127.0.0.1:3999").await.unwrap();
    axum::serve(l, annals::http::finish(csv_upload::router(app)))
        .await
        .unwrap();
}
