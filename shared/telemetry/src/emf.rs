//! Writes metrics as lines of CloudWatch's embedded metric format. CloudWatch reads Lambda's log and makes metrics from them, so
//! no request is sent and nothing is waited for.
//!
//! This is written by hand, because the format is one JSON object. The maintained crate for it (`metrics_cloudwatch_embedded`)
//! collects through one recorder for the whole process, so tests and `local`, which runs all functions in one process, could not
//! separate the functions. It also prints all its values at the end of every invocation, changed or not.

use std::io::Write;

use chrono::Utc;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::metrics::METRICS;
use annals_config::Deployed;

/// CloudWatch's namespace for all metrics.
const NAMESPACE: &str = "Annals";

/// Writes a line for each metric event.
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
        let mut metrics = MetricVisitor::default();
        event.record(&mut metrics);
        let line = line(&self.deployed, Utc::now().timestamp_millis(), metrics.0);
        // One write per line, so that lines of two tasks do not mix. If standard output is closed, the failure cannot be
        // reported.
        let _ = self.output.make_writer().write_all(line.as_bytes());
    }
}

/// Name, unit and value of a metric.
type Metric = (&'static str, &'static str, Value);

#[derive(Default)]
struct MetricVisitor(Vec<Metric>);

impl MetricVisitor {
    fn add(&mut self, field: &Field, value: Value) {
        if let Some((name, unit)) = METRICS.iter().find(|(name, _)| *name == field.name()) {
            self.0.push((name, unit, value));
        }
    }
}

impl Visit for MetricVisitor {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

fn line(deployed: &Deployed, timestamp: i64, metrics: Vec<Metric>) -> String {
    let dimensions = [("Stack", &deployed.stack), ("Function", &deployed.function)];
    let definitions: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
        .collect();
    let mut members = Map::new();
    members.insert(
        "_aws".to_owned(),
        json!({"Timestamp": timestamp, "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [dimensions.map(|(name, _)| name)],
            "Metrics": definitions,
        }]}),
    );
    for (name, value) in dimensions {
        members.insert(name.to_owned(), json!(value));
    }
    for (name, _, value) in metrics {
        members.insert(name.to_owned(), value);
    }
    format!("{}\n", Value::Object(members))
}
