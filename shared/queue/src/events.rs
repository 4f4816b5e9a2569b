//! Events as messages: a replay sends each event to a queue that the user chooses. An event counts as sent only after the queue has
//! confirmed it.

use std::time::Duration;

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};

use super::chunks::chunks;
use super::{MAX_MESSAGE_BYTES, Queue};
use annals_aws::attempts::Attempts;
use annals_domain::{Event, EventId};

/// Maximum number of messages in one request to SQS.
const MESSAGES_PER_REQUEST: usize = 10;
/// Attempts to send messages that the queue does not accept.
const ATTEMPTS: Attempts = Attempts::new(8, Duration::from_millis(100));

/// Why not all events were sent. Some of them may have been.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The events are too large for a message.
    #[error("larger than the {MAX_MESSAGE_BYTES} bytes that a message may have: {}", names(.0))]
    TooLarge(Vec<EventId>),
    /// The queue refuses an event, and would refuse it again.
    #[error("the queue refuses the event {event}: {code}")]
    Refused {
        /// The event that was refused.
        event: EventId,
        /// SQS' error code.
        code: String,
    },
    /// The queue did not accept these events in any attempt.
    #[error("the queue did not accept {}", names(.0))]
    NotAccepted(Vec<EventId>),
    /// The queue cannot be reached, or answers with an error.
    #[error("the queue cannot be used: {0}")]
    Unusable(String),
    /// An event cannot be written as JSON.
    #[error("an event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

fn names(events: &[EventId]) -> String {
    let names: Vec<String> = events.iter().map(EventId::to_string).collect();
    format!("event {}", names.join(", "))
}

/// An event as a message.
struct EventMessage {
    event: EventId,
    body: String,
}

impl EventMessage {
    fn of(event: &Event) -> Result<Self, SendError> {
        // JSON may contain these two characters, but SQS messages may not. In JSON they occur only inside strings, so they can be
        // escaped.
        let body = serde_json::to_string(event)?
            .replace('\u{FFFE}', "\\ufffe")
            .replace('\u{FFFF}', "\\uffff");
        Ok(Self { event: event.id, body })
    }
}

impl Queue {
    /// Sends each event as one message, in order. The body is the event's JSON as in `GET /events`. When this returns, the queue
    /// has accepted all of them.
    ///
    /// # Errors
    /// [`SendError`]. Events that are too large are found before anything is sent.
    pub async fn send_events(&self, events: &[Event]) -> Result<(), SendError> {
        let messages: Vec<EventMessage> = events.iter().map(EventMessage::of).collect::<Result<_, _>>()?;
        let too_large = messages.iter().filter(|m| m.body.len() > MAX_MESSAGE_BYTES);
        let too_large: Vec<EventId> = too_large.map(|message| message.event).collect();
        if !too_large.is_empty() {
            return Err(SendError::TooLarge(too_large));
        }
        for batch in chunks(&messages, MESSAGES_PER_REQUEST, 0, |message| message.body.len()) {
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
                    .map_err(|_| SendError::Unusable("the receiver is gone".to_owned()))
            }),
            Self::Unconfigured => Err(SendError::Unusable("none is configured".to_owned())),
        }
    }
}

/// Sends a batch until all of it is accepted: SQS may accept some messages of a request and reject others.
async fn send_to_sqs(client: &aws_sdk_sqs::Client, url: &str, batch: &[EventMessage]) -> Result<(), SendError> {
    let mut left: Vec<&EventMessage> = batch.iter().collect();
    let mut attempts = ATTEMPTS;
    loop {
        let request = client.send_message_batch().queue_url(url);
        let request = request.set_entries(Some(entries(&left)?));
        let answer = request.send().await.map_err(unusable)?;
        let failed = |index: usize| answer.failed().iter().find(|f| f.id() == index.to_string());
        if let Some(refused) = (0..left.len()).find_map(|index| refusal(left[index], failed(index)?)) {
            return Err(refused);
        }
        left = (0..left.len())
            .filter(|index| failed(*index).is_some())
            .map(|index| left[index])
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        if !attempts.again().await {
            let left = left.iter().map(|message| message.event);
            return Err(SendError::NotAccepted(left.collect()));
        }
    }
}

fn entries(messages: &[&EventMessage]) -> Result<Vec<SendMessageBatchRequestEntry>, SendError> {
    let entry = |(index, message): (usize, &&EventMessage)| {
        let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
        entry.message_body(&message.body).build().map_err(unusable)
    };
    messages.iter().enumerate().map(entry).collect()
}

/// The refusal, if SQS says that the sender is at fault. Retrying would not help.
fn refusal(message: &EventMessage, failed: &BatchResultErrorEntry) -> Option<SendError> {
    failed.sender_fault().then(|| SendError::Refused {
        event: message.event,
        code: failed.code().to_owned(),
    })
}

fn unusable(error: impl std::error::Error) -> SendError {
    SendError::Unusable(DisplayErrorContext(error).to_string())
}
