//! The building blocks of the sample data: actors, draft events, dates and a random generator.

use crate::Error;
use crate::token::{Holder, Role};
use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// 1 April 2025, 09:00 in Mumbai: day 0 of the story.
const FIRST_MORNING: i64 = 1_743_478_200;

/// A person or system that posts events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    /// Member of staff number n.
    Staff(u8),
    /// Customer or applicant number n.
    User(u8),
    /// An AI agent.
    Agent(&'static str),
    /// Another system.
    Service(&'static str),
}

impl Actor {
    /// The holder of the actor's token. Ids are fixed, because idempotency keys are per actor.
    pub(super) fn holder(&self) -> Holder {
        let person = |role, number: u128| Holder {
            sub: Some(person_id(number)),
            ..Holder::of(role)
        };
        let named = |role, name: &str| Holder {
            name: Some(name.to_owned()),
            ..Holder::of(role)
        };
        match self {
            Self::Staff(number) => person(Role::Staff, 0x100 + u128::from(*number)),
            Self::User(number) => person(Role::User, u128::from(*number)),
            Self::Agent(name) => named(Role::Agent, name),
            Self::Service(name) => named(Role::Service, name),
        }
    }

    /// The actor's name in `created_by`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Staff(number) => format!("user:{}", person_id(0x100 + u128::from(*number))),
            Self::User(number) => format!("user:{}", person_id(u128::from(*number))),
            Self::Agent(name) => format!("agent:{name}"),
            Self::Service(name) => format!("service:{name}"),
        }
    }
}

fn person_id(number: u128) -> Uuid {
    Uuid::from_u128(0x00de_0000_0000_4000_8000_0000_0000_0000 + number)
}

/// Events that one actor posts in one request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) actor: Actor,
    pub(super) drafts: Vec<Draft>,
}

impl Batch {
    pub(super) fn of(actor: Actor, drafts: impl IntoIterator<Item = Draft>) -> Self {
        Self {
            actor,
            drafts: drafts.into_iter().collect(),
        }
    }
}

/// An event before it is posted. Its cause is not known by id yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    event_type: &'static str,
    aggregate_id: String,
    /// Distinguishes events of the same type and stream, in the idempotency key.
    occurrence: String,
    data: Value,
    timestamp: String,
    reason: &'static str,
    correlation_id: Option<String>,
    on_behalf_of: Option<String>,
    cause: Option<String>,
    /// Version of the event type that the data follow. `None`: the current one.
    version: Option<&'static str>,
}

impl Draft {
    /// An event of `event_type` on stream `aggregate_id`, at `day` days and `minute` minutes after the beginning.
    pub(super) fn new(event_type: &'static str, aggregate_id: &str, day: i64, minute: i64, data: Value) -> Self {
        Self {
            event_type,
            aggregate_id: aggregate_id.to_owned(),
            occurrence: data.get("id").and_then(Value::as_str).unwrap_or("1").to_owned(),
            data,
            timestamp: moment(day, minute),
            reason: "demo",
            correlation_id: None,
            on_behalf_of: None,
            cause: None,
            version: None,
        }
    }

    /// Sets `metadata.reason`.
    pub(super) fn because(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }

    /// Sets the correlation id.
    pub(super) fn within(mut self, correlation_id: &str) -> Self {
        self.correlation_id = Some(correlation_id.to_owned());
        self
    }

    /// Sets the event that caused this one.
    pub(super) fn after(mut self, cause: &Draft) -> Self {
        self.cause = Some(cause.key());
        self
    }

    /// Sets the actor in whose name a service posts the event.
    pub(super) fn on_behalf_of(mut self, actor: &Actor) -> Self {
        self.on_behalf_of = Some(actor.name());
        self
    }

    /// Sets the version of the event type that the data follow.
    pub(super) fn at_version(mut self, version: &'static str) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets the occurrence. A second event of the same type on the same stream needs one of its own.
    pub(super) fn again(mut self, occurrence: &str) -> Self {
        self.occurrence = occurrence.to_owned();
        self
    }

    pub(super) fn aggregate_type(&self) -> &'static str {
        self.event_type.split('.').next().unwrap_or(self.event_type)
    }

    /// The idempotency key.
    pub(super) fn key(&self) -> String {
        format!("demo/{}/{}/{}", self.event_type, self.aggregate_id, self.occurrence)
    }

    /// The event as it is posted. `ids` has the ids of the posted events by idempotency key.
    pub(super) fn into_event(self, ids: &BTreeMap<String, String>) -> Result<Value, Error> {
        let mut event = Map::from_iter([
            ("idempotency_key".to_owned(), json!(self.key())),
            ("event_type".to_owned(), json!(self.event_type)),
            ("aggregate_type".to_owned(), json!(self.aggregate_type())),
            ("aggregate_id".to_owned(), json!(self.aggregate_id)),
            ("metadata".to_owned(), json!({"reason": self.reason})),
            ("source".to_owned(), json!("demo")),
            ("timestamp".to_owned(), json!(self.timestamp)),
            ("data".to_owned(), self.data),
        ]);
        if let Some(cause) = self.cause {
            let id = ids
                .get(&cause)
                .ok_or_else(|| Error::Invalid(format!("{cause} is a cause but has not been posted")))?;
            event.insert("causation_id".to_owned(), json!(id));
        }
        let optional = [
            ("correlation_id", self.correlation_id),
            ("version", self.version.map(str::to_owned)),
            ("created_by", self.on_behalf_of),
        ];
        event.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))),
        );
        Ok(Value::Object(event))
    }
}

/// Business time as RFC 3339.
fn moment(day: i64, minute: i64) -> String {
    let start = DateTime::from_timestamp(FIRST_MORNING, 0).unwrap_or_default();
    (start + TimeDelta::days(day) + TimeDelta::minutes(minute))
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// The date of a day of the story.
pub(super) fn date(day: i64) -> String {
    moment(day, 0).chars().take(10).collect()
}

/// An exact decimal with two places, for modules with decimal prices. An f64 would drop the zeros of `5999.00`.
pub(super) fn decimal(hundredths: u64) -> Value {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    serde_json::from_str(&text).unwrap_or_default()
}

/// A random generator that gives the same numbers every time: Knuth's MMIX generator. Its high bits are random enough for sample data.
#[derive(Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// Each part of the story has its own generator, so that a change of one part does not change the events of the others.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number from 0 to `limit` − 1; 0 if `limit` is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33).checked_rem(limit).unwrap_or_default()
    }

    /// A day or minute from `from` to `from` + `span` − 1.
    pub(super) fn time(&mut self, from: i64, span: u64) -> i64 {
        from.saturating_add_unsigned(self.below(span))
    }

    /// One of `first` and `others`.
    pub(super) fn pick<'a, T: ?Sized>(&mut self, first: &'a T, others: &[&'a T]) -> &'a T {
        let index = usize::try_from(self.below(others.len() as u64 + 1)).unwrap_or_default();
        index
            .checked_sub(1)
            .and_then(|index| others.get(index))
            .copied()
            .unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_zeros() {
        assert_eq!(decimal(599_900).to_string(), "5999.00");
        assert_eq!(decimal(5).to_string(), "0.05");
    }

    #[test]
    fn the_story_begins_on_an_april_morning() {
        assert_eq!(
            (moment(0, 30), date(30)),
            ("2025-04-01T04:00:00Z".to_owned(), "2025-05-01".to_owned())
        );
    }
}
