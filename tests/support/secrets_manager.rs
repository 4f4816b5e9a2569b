//! A stand-in for AWS Secrets Manager on loopback: one secret for every ARN, and a count of requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use annals_aws::secrets::Secrets;
use aws_credential_types::Credentials;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Region};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A running service; it ends with the test's runtime.
pub struct SecretsManager {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    secret: Mutex<Option<String>>,
    asked: AtomicUsize,
}

impl SecretsManager {
    /// Starts a service with this secret.
    pub async fn with(secret: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::<Shared>::default();
        let service = Self {
            port,
            shared: Arc::clone(&shared),
        };
        service.put(&secret.to_string());
        let answer = move || {
            let shared = Arc::clone(&shared);
            async move {
                shared.asked.fetch_add(1, Ordering::SeqCst);
                let secret = shared.secret.lock().expect("no panic elsewhere").clone();
                let (status, body) = match secret {
                    Some(text) => (
                        StatusCode::OK,
                        json!({"Name": "annals", "VersionId": "1", "SecretString": text}),
                    ),
                    None => (StatusCode::BAD_REQUEST, json!({"__type": "AccessDeniedException"})),
                };
                (
                    status,
                    [(header::CONTENT_TYPE, "application/x-amz-json-1.1")],
                    body.to_string(),
                )
            }
        };
        let router = Router::new().route("/", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    /// Replaces the text of the secret.
    pub fn put(&self, text: &str) {
        *self.shared.secret.lock().expect("no panic elsewhere") = Some(text.to_owned());
    }

    /// From now on access is denied.
    pub fn deny(&self) {
        *self.shared.secret.lock().expect("no panic elsewhere") = None;
    }

    /// Number of requests.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// The secret as a new process would use it.
    pub fn secrets(&self) -> Arc<Secrets> {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "tests"))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .retry_config(RetryConfig::disabled())
            .build();
        Secrets::new(Client::from_conf(config), "arn:of:no:account".to_owned())
    }
}
