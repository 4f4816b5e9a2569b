//! Functions as processes, and the part of Lambda's runtime interface that they need: the next invocation, and its answer. All processes
//! ask the same runtime, and each handles one invocation at a time, so concurrent requests need as many processes.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::local::built;
use crate::people::SECRET;

/// The time limit of an invocation that the function is given.
const DEADLINE: Duration = Duration::from_secs(300);

/// Maximum size of an answer in bytes.
const MAX_ANSWER: usize = 6_291_556;

/// The running runtime; it ends with the program.
pub struct Runtime {
    address: String,
    invocations: UnboundedSender<(String, Value)>,
    shared: Arc<Shared>,
}

struct Shared {
    next: tokio::sync::Mutex<UnboundedReceiver<(String, Value)>>,
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
}

impl Runtime {
    /// Starts listening.
    pub async fn start() -> Self {
        let (invocations, next) = unbounded_channel();
        let shared = Arc::new(Shared {
            next: tokio::sync::Mutex::new(next),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(hand_out))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(answered))
            .route("/queue/", post(take_message))
            .layer(DefaultBodyLimit::max(MAX_ANSWER))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            invocations,
            shared,
        }
    }

    /// Starts this binary as Lambda does, with this database address. Dropping the returned value kills it.
    pub fn process(&self, binary: &str, database_url: &str) -> Child {
        self.spawn(Command::new(built(binary)), binary, database_url)
    }

    /// The same with further settings, and with a limit on the address space in bytes; allocations beyond it abort the process.
    pub fn process_within(&self, bytes: u64, binary: &str, database_url: &str, settings: &[(&str, &str)]) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v $0 && exec \"$1\""])
            .arg((bytes / 1024).to_string())
            .arg(built(binary))
            .envs(settings.iter().copied());
        self.spawn(command, binary, database_url)
    }

    fn spawn(&self, mut command: Command, binary: &str, database_url: &str) -> Child {
        command
            .env("AWS_LAMBDA_RUNTIME_API", &self.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", binary)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("DATABASE_URL", database_url)
            .env("JWT_SECRET", SECRET)
            .env("JWT_ISSUER", "tests")
            .env("LOG_LEVEL", "error")
            // Lambda gives one core or less.
            .env("TOKIO_WORKER_THREADS", "1")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "none")
            .env("AWS_SECRET_ACCESS_KEY", "none")
            .env("AWS_ENDPOINT_URL_SQS", format!("http://{}/queue", self.address))
            .env("WAKE_QUEUE_URL", format!("http://{}/queue", self.address))
            .env_remove("DATABASE_POOL_SIZE")
            // As on Lambda, where no authorities are configured: otherwise each process would read the system's.
            .env_remove("SSL_CERT_FILE")
            .env_remove("SSL_CERT_DIR")
            .stdin(Stdio::null())
            // Its log lines would be about deliberate kills.
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command.spawn().expect("a process")
    }

    /// Invokes the function on any process, and returns its answer, which may be an error.
    pub async fn invoke(&self, payload: Value) -> Value {
        let (id, (answer, answered)) = (Uuid::new_v4().to_string(), oneshot::channel());
        self.shared
            .asked
            .lock()
            .expect("no panic elsewhere")
            .insert(id.clone(), answer);
        self.invocations.send((id, payload)).expect("the stand-in runs");
        answered.await.expect("the stand-in runs")
    }
}

async fn hand_out(State(shared): State<Arc<Shared>>) -> Response {
    let Some((id, payload)) = shared.next.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970") + DEADLINE;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:post-event".to_owned(),
        ),
    ];
    (headers, Json(payload)).into_response()
}

/// The answer of a function; it is JSON without a content type.
async fn answered(State(shared): State<Arc<Shared>>, Path(id): Path<String>, answer: Bytes) -> StatusCode {
    let Ok(answer) = serde_json::from_slice(&answer) else {
        return StatusCode::BAD_REQUEST;
    };
    let asked = shared.asked.lock().expect("no panic elsewhere").remove(&id);
    match asked.map(|waiting| waiting.send(answer)) {
        Some(Ok(())) => StatusCode::ACCEPTED,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The wake-up queue: accepts every message and returns its id.
async fn take_message() -> impl IntoResponse {
    let taken = json!({"MessageId": "059f36b4-87a3-44ab-83d2-661975830a7d", "Attributes": {}});
    ([("content-type", "application/x-amz-json-1.0")], taken.to_string())
}
