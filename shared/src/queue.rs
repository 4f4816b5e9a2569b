//! Queues: after an append, the projector is told which streams have work; and a replay can send events to a queue of somebody's.
//!
//! A wake-up never carries events, only the names of streams, so that a lost, late, doubled or reordered one costs time and
//! nothing else: the heads know what is left, and the sweep finds what no message reached. Replayed events are the other way
//! round: each is a message, and none counts as sent before the queue has said so.

mod attributes;
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

use crate::aws;
use crate::domain::{AggregateId, AggregateType, StreamId, TenantId};
use crate::since::Since;
use crate::telemetry;
use crate::telemetry::xray::in_sqs;
use attributes::{attributes_of, system_attributes_of};

pub use attributes::carried_by;
pub use events::SendError;
pub use sweeps::Sweeps;

/// Streams that one message names at most: what a batch of messages names has to be projected within a projector's time. Names
/// of full length do not fit that often, and come in more messages.
pub const STREAMS_PER_MESSAGE: usize = 2_000;

/// Most bytes of the messages that are sent at once, and so of one message.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// How long a wake-up may take, tries and all. Who waits for it is a caller whose events are appended, and what it would have
/// hastened, the sweep does within a minute.
const WAKE_UP: Duration = Duration::from_secs(2);

/// Where messages go.
#[derive(Clone)]
pub enum Queue {
    /// An SQS queue.
    Sqs {
        /// The client, made once per process.
        client: aws_sdk_sqs::Client,
        /// The queue's address.
        url: String,
        /// Whether wake-ups ask for sweeps, too.
        sweeps: Sweeps,
    },
    /// A channel within the process, for `local` and tests: it carries the same message bodies.
    Channel(mpsc::UnboundedSender<String>),
    /// Nowhere; the sweep alone projects.
    Nowhere,
}

/// A message that names no streams.
#[derive(Debug, thiserror::Error)]
pub enum WakeUpError {
    /// Not JSON of the expected form.
    #[error("the message is not a wake-up")]
    Malformed(#[from] serde_json::Error),
    /// A stream's name that no stream can have.
    #[error("the message names an impossible stream")]
    Stream,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeUp {
    /// These streams have work.
    Streams(Vec<StreamId>),
    /// Somebody asks for a sweep.
    Sweep,
    /// Rebuilds may be due; which, the database knows.
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
    /// The queue of a deployed function: SQS where an address is configured.
    pub fn of_function(url: Option<String>) -> Self {
        match url {
            None => Self::Nowhere,
            Some(url) => {
                let mut settings = aws_sdk_sqs::config::Builder::from(aws::settings());
                settings.set_endpoint_url(aws::endpoint("SQS"));
                Self::Sqs {
                    client: aws_sdk_sqs::Client::from_conf(settings.build()),
                    url,
                    sweeps: Sweeps::of_function(),
                }
            }
        }
    }

    /// The queue at this address, by these settings.
    pub fn by(settings: &SdkConfig, url: String) -> Self {
        Self::Sqs {
            client: aws_sdk_sqs::Client::new(settings),
            url,
            sweeps: Sweeps::Scheduled,
        }
    }

    /// Tells the projector. A failure is logged and is no error of the request: the append is committed, and the sweep projects it.
    pub async fn wake(&self, streams: impl IntoIterator<Item = StreamId>) {
        let distinct: Vec<StreamId> = streams.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        join(self.name(&distinct), self.ask_for_late_sweep()).await;
    }

    async fn name(&self, streams: &[StreamId]) {
        for chunk in messages_of(streams) {
            match encode(chunk) {
                // A queue that does not take one takes no other.
                Ok(body) => match self.send(body, None).await {
                    Sent::Yes => {}
                    Sent::No => break,
                },
                Err(error) => tracing::error!(%error, "wake-up not encoded"),
            }
        }
    }

    /// Asks for a sweep, at the next convenience.
    pub async fn ask_for_sweep(&self) {
        self.ask_for(&Message::Sweep {}, None).await;
    }

    /// Asks for a sweep in a minute, if the schedule runs less often and this process has not asked in the last minute.
    pub async fn ask_for_late_sweep(&self) {
        let Self::Sqs { sweeps, .. } = self else { return };
        let began = Since::now();
        if let Some(delay) = sweeps.due()
            && let Sent::Yes = self.ask_for(&Message::Sweep {}, Some(delay)).await
        {
            sweeps.asked(began);
        }
    }

    /// Asks for whatever rebuilds are due; where the message gets lost, the sweep finds them.
    pub async fn ask_for_rebuilds(&self) {
        self.ask_for(&Message::Rebuilds {}, None).await;
    }

    async fn ask_for(&self, message: &Message, delay_seconds: Option<i32>) -> Sent {
        match serde_json::to_string(message) {
            Ok(body) => self.send(body, delay_seconds).await,
            Err(error) => {
                tracing::error!(%error, "wake-up not encoded");
                Sent::No
            }
        }
    }

    async fn send(&self, body: String, delay_seconds: Option<i32>) -> Sent {
        match self {
            Self::Sqs { client, url, .. } => {
                let carried = telemetry::carried();
                let request = client
                    .send_message()
                    .queue_url(url)
                    .message_body(body)
                    .set_delay_seconds(delay_seconds)
                    .set_message_attributes(Some(attributes_of(&carried)))
                    .set_message_system_attributes(Some(system_attributes_of(&carried)));
                // Boxed: the SDK's futures are so deep that whatever holds one by value becomes too much for the compiler.
                match timeout(WAKE_UP, in_sqs(request.send().boxed())).await {
                    Ok(Ok(_)) => return Sent::Yes,
                    Ok(Err(error)) => {
                        let error = DisplayErrorContext(error);
                        tracing::warn!(%error, "wake-up not sent; the sweep will find the streams");
                    }
                    Err(_) => tracing::warn!("wake-up not sent in time; the sweep will find the streams"),
                }
                Sent::No
            }
            Self::Channel(sender) => {
                if sender.send(body).is_err() {
                    tracing::warn!("wake-up not sent: nobody listens; the sweep will find the streams");
                    return Sent::No;
                }
                Sent::Yes
            }
            Self::Nowhere => Sent::No,
        }
    }
}

/// Whether a queue took a message.
enum Sent {
    Yes,
    No,
}

/// Cuts streams into what a message can name.
fn messages_of(streams: &[StreamId]) -> Vec<&[StreamId]> {
    // What stands around a stream's names, the tenant among it, and both names with every character escaped.
    let length = |stream: &StreamId| 64 + stream.aggregate_type.as_str().len() + 2 * stream.aggregate_id.as_str().len();
    let (mut messages, mut start, mut bytes) = (Vec::new(), 0, 64);
    for (place, stream) in streams.iter().enumerate() {
        let length = length(stream);
        if place - start == STREAMS_PER_MESSAGE || bytes + length > MAX_MESSAGE_BYTES {
            messages.push(&streams[start..place]);
            (start, bytes) = (place, 64);
        }
        bytes += length;
    }
    messages.push(&streams[start..]);
    messages.retain(|message| !message.is_empty());
    messages
}

/// The body of a message that names these streams.
///
/// # Errors
/// None in practice; serialisation is fallible by type.
pub fn encode(streams: &[StreamId]) -> Result<String, serde_json::Error> {
    let streams = streams
        .iter()
        .map(|s| {
            (
                *s.tenant_id.as_uuid(),
                s.aggregate_type.as_str().to_owned(),
                s.aggregate_id.as_str().to_owned(),
            )
        })
        .collect();
    serde_json::to_string(&Message::Streams(streams))
}

/// What a message's body says.
///
/// # Errors
/// A body that is no wake-up.
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
    fn messages_say_what_was_said() {
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
    fn foreign_messages_are_no_wake_ups() {
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
            let stream = |place| stream_from((Uuid::max(), "a".repeat(50), name(place))).expect("a stream");
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
        let short = sizes(&named(STREAMS_PER_MESSAGE + 1, |place| format!("S-{place}")));
        assert_eq!(short.len(), 2);
        for name in [
            |place| format!("{place:0>6}{}", "\u{1f600}".repeat(122)),
            |place| format!("{place:0>6}{}", "\"".repeat(122)),
        ] {
            let long = sizes(&named(1_000, name));
            assert!(long.iter().all(|size| *size <= MAX_MESSAGE_BYTES), "{long:?}");
            assert!(long.len() <= 6, "{long:?}");
        }
    }
}
