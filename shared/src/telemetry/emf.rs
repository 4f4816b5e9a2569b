//! Metrics as lines of CloudWatch's embedded metric format: Lambda's log is read by CloudWatch, which makes metrics of them. No
//! request is sent and nothing is waited for.
//!
//! By hand, because the format is one JSON object: the kept crate for it (`metrics_cloudwatch_embedded`) collects by way of a
//! recorder of the whole process, which tests and `local`, with all functions in one, could not tell apart, and prints what it
//! knows at the end of every invocation, changed or not.

use std::io::Write;

use chrono::Utc;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::metrics::METRICS;
use crate::config::Deployed;

/// Where all metrics are, in CloudWatch.
const NAMESPACE: &str = "Annals";

/// Writes a line for each event that it sees.
pub(super) struct EmfLayer<W> {
    deployed: Deployed,
    output: W,
}

impl<W> EmfLayer<W> {
    pub(super) fn new(deployed: Deployed, output: W) -> Self {
        Self { deployed, output }
    }
}

impl<S: Subscriber, W: for<'w> MakeWriter<'w> + 'static> Layer<S> for EmfLayer<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut figures = Figures::default();
        event.record(&mut figures);
        let line = line(&self.deployed, Utc::now().timestamp_millis(), figures.0);
        // One write, so that lines of two tasks do not mix. Where standard output is gone, nobody can be told.
        let _ = self.output.make_writer().write_all(line.as_bytes());
    }
}

/// A figure, as a metric of its name and unit.
type Figure = (&'static str, &'static str, Value);

#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    fn add(&mut self, field: &Field, value: Value) {
        if let Some((name, unit)) = METRICS.iter().find(|(name, _)| *name == field.name()) {
            self.0.push((name, unit, value));
        }
    }
}

impl Visit for Figures {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

fn line(deployed: &Deployed, timestamp: i64, figures: Vec<Figure>) -> String {
    let dimensions = [("Stack", &deployed.stack), ("Function", &deployed.function)];
    let metrics: Vec<Value> = figures
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
        .collect();
    let mut members = Map::new();
    members.insert(
        "_aws".to_owned(),
        json!({"Timestamp": timestamp, "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [dimensions.map(|(name, _)| name)],
            "Metrics": metrics,
        }]}),
    );
    for (name, value) in dimensions {
        members.insert(name.to_owned(), json!(value));
    }
    for (name, _, value) in figures {
        members.insert(name.to_owned(), value);
    }
    format!("{}\n", Value::Object(members))
}
