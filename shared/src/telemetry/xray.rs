//! Traces: what a request asked of others, as subsegments of AWS X-Ray.
//!
//! Lambda draws the function and API Gateway the request by themselves; what is missing is the time within: PostgreSQL's and
//! SQS'. Each is one datagram to the daemon that Lambda runs beside the function, and only for requests that X-Ray samples: no
//! connection, nothing to wait for, nothing to flush before the function is frozen.
//!
//! By hand, because a subsegment is one JSON object. OpenTelemetry's exporter would be the library for it, but it brings gRPC or
//! HTTP and protobuf into every zip, a collector layer that adds to each cold start, and a flush at the end of each request.
//! Whoever wants its backends lets a collector take these datagrams (docs/deploy.md, "Traces").

use std::net::{SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use uuid::Uuid;

use super::scope::{Sampled, sampled};

/// Target of the events that are subsegments.
pub(super) const TARGET: &str = "annals::xray";
/// What the daemon wants before each document.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// Does work that PostgreSQL has to do, and lets X-Ray know how long it took. The statement's name is shown, which is the comment
/// that it begins with.
pub async fn in_postgres<T, E>(sql: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let name = sql.lines().next().unwrap_or_default().trim_start_matches("-- ");
    timed(
        "PostgreSQL",
        json!({"sql": {"database_type": "PostgreSQL", "sanitized_query": name}}),
        work,
    )
    .await
}

/// The same for a message that SQS takes.
pub async fn in_sqs<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timed("SQS", json!({"aws": {"operation": "SendMessage"}}), work).await
}

async fn timed<T, E>(name: &str, more: Value, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let Some(trace) = sampled().filter(|_| tracing::enabled!(target: TARGET, Level::INFO)) else {
        return work.await;
    };
    let began = SystemTime::now();
    let done = work.await;
    let document = subsegment(&trace, name, [began, SystemTime::now()], done.is_err(), more);
    tracing::info!(target: TARGET, document = document.to_string());
    done
}

fn subsegment(trace: &Sampled, name: &str, times: [SystemTime; 2], failed: bool, more: Value) -> Value {
    let [began, ended] = times.map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    let (id, _) = Uuid::new_v4().as_u64_pair();
    let mut document = json!({
        "type": "subsegment", "name": name, "namespace": "remote",
        "id": format!("{id:016x}"), "trace_id": trace.root, "parent_id": trace.parent,
        "start_time": began, "end_time": ended, "fault": failed,
    });
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}

/// Sends every subsegment to the daemon.
pub(super) struct XrayLayer(UdpSocket);

impl XrayLayer {
    /// None where there is no socket to be had: a trace is not worth a function.
    pub(super) fn to(daemon: SocketAddr) -> Option<Self> {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(daemon).ok()?;
        Some(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for XrayLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Send(&self.0));
    }
}

struct Send<'s>(&'s UdpSocket);

impl Visit for Send<'_> {
    fn record_str(&mut self, _: &Field, document: &str) {
        // One that gets lost is a gap in a drawing.
        let _ = self.0.send(format!("{HEADER}{document}").as_bytes());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
