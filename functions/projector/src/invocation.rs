//! The projector's invocations by Lambda: messages of the queue, a tick of the schedule, or a request to run the rebuilds that are due.
//!
//! A rebuild takes longer than the projecting function may run, and events should not wait for it. The same binary is therefore deployed a
//! second time, with a schedule of its own and a longer timeout.

use std::collections::HashMap;
use std::time::Duration;

use annals_domain::StreamId;
use annals_queue::WakeUp;
use annals_store::{StoreError, redacted_error};
use annals_telemetry::{MessageContext, metrics};
use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tracing::{Instrument, Span};

use crate::Projector;
use crate::sweep::Swept;

/// How long a run for rebuilds applies changes of key figures. The next run starts a minute after this one.
const KPI_TIME_LIMIT: Duration = Duration::from_secs(50);

/// The input of an invocation. An input without `Records` counts as a tick, because the schedule's input has no fixed form. If there are
/// `Records`, they must be SQS messages: if a batch that cannot be read counted as a tick, SQS would delete its messages.
#[derive(Debug)]
pub enum Invocation {
    /// `{"Records": […]}`: messages of the queue.
    Messages {
        /// The batch, one message or more.
        records: Vec<SqsMessage>,
    },
    /// A tick of the schedule: sweep.
    Tick(Value),
    /// `{"rebuilds": {}}`: run the rebuilds that are due.
    Rebuilds,
}

impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut input = Value::deserialize(deserializer)?;
        match input.get_mut("Records").map(Value::take) {
            None if input.get("rebuilds").is_some() => Ok(Self::Rebuilds),
            None => Ok(Self::Tick(input)),
            // Through text: with serde_json's arbitrary precision, other types cannot read numbers from a `Value`.
            Some(records) => serde_json::from_str(&records.to_string())
                .map(|records| Self::Messages { records })
                .map_err(serde::de::Error::custom),
        }
    }
}

/// The answer to an invocation.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The messages that SQS must deliver again.
    Messages(SqsBatchResponse),
    /// The result of the sweep.
    Tick(Swept),
    /// `null`: the due rebuilds have run. A failed one is logged and recorded in the database.
    Rebuilds(()),
}

impl Projector {
    /// Handles an invocation.
    ///
    /// # Errors
    /// A failed sweep, or a list of rebuilds that cannot be read. A batch of messages never fails as a whole: the answer names the messages
    /// that failed.
    pub async fn handle(&self, invocation: Invocation) -> Result<Answer, StoreError> {
        match invocation {
            Invocation::Tick(_) => self.tick().await.map(Answer::Tick),
            Invocation::Rebuilds => self.run_rebuilds().await.map(Answer::Rebuilds),
            Invocation::Messages { records } => Ok(Answer::Messages(self.handle_messages(&records).await)),
        }
    }

    /// The backlog is measured before the sweep, which removes it. If it were measured afterwards, it would always be empty, and a sweep
    /// that fails or runs into the timeout would leave no metric.
    async fn tick(&self) -> Result<Swept, StoreError> {
        match self.store.backlog().await {
            Ok(backlog) => metrics::backlog(backlog),
            Err(error) => tracing::warn!(error = redacted_error(&error), "backlog not measured"),
        }
        let swept = self.sweep().await?;
        metrics::swept(swept.streams);
        Ok(swept)
    }

    /// Runs the rebuilds that are due. Afterwards it applies the changes of key figures that a bulk load has left, because this function
    /// has the time.
    async fn run_rebuilds(&self) -> Result<(), StoreError> {
        self.rebuild_due().await?;
        self.apply_kpi_changes(KPI_TIME_LIMIT).await.map(drop)
    }

    /// Projects the streams that the messages name. A message whose streams could not be projected fails, so SQS delivers it again. A
    /// message that is no wake-up fails every time, so it ends in the dead-letter queue. Wake-ups for rebuilds are ignored: the schedule
    /// runs those.
    pub async fn handle_messages(&self, records: &[SqsMessage]) -> SqsBatchResponse {
        let mut failed: Vec<String> = Vec::new();
        let mut message_ids: HashMap<StreamId, Vec<String>> = HashMap::new();
        let mut sweeps: Vec<String> = Vec::new();
        // If the batch has one message, log lines about the batch name that message's request.
        if let [only] = records {
            context_of(only).adopt();
        }
        for record in records {
            let id = record.message_id.clone().unwrap_or_default();
            match annals_queue::decode(record.body.as_deref().unwrap_or_default()) {
                Ok(WakeUp::Streams(streams)) => streams
                    .into_iter()
                    .for_each(|s| message_ids.entry(s).or_default().push(id.clone())),
                Ok(WakeUp::Sweep) => sweeps.push(id),
                Ok(WakeUp::Rebuilds) => {}
                Err(error) => {
                    span_of(record).in_scope(|| tracing::error!(%error, "message is no wake-up"));
                    failed.push(id);
                }
            }
        }
        let streams: Vec<StreamId> = message_ids.keys().cloned().collect();
        if let Err(error) = self.project(&streams).await {
            tracing::warn!(
                error = redacted_error(&error),
                "projection of a batch failed; trying each message"
            );
            failed.extend(self.project_each_message(records, &message_ids).await);
        }
        if !sweeps.is_empty()
            && let Err(error) = self.sweep().await
        {
            tracing::warn!(
                error = redacted_error(&error),
                "sweep failed; its messages will be delivered again"
            );
            failed.extend(sweeps);
        }
        failed.sort();
        failed.dedup();
        response(failed)
    }

    /// After a failure, projects each message alone, so that the failure of one message does not delay the others. Returns the ids of the
    /// messages that failed.
    async fn project_each_message(
        &self,
        records: &[SqsMessage],
        message_ids: &HashMap<StreamId, Vec<String>>,
    ) -> Vec<String> {
        let mut by_message: HashMap<&String, Vec<StreamId>> = HashMap::new();
        for (stream, ids) in message_ids {
            for id in ids {
                by_message.entry(id).or_default().push(stream.clone());
            }
        }
        let mut failed = Vec::new();
        for record in records {
            let id = record.message_id.clone().unwrap_or_default();
            let Some(streams) = by_message.get(&id) else { continue };
            let work = async {
                if let Err(error) = self.project(streams).await {
                    tracing::warn!(error = redacted_error(&error), "message not projected");
                    failed.push(id);
                }
            };
            work.instrument(span_of(record)).await;
        }
        failed
    }
}

/// A span that adds the message's id, and the ids of the request that sent it, to log lines.
fn span_of(record: &SqsMessage) -> Span {
    let context = context_of(record);
    tracing::error_span!(
        "message",
        message.id = record.message_id,
        origin.request.id = context.request_id,
        correlation.id = context.correlation_id,
        origin.trace = context.trace,
    )
}

fn context_of(record: &SqsMessage) -> MessageContext {
    annals_queue::context_of_message(
        |name| record.message_attributes.get(name)?.string_value.as_deref(),
        |name| record.attributes.get(name).map(String::as_str),
    )
}

fn response(failed: Vec<String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    response
}
