//! `cargo run -- demo`: posts some hundreds of realistic events to the HTTP API of the running server.
//!
//! They are about a manufacturer of pumps, its customers and dealers, a sister company that trades cotton and pulses, and AI agents that
//! propose prices and find business opportunities, from April to November 2025. The content is the same every time, and every event has an
//! idempotency key, so a second run appends nothing. Each event is posted with the token of the person or system that it is from, so the
//! demo needs no special rights.

mod client;
mod commerce;
mod organizations;
mod people;
mod products;
mod records;
mod story;
mod trading;
mod venture;

use crate::environment::Environment;
use crate::{Error, output, progress};
use client::{Api, Stored};
use std::collections::BTreeMap;
use story::{Batch, Draft};

/// Loads the sample data and prints the number of appended events by type.
pub async fn load(environment: &Environment) -> Result<(), Error> {
    let api = Api::new(environment.port_of_server()?, environment.jwt_secret()?)?;
    let before = api.newest_event_number().await?;
    let mut loaded = Loaded::default();
    let story = story();
    let events: usize = story.iter().map(|batch| batch.drafts.len()).sum();
    let bar = progress::bar_of_events(events);
    for batch in story {
        let posted = batch.drafts.len();
        loaded.post(&api, batch).await?;
        bar.inc(progress::count(posted));
    }
    for stored in records::apply_all(&api).await? {
        loaded.remember(stored);
    }
    bar.finish_and_clear();
    loaded.summary(before).iter().try_for_each(|line| output::line(line))
}

/// All batches, in an order in which every cause is posted before its effect.
fn story() -> Vec<Batch> {
    [
        organizations::story(),
        products::story(),
        people::story(),
        commerce::story(),
        trading::story(),
        venture::story(),
    ]
    .concat()
}

#[derive(Default)]
struct Loaded {
    /// Event ids by idempotency key, for the `causation_id` of later events.
    ids: BTreeMap<String, String>,
    stored: Vec<Stored>,
}

impl Loaded {
    async fn post(&mut self, api: &Api, batch: Batch) -> Result<(), Error> {
        let keys: Vec<String> = batch.drafts.iter().map(Draft::key).collect();
        let events = batch
            .drafts
            .into_iter()
            .map(|draft| draft.into_event(&self.ids))
            .collect::<Result<Vec<_>, _>>()?;
        for (key, stored) in keys.into_iter().zip(api.append(&batch.actor, events).await?) {
            self.ids.insert(key, stored.id.clone());
            self.remember(stored);
        }
        Ok(())
    }

    fn remember(&mut self, stored: Stored) {
        self.stored.push(stored);
    }

    /// Counts the events of this run by type. Event numbers only increase, so an event was appended by this run if its number is above
    /// `before`, the newest number at the start.
    fn summary(&self, before: i64) -> Vec<String> {
        let new: Vec<&Stored> = self
            .stored
            .iter()
            .filter(|stored| stored.event_number > before)
            .collect();
        let mut counts = BTreeMap::<&str, usize>::new();
        for stored in &new {
            *counts.entry(&stored.event_type).or_default() += 1;
        }
        let lines = counts
            .iter()
            .map(|(event_type, count)| format!("{count:6}  {event_type}"));
        let total = format!(
            "{:6}  events appended, {} were stored already",
            new.len(),
            self.stored.len() - new.len()
        );
        lines.chain([total]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_story_is_the_same_every_time_and_its_keys_are_unique() {
        let keys = || {
            story()
                .iter()
                .flat_map(|batch| batch.drafts.iter().map(Draft::key))
                .collect::<Vec<_>>()
        };
        let distinct = keys().into_iter().collect::<BTreeSet<_>>();
        assert_eq!(distinct.len(), keys().len());
        assert!((300..=2000).contains(&distinct.len()), "{} events", distinct.len());
        assert_eq!(story(), story());
    }

    #[test]
    fn a_cause_is_posted_in_an_earlier_batch_than_its_effect() -> Result<(), Error> {
        let mut ids = BTreeMap::new();
        for batch in story() {
            assert!((1..=500).contains(&batch.drafts.len()));
            let keys: Vec<String> = batch.drafts.iter().map(Draft::key).collect();
            for draft in batch.drafts {
                draft.into_event(&ids)?;
            }
            ids.extend(keys.into_iter().map(|key| (key, "id".to_owned())));
        }
        Ok(())
    }

    #[test]
    fn every_module_appears() {
        let types = story()
            .iter()
            .flat_map(|batch| batch.drafts.iter().map(Draft::aggregate_type))
            .collect::<BTreeSet<_>>();
        let modules = [
            "agent",
            "commodity",
            "customer",
            "dealer",
            "expense",
            "opportunity",
            "order",
            "organization",
            "payment",
            "price",
            "product",
            "sale",
            "trade",
            "user",
        ];
        assert_eq!(types, modules.into_iter().collect());
    }
}
