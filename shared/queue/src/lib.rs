//! Queues: wake-ups tell the projector which streams have work after an append, and a replay can send events to a queue that the user
//! chooses.
//!
//! A wake-up contains only the names of streams, never events, so a lost, late, duplicate or reordered wake-up only costs time: heads
//! record what is left to project, and the sweep finds what no message reached. Replayed events are different: each event is a
//! message, and it counts as sent only after the queue has confirmed it.

mod attributes;
mod chunks;
mod events;
mod sweeps;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_types::SdkConfig;
use futures_util::FutureExt;
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use annals_aws::settings;
use annals_aws::since::Since;
use annals_domain::{AggregateId, AggregateType, StreamId, TenantId};
use annals_telemetry::xray::in_sqs;
use attributes::{attributes_of, system_attributes_of};
use chunks::chunks;

pub use attributes::context_of_message;
pub use chunks::MAX_MESSAGE_BYTES;
pub use events::SendError;
pub use sweeps::Sweeps;

/// Maximum number of streams that one message names: the streams of a batch of messages must be projected within one invocation of the
/// projector. If names are very long, fewer of them fit into a message.
pub const STREAMS_PER_MESSAGE: usize = 2_000;

/// Maximum time for sending a wake-up, retries included. The caller waits for it although its events are already appended, and the
/// next sweep does the same work.
const WAKE_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Where messages are sent.
#[derive(Clone)]
pub enum Queue {
    /// An SQS queue.
    Sqs {
        /// The client, created once per process.
        client: aws_sdk_sqs::Client,
        /// The queue's URL.
        url: String,
        /// Whether wake-ups also request sweeps.
        sweeps: Sweeps,
    },
    /// A channel within the process, for `local` and tests. It carries the same message bodies.
    Channel(mpsc::UnboundedSender<String>),
    /// No queue: only the sweep projects.
    Unconfigured,
}

/// Why a message is not a wake-up.
#[derive(Debug, thiserror::Error)]
pub enum WakeUpError {
    /// It is not JSON of the expected form.
    #[error("the message is not a wake-up")]
    Malformed(#[from] serde_json::Error),
    /// It names a stream that cannot exist.
    #[error("the message names an impossible stream")]
    Stream,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeUp {
    /// These streams have work.
    Streams(Vec<StreamId>),
    /// A sweep is requested.
    Sweep,
    /// Rebuilds may be due. The database knows which.
    Rebuilds,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Message {
    Streams(Vec<(Uuid, String, String)>),
    Sweep {},
    Rebuilds {},
}

impl Queue {
    /// The queue of a deployed function: SQS if a URL is configured.
    pub fn of_function(url: Option<String>) -> Self {
        match url {
            None => Self::Unconfigured,
            Some(url) => {
                let mut settings = aws_sdk_sqs::config::Builder::from(settings::settings());
                settings.set_endpoint_url(settings::endpoint("SQS"));
                Self::Sqs {
                    client: aws_sdk_sqs::Client::from_conf(settings.build()),
                    url,
                    sweeps: Sweeps::of_function(),
                }
            }
        }
    }

    /// The SQS queue with this URL, used with these settings.
    pub fn with_settings(settings: &SdkConfig, url: String) -> Self {
        Self::Sqs {
            client: aws_sdk_sqs::Client::new(settings),
            url,
            sweeps: Sweeps::Scheduled,
        }
    }

    /// Wakes the projector for these streams. A failure is logged and does not fail the request: the append is committed, and the
    /// sweep projects it.
    pub async fn wake(&self, streams: impl IntoIterator<Item = StreamId>) {
        let distinct: Vec<StreamId> = streams.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        join(self.send_streams(&distinct), self.request_delayed_sweep()).await;
    }

    async fn send_streams(&self, streams: &[StreamId]) {
        for chunk in messages_of(streams) {
            // If the queue did not accept one message, it will not accept the next one either.
            if !self.request(&message_naming(chunk), None).await {
                break;
            }
        }
    }

    /// Requests a sweep as soon as possible.
    pub async fn request_sweep(&self) {
        self.request(&Message::Sweep {}, None).await;
    }

    /// Requests a sweep in one minute, if the schedule runs less often and this process has not requested one in the last minute.
    pub async fn request_delayed_sweep(&self) {
        let Self::Sqs { sweeps, .. } = self else { return };
        let began = Since::now();
        if let Some(delay) = sweeps.due()
            && self.request(&Message::Sweep {}, Some(delay)).await
        {
            sweeps.requested(began);
        }
    }

    /// Requests all rebuilds that are due. If the message is lost, the sweep finds them.
    pub async fn request_rebuilds(&self) {
        self.request(&Message::Rebuilds {}, None).await;
    }

    /// Sends a message, and returns whether the queue accepted it.
    async fn request(&self, message: &Message, delay_seconds: Option<i32>) -> bool {
        match serde_json::to_string(message) {
            Ok(body) => self.send(body, delay_seconds).await,
            Err(error) => {
                tracing::error!(%error, "wake-up not encoded");
                false
            }
        }
    }

    async fn send(&self, body: String, delay_seconds: Option<i32>) -> bool {
        match self {
            Self::Sqs { client, url, .. } => {
                let context = annals_telemetry::message_context();
                let request = client
                    .send_message()
                    .queue_url(url)
                    .message_body(body)
                    .set_delay_seconds(delay_seconds)
                    .set_message_attributes(Some(attributes_of(&context)))
                    .set_message_system_attributes(Some(system_attributes_of(&context)));
                // Boxed, because the SDK's futures are so deeply nested that the compiler cannot handle a future which contains
                // one.
                match timeout(WAKE_UP_TIMEOUT, in_sqs(request.send().boxed())).await {
                    Ok(Ok(_)) => return true,
                    Ok(Err(error)) => {
                        let error = DisplayErrorContext(error);
                        tracing::warn!(%error, "wake-up not sent; the sweep will find the streams");
                    }
                    Err(_) => tracing::warn!("wake-up not sent in time; the sweep will find the streams"),
                }
                false
            }
            Self::Channel(sender) => {
                let sent = sender.send(body);
                if sent.is_err() {
                    tracing::warn!("wake-up not sent: the receiver is gone; the sweep will find the streams");
                }
                sent.is_ok()
            }
            Self::Unconfigured => false,
        }
    }
}

/// Splits streams into chunks that fit into a message each.
fn messages_of(streams: &[StreamId]) -> Vec<&[StreamId]> {
    // Maximum bytes of a stream in the message: punctuation and tenant, and both names with every character of the id escaped.
    let length = |stream: &StreamId| 64 + stream.aggregate_type.as_str().len() + 2 * stream.aggregate_id.as_str().len();
    chunks(streams, STREAMS_PER_MESSAGE, 64, length)
}

/// The body of a message that names these streams: `{"streams": [[tenant, aggregate_type, aggregate_id], …]}`.
///
/// # Errors
/// Never in practice; serialisation is fallible by type.
pub fn encode(streams: &[StreamId]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&message_naming(streams))
}

fn message_naming(streams: &[StreamId]) -> Message {
    let named = |stream: &StreamId| {
        let (kind, id) = (stream.aggregate_type.as_str(), stream.aggregate_id.as_str());
        (*stream.tenant_id.as_uuid(), kind.to_owned(), id.to_owned())
    };
    Message::Streams(streams.iter().map(named).collect())
}

/// Reads the body of a message.
///
/// # Errors
/// [`WakeUpError`]: the body is not a wake-up.
pub fn decode(body: &str) -> Result<WakeUp, WakeUpError> {
    match serde_json::from_str(body)? {
        Message::Sweep {} => Ok(WakeUp::Sweep),
        Message::Rebuilds {} => Ok(WakeUp::Rebuilds),
        Message::Streams(streams) => streams
            .into_iter()
            .map(stream_from)
            .collect::<Result<_, _>>()
            .map(WakeUp::Streams),
    }
}

fn stream_from((tenant, aggregate_type, aggregate_id): (Uuid, String, String)) -> Result<StreamId, WakeUpError> {
    Ok(StreamId {
        tenant_id: TenantId::from(tenant),
        aggregate_type: AggregateType::try_from(aggregate_type).map_err(|_| WakeUpError::Stream)?,
        aggregate_id: AggregateId::try_from(aggregate_id).map_err(|_| WakeUpError::Stream)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_decoded_as_they_were_encoded() {
        let stream = stream_from((Uuid::nil(), "sale".into(), "S-1".into())).expect("a stream");
        let body = encode(std::slice::from_ref(&stream)).expect("JSON");
        assert_eq!(
            body,
            r#"{"streams":[["00000000-0000-0000-0000-000000000000","sale","S-1"]]}"#
        );
        assert_eq!(decode(&body).expect("a wake-up"), WakeUp::Streams(vec![stream]));
        assert_eq!(decode(r#"{"sweep":{}}"#).expect("a wake-up"), WakeUp::Sweep);
        assert_eq!(decode(r#"{"rebuilds":{}}"#).expect("a wake-up"), WakeUp::Rebuilds);
    }

    #[test]
    fn other_messages_are_refused() {
        for body in [
            "",
            "{}",
            "[]",
            "hello",
            r#"{"streams":[["x","sale","1"]]}"#,
            r#"{"streams":[],"more":1}"#,
            r#"{"streams":[["00000000-0000-0000-0000-000000000000","Sale","1"]]}"#,
        ] {
            assert!(decode(body).is_err(), "{body}");
        }
    }

    #[test]
    fn full_messages_fit_into_sqs_and_are_few() {
        let named = |count: usize, name: fn(usize) -> String| -> Vec<StreamId> {
            let stream = |number| stream_from((Uuid::max(), "a".repeat(50), name(number))).expect("a stream");
            (0..count).map(stream).collect()
        };
        let sizes = |streams: &[StreamId]| -> Vec<usize> {
            let messages = messages_of(streams);
            assert_eq!(messages.concat(), streams);
            messages
                .iter()
                .map(|message| encode(message).expect("JSON").len())
                .collect()
        };
        let short = sizes(&named(STREAMS_PER_MESSAGE + 1, |number| format!("S-{number}")));
        assert_eq!(short.len(), 2);
        for name in [
            |number| format!("{number:0>6}{}", "\u{1f600}".repeat(122)),
            |number| format!("{number:0>6}{}", "\"".repeat(122)),
        ] {
            let long = sizes(&named(1_000, name));
            assert!(long.iter().all(|size| *size <= MAX_MESSAGE_BYTES), "{long:?}");
            assert!(long.len() <= 6, "{long:?}");
        }
    }
}
