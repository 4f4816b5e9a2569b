//! What Lambda invokes the projector with: messages of the queue, a tick of the schedule, or a look for rebuilds.
//!
//! A rebuild takes longer than a function that projects may run, and than anybody should wait to be projected: the same binary
//! is deployed a second time for it, with a schedule and the time that it takes.

use std::collections::HashMap;
use std::time::Duration;

use annals::domain::StreamId;
use annals::queue::{self, WakeUp};
use annals::store::{StoreError, told};
use annals::telemetry::{Carried, metrics};
use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tracing::{Instrument, Span};

use crate::Projector;
use crate::sweep::Swept;

/// How long a look for rebuilds settles key figures: the next look comes after a minute.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(50);

/// An invocation. Whatever holds no records counts as a tick: the schedule's input is nobody's contract. Records, though, must
/// be messages: taking a batch that cannot be read for a tick would tell SQS that its messages are done.
#[derive(Debug)]
pub enum Invocation {
    /// Messages of the queue.
    Messages {
        /// One or more.
        records: Vec<SqsMessage>,
    },
    /// A tick of the schedule.
    Tick(Value),
    /// `{"rebuilds": {}}`: rebuilds that are due are to be made.
    Rebuilds,
}

impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut input = Value::deserialize(deserializer)?;
        match input.get_mut("Records").map(Value::take) {
            None if input.get("rebuilds").is_some() => Ok(Self::Rebuilds),
            None => Ok(Self::Tick(input)),
            // By way of text: serde_json's numbers of arbitrary precision are not read out of a `Value` by other types.
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
    /// Which messages have to come again.
    Messages(SqsBatchResponse),
    /// How far the sweep came.
    Tick(Swept),
    /// Rebuilds that were due have been made, or have failed and say so.
    Rebuilds(()),
}

impl Projector {
    /// Answers an invocation.
    ///
    /// # Errors
    /// A sweep that failed. Messages never fail as a batch: those at fault are named, the others are done.
    pub async fn handle(&self, invocation: Invocation) -> Result<Answer, StoreError> {
        match invocation {
            Invocation::Tick(_) => self.tick().await.map(Answer::Tick),
            Invocation::Rebuilds => self.work_off().await.map(Answer::Rebuilds),
            Invocation::Messages { records } => Ok(Answer::Messages(self.handle_messages(&records).await)),
        }
    }

    /// What is left is measured before the sweep works it off: afterwards there is nothing to see, and a sweep that fails or
    /// does not come to its end would leave no figure behind.
    async fn tick(&self) -> Result<Swept, StoreError> {
        match self.store.backlog().await {
            Ok(backlog) => metrics::backlog(backlog),
            Err(error) => tracing::warn!(error = told(&error), "backlog not measured"),
        }
        let swept = self.sweep().await?;
        metrics::swept(swept.streams);
        Ok(swept)
    }

    /// Rebuilds that are due, and, since it has the time, what a bulk load has left for key figures.
    async fn work_off(&self) -> Result<(), StoreError> {
        self.rebuild_due().await?;
        self.settle_kpis(BACKLOG_PATIENCE).await.map(drop)
    }

    /// Projects what the messages name. A message that is no wake-up fails, and so ends in the dead-letter queue; so does one
    /// whose streams could not be projected, which brings it back. Rebuilds are left to the schedule.
    pub async fn handle_messages(&self, records: &[SqsMessage]) -> SqsBatchResponse {
        let mut failed: Vec<String> = Vec::new();
        let mut wanted: HashMap<StreamId, Vec<String>> = HashMap::new();
        let mut sweeps: Vec<String> = Vec::new();
        // Lines about the whole batch name a request where there is just one.
        if let [only] = records {
            carried_by(only).adopt();
        }
        for record in records {
            let id = record.message_id.clone().unwrap_or_default();
            match queue::decode(record.body.as_deref().unwrap_or_default()) {
                Ok(WakeUp::Streams(streams)) => streams
                    .into_iter()
                    .for_each(|s| wanted.entry(s).or_default().push(id.clone())),
                Ok(WakeUp::Sweep) => sweeps.push(id),
                Ok(WakeUp::Rebuilds) => {}
                Err(error) => {
                    span_of(record).in_scope(|| tracing::error!(%error, "message is no wake-up"));
                    failed.push(id);
                }
            }
        }
        let streams: Vec<StreamId> = wanted.keys().cloned().collect();
        if let Err(error) = self.project(&streams).await {
            tracing::warn!(error = told(&error), "projection failed; messages will come again");
            failed.extend(self.still_wanted(records, &wanted).await);
        }
        if !sweeps.is_empty()
            && let Err(error) = self.sweep().await
        {
            tracing::warn!(error = told(&error), "sweep failed; messages will come again");
            failed.extend(sweeps);
        }
        failed.sort();
        failed.dedup();
        response(failed)
    }

    /// After a failure each message is tried by itself: what one of them suffers from must not hold up the others.
    async fn still_wanted(&self, records: &[SqsMessage], wanted: &HashMap<StreamId, Vec<String>>) -> Vec<String> {
        let mut by_message: HashMap<&String, Vec<StreamId>> = HashMap::new();
        for (stream, ids) in wanted {
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
                    tracing::warn!(error = told(&error), "message not projected");
                    failed.push(id);
                }
            };
            work.instrument(span_of(record)).await;
        }
        failed
    }
}

/// Names a message, and the request that sent it, on the lines about it.
fn span_of(record: &SqsMessage) -> Span {
    let carried = carried_by(record);
    tracing::error_span!(
        "message",
        message.id = record.message_id,
        origin.request.id = carried.request_id,
        correlation.id = carried.correlation_id,
        origin.trace = carried.trace,
    )
}

fn carried_by(record: &SqsMessage) -> Carried {
    queue::carried_by(
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
