//! Events as messages: a replay sends each to a queue of somebody's, and none counts as sent before the queue has said so.

use std::time::Duration;

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};

use super::{MAX_MESSAGE_BYTES, Queue};
use crate::domain::{Event, EventId};

/// Messages that are sent at once at most.
const MESSAGES_AT_ONCE: usize = 10;
/// How often messages are sent again that the queue could not take.
const TRIES: u32 = 8;
/// Pause before that; it grows with every try.
const PAUSE: Duration = Duration::from_millis(100);

/// Why not all events were sent; those before may have been.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No message can hold them.
    #[error("larger than the {MAX_MESSAGE_BYTES} bytes that a message may have: {}", names(.0))]
    TooLarge(Vec<EventId>),
    /// The queue refuses one, and would do so again.
    #[error("the queue refuses the event {event}: {code}")]
    Refused {
        /// The event.
        event: EventId,
        /// The queue's word for it.
        code: String,
    },
    /// The queue could not take these, however often they were sent.
    #[error("the queue does not take {}", names(.0))]
    NotTaken(Vec<EventId>),
    /// The queue does not answer as it should.
    #[error("the queue cannot be used: {0}")]
    Unusable(String),
    /// An event that cannot be written as JSON.
    #[error("an event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

fn names(events: &[EventId]) -> String {
    let names: Vec<String> = events.iter().map(EventId::to_string).collect();
    format!("event {}", names.join(", "))
}

/// An event as it is sent.
struct EventMessage {
    event: EventId,
    body: String,
}

impl EventMessage {
    fn of(event: &Event) -> Result<Self, SendError> {
        // Two characters that JSON may hold and SQS may not; within JSON they stand in strings only.
        let body = serde_json::to_string(event)?
            .replace('\u{FFFE}', "\\ufffe")
            .replace('\u{FFFF}', "\\uffff");
        Ok(Self { event: event.id, body })
    }
}

impl Queue {
    /// Sends each of these events as one message, its JSON as `GET /events` answers with it, in their order. The queue has taken
    /// them all when this returns.
    ///
    /// # Errors
    /// [`SendError`]; too large ones are found before anything is sent.
    pub async fn send_events(&self, events: &[Event]) -> Result<(), SendError> {
        let messages: Vec<EventMessage> = events.iter().map(EventMessage::of).collect::<Result<_, _>>()?;
        let too_large = messages.iter().filter(|m| m.body.len() > MAX_MESSAGE_BYTES);
        let too_large: Vec<EventId> = too_large.map(|message| message.event).collect();
        if !too_large.is_empty() {
            return Err(SendError::TooLarge(too_large));
        }
        for batch in batches(&messages) {
            self.send_batch(batch).await?;
        }
        Ok(())
    }

    async fn send_batch(&self, batch: &[EventMessage]) -> Result<(), SendError> {
        match self {
            Self::Sqs { client, url, .. } => send_to_sqs(client, url, batch).await,
            Self::Channel(sender) => batch.iter().try_for_each(|message| {
                sender
                    .send(message.body.clone())
                    .map_err(|_| SendError::Unusable("nobody listens".to_owned()))
            }),
            Self::Nowhere => Err(SendError::Unusable("there is none".to_owned())),
        }
    }
}

/// Cuts messages into what can be sent at once.
fn batches(messages: &[EventMessage]) -> Vec<&[EventMessage]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, message) in messages.iter().enumerate() {
        let length = message.body.len();
        if place - start == MESSAGES_AT_ONCE || bytes + length > MAX_MESSAGE_BYTES {
            batches.push(&messages[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += length;
    }
    batches.push(&messages[start..]);
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Sends a batch until all of it is taken: of one request SQS may take some messages and leave others.
async fn send_to_sqs(client: &aws_sdk_sqs::Client, url: &str, batch: &[EventMessage]) -> Result<(), SendError> {
    let mut left: Vec<&EventMessage> = batch.iter().collect();
    for attempt in 0..TRIES {
        tokio::time::sleep(PAUSE * attempt).await;
        let request = client.send_message_batch().queue_url(url);
        let request = request.set_entries(Some(entries(&left)?));
        let answer = request.send().await.map_err(unusable)?;
        let failed = |place: usize| answer.failed().iter().find(|f| f.id() == place.to_string());
        if let Some(refused) = (0..left.len()).find_map(|place| refusal(left[place], failed(place)?)) {
            return Err(refused);
        }
        left = (0..left.len())
            .filter(|place| failed(*place).is_some())
            .map(|place| left[place])
            .collect();
        if left.is_empty() {
            return Ok(());
        }
    }
    Err(SendError::NotTaken(left.iter().map(|message| message.event).collect()))
}

fn entries(messages: &[&EventMessage]) -> Result<Vec<SendMessageBatchRequestEntry>, SendError> {
    let entry = |(place, message): (usize, &&EventMessage)| {
        let entry = SendMessageBatchRequestEntry::builder().id(place.to_string());
        entry.message_body(&message.body).build().map_err(unusable)
    };
    messages.iter().enumerate().map(entry).collect()
}

/// What is the sender's fault stays so.
fn refusal(message: &EventMessage, failed: &BatchResultErrorEntry) -> Option<SendError> {
    failed.sender_fault().then(|| SendError::Refused {
        event: message.event,
        code: failed.code().to_owned(),
    })
}

fn unusable(error: impl std::error::Error) -> SendError {
    SendError::Unusable(DisplayErrorContext(error).to_string())
}
