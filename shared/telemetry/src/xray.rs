//! Traces: calls to other services, as subsegments of AWS X-Ray.
//!
//! Lambda records the function and API Gateway records the request. What is missing is the time spent in PostgreSQL and SQS. Each such call
//! is one datagram to the daemon that Lambda runs next to the function, and only for requests that X-Ray samples. There is no connection,
//! nothing to wait for, and nothing to flush before the function is frozen.
//!
//! This is written by hand, because a subsegment is one JSON object. OpenTelemetry's exporter would be the library for it, but it adds gRPC
//! or HTTP and protobuf to every zip, a collector layer that slows down each cold start, and a flush at the end of each request. To use
//! OpenTelemetry backends, let a collector receive these datagrams (docs/deploy.md, "Traces").

use std::net::{SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use uuid::Uuid;

use super::scope::{Sampled, sampled};

/// Target of the `tracing` events that are subsegments.
pub(super) const TARGET: &str = "annals::xray";
/// The daemon expects this line before each document.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// Runs work in PostgreSQL and records its duration for X-Ray. The subsegment shows the statement's name.
pub async fn in_postgres<T, E>(sql: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let query = || json!({"sql": {"database_type": "PostgreSQL", "sanitized_query": statement_name(sql)}});
    timed("PostgreSQL", query, work).await
}

/// A statement's name: the comment in its first line.
pub fn statement_name(sql: &str) -> &str {
    sql.lines().next().unwrap_or_default().trim_start_matches("-- ")
}

/// Runs a call that sends a message to SQS, and records its duration for X-Ray.
pub async fn in_sqs<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timed("SQS", || json!({"aws": {"operation": "SendMessage"}}), work).await
}

/// `more` is made only for requests that X-Ray samples.
async fn timed<T, E>(
    name: &str,
    more: impl FnOnce() -> Value,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(trace) = sampled().filter(|_| tracing::enabled!(target: TARGET, Level::INFO)) else {
        return work.await;
    };
    let began = SystemTime::now();
    let done = work.await;
    let document = subsegment(&trace, name, [began, SystemTime::now()], done.is_err(), more());
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
    /// `None` if no socket can be opened: a function must not fail because of tracing.
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
        // A lost datagram only leaves a gap in the trace.
        let _ = self.0.send(format!("{HEADER}{document}").as_bytes());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
