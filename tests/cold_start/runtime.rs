//! Plays Lambda: starts a program, gives it an event when it asks for one, and takes the answer. Also plays SQS, which accepts every
//! message.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use serde_json::Value;
use tests::SECRET;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::events::Queue;

/// A limit for the first answer that only a failure reaches.
const PATIENCE: Duration = Duration::from_secs(30);

/// Times of a start, measured from the start of the process.
#[derive(Clone, Copy)]
pub struct Start {
    /// When the program asked for its first event, which means that it has started.
    pub asked: Duration,
    /// When it answered.
    pub answered: Duration,
}

/// The event for the running program, and the receiver of its answer.
struct Round {
    event: String,
    began: Instant,
    asked: Option<Duration>,
    done: Option<oneshot::Sender<(Start, Value)>>,
}

type Shared = Arc<Mutex<Option<Round>>>;

/// The stand-in for Lambda and SQS.
pub struct Lambda {
    address: String,
    round: Shared,
}

impl Lambda {
    /// Starts listening.
    pub async fn start() -> Self {
        let round = Shared::default();
        let runtime = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .route("/2018-06-01/runtime/init/error", post(failed))
            .fallback(any(sqs))
            .with_state(Arc::clone(&round));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move { axum::serve(listener, runtime).await });
        Self { address, round }
    }

    /// Starts a program for one event, with this database address and these certificate authorities, and ends it afterwards.
    pub async fn invoke(&self, program: &Path, database: (&str, &str), queue: Queue, event: String) -> Start {
        let (done, answer) = oneshot::channel();
        let mut command = self.command(program, database, queue);
        *self.round.lock().expect("no panic elsewhere") = Some(Round {
            event,
            began: Instant::now(),
            asked: None,
            done: Some(done),
        });
        let mut process = command.spawn().expect("the program starts");
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        process.kill().expect("it can be ended");
        process.wait().expect("it ends");
        let (start, answer) = answer.expect("an answer in time").expect("an answer");
        let status = answer.get("statusCode").and_then(Value::as_u64).unwrap_or(200);
        assert!(status < 300, "{}: {answer}", program.display());
        start
    }

    fn command(&self, program: &Path, (database_url, database_ca): (&str, &str), queue: Queue) -> Command {
        let address = format!("http://{}/queue", self.address);
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", &*self.address),
                ("AWS_LAMBDA_FUNCTION_NAME", "annals-Function-1A2B3C"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "logs"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "logs"),
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ACCESS_KEY_ID", "none"),
                ("AWS_SECRET_ACCESS_KEY", "none"),
                ("AWS_ENDPOINT_URL_SQS", &*address),
                ("WAKE_QUEUE_URL", if queue == Queue::WakeUps { &*address } else { "" }),
                ("DATABASE_URL", database_url),
                ("DATABASE_CA", database_ca),
                ("JWT_SECRET", SECRET),
                ("JWT_ISSUER", "tests"),
                ("STACK_NAME", "annals"),
                ("UPLOAD_BUCKET", "annals-uploads"),
            ])
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        command
    }
}

async fn next(State(round): State<Shared>) -> impl IntoResponse {
    let event = round.lock().expect("no panic elsewhere").as_mut().and_then(|round| {
        // A second request is never answered, as on Lambda while there are no events.
        round.asked.is_none().then(|| {
            round.asked = Some(round.began.elapsed());
            round.event.clone()
        })
    });
    let Some(event) = event else {
        return std::future::pending().await;
    };
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", "4102444800000"),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:annals",
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0",
        ),
        ("content-type", "application/json"),
    ];
    (headers, event)
}

async fn answered(State(round): State<Shared>, body: String) -> StatusCode {
    if let Some(round) = round.lock().expect("no panic elsewhere").as_mut()
        && let (Some(asked), Some(done)) = (round.asked, round.done.take())
    {
        let answered = round.began.elapsed();
        let answer = serde_json::from_str(&body).unwrap_or(Value::Null);
        // If the receiver is gone, it has timed out.
        let _ = done.send((Start { asked, answered }, answer));
    }
    StatusCode::ACCEPTED
}

async fn failed(body: String) -> StatusCode {
    println!("a function failed: {body}");
    StatusCode::ACCEPTED
}

async fn sqs() -> impl IntoResponse {
    let taken = r#"{"MessageId":"059f36b4-87a3-44ab-83d2-661975830a7d"}"#;
    ([("content-type", "application/x-amz-json-1.0")], taken)
}
