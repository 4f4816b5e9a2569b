//! Wake-ups: after an append, the projector is told which streams have work.
//!
//! A message never carries events, only the names of streams, so that a lost, late, doubled or reordered one costs time and
//! nothing else: the heads know what is left, and the sweep finds what no message reached.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::domain::{AggregateId, AggregateType, StreamId, TenantId};

/// Streams that one message names at most: with ids of full length a message stays below SQS' 256 KiB.
pub const STREAMS_PER_MESSAGE: usize = 400;

/// Where wake-ups go.
#[derive(Clone)]
pub enum Queue {
    /// An SQS queue.
    Sqs {
        /// The client, made once per process.
        client: aws_sdk_sqs::Client,
        /// The queue's address.
        url: String,
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
    pub async fn from_url(url: Option<String>) -> Self {
        match url {
            None => Self::Nowhere,
            Some(url) => {
                let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
                Self::Sqs {
                    client: aws_sdk_sqs::Client::new(&config),
                    url,
                }
            }
        }
    }

    /// Tells the projector. A failure is logged and is nobody's error: the append stands, and the sweep will come by.
    pub async fn wake(&self, streams: impl IntoIterator<Item = StreamId>) {
        let distinct: Vec<StreamId> = streams.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        for chunk in distinct.chunks(STREAMS_PER_MESSAGE) {
            match encode(chunk) {
                Ok(body) => self.send(body).await,
                Err(error) => tracing::error!(%error, "wake-up not encoded"),
            }
        }
    }

    /// Asks for a sweep, at the next convenience.
    pub async fn ask_for_sweep(&self) {
        self.ask_for(&Message::Sweep {}).await;
    }

    /// Asks for whatever rebuilds are due; where the message gets lost, the sweep finds them.
    pub async fn ask_for_rebuilds(&self) {
        self.ask_for(&Message::Rebuilds {}).await;
    }

    async fn ask_for(&self, message: &Message) {
        match serde_json::to_string(message) {
            Ok(body) => self.send(body).await,
            Err(error) => tracing::error!(%error, "wake-up not encoded"),
        }
    }

    async fn send(&self, body: String) {
        match self {
            Self::Sqs { client, url } => {
                if let Err(error) = client.send_message().queue_url(url).message_body(body).send().await {
                    let error = aws_sdk_sqs::error::DisplayErrorContext(error);
                    tracing::warn!(%error, "wake-up not sent; the sweep will find the streams");
                }
            }
            Self::Channel(sender) => {
                if sender.send(body).is_err() {
                    tracing::warn!("wake-up not sent: nobody listens; the sweep will find the streams");
                }
            }
            Self::Nowhere => {}
        }
    }
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
    fn a_full_message_fits_into_sqs() {
        let name = |place: usize| (Uuid::max(), "a".repeat(50), format!("{place:0>128}"));
        let streams: Vec<_> = (0..STREAMS_PER_MESSAGE)
            .map(|place| stream_from(name(place)).expect("a stream"))
            .collect();
        assert!(encode(&streams).expect("JSON").len() < 256 * 1024);
    }
}
