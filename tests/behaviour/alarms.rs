//! Every function and queue has its alarms, and every metric that an alarm or the dashboard reads is written by AWS or by our code
//! with the same dimensions. An alarm on a metric that is never written would never go off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use annals_telemetry::metrics::METRICS;
use serde_json::Value;

use crate::deployed::template;

/// The function that writes a metric of ours.
const WRITTEN_BY: [(&str, &[&str]); 16] = [
    ("EventsAppended", &["PostEvent", "CsvUpload", "Importer"]),
    ("Conflicts", &["PostEvent", "AuditQuery", "CsvUpload"]),
    ("ProjectionLagSeconds", &["Projector"]),
    ("ProjectionLagEvents", &["Projector"]),
    ("ParkedStreams", &["Projector"]),
    ("StreamsSwept", &["Projector"]),
    ("KpiLagSeconds", &["Projector"]),
    ("RowsAccepted", &["CsvUpload", "Importer"]),
    ("RowsRejected", &["CsvUpload", "Importer"]),
    ("RowsDuplicate", &["CsvUpload", "Importer"]),
    ("RowsUpdated", &["CsvUpload", "Importer"]),
    ("ImportsFailed", &["Importer"]),
    ("ImportsStuck", &["Importer"]),
    ("RebuildsDone", &["Rebuilder"]),
    ("RebuildsFailed", &["Rebuilder"]),
    ("RebuildChangedRows", &["Rebuilder"]),
];

/// The metrics of AWS that we use, with their dimension.
const OF_AWS: [(&str, &str, &[&str]); 3] = [
    ("AWS/Lambda", "FunctionName", &["Errors", "Throttles", "Duration"]),
    (
        "AWS/SQS",
        "QueueName",
        &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"],
    ),
    // These are an HTTP API's; a REST API's have other names.
    ("AWS/ApiGateway", "ApiId", &["Count", "4xx", "5xx", "Latency"]),
];

/// A metric as an alarm or a widget names it. Values of dimensions are logical names of resources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

/// All resources by name, each with its type and its lines.
fn resources() -> BTreeMap<String, (String, String)> {
    let template = template();
    let (_, rest) = template.split_once("\nResources:\n").unwrap();
    let (rest, _) = rest.split_once("\nOutputs:\n").unwrap();
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut current = None;
    for line in rest.lines() {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        if let Some(name) = name.filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())) {
            current = Some(name.to_owned());
            found.insert(name.to_owned(), Default::default());
        } else if let Some((kind, lines)) = current.as_ref().and_then(|name| found.get_mut(name)) {
            if let Some(of) = line.strip_prefix("    Type: ") {
                of.clone_into(kind);
            }
            lines.push_str(line);
            lines.push('\n');
        }
    }
    found
}

fn names_of(kind: &str) -> BTreeSet<String> {
    let of_kind = resources().into_iter().filter(|(_, (of, _))| of == kind);
    of_kind.map(|(name, _)| name).collect()
}

fn property<'l>(lines: &'l str, name: &str) -> Option<&'l str> {
    let start = format!("      {name}: ");
    lines.lines().find_map(|line| line.strip_prefix(&start))
}

/// The resource that `!Ref PostEvent`, `!GetAtt WakeQueue.QueueName` or `${WakeQueue.QueueName}` refers to.
fn resource(value: &str) -> String {
    let value = value.trim_start_matches("!Ref ").trim_start_matches("!GetAtt ");
    let value = value.trim_start_matches("${").trim_end_matches('}');
    value.trim_end_matches(".QueueName").to_owned()
}

fn metric_of_alarm(lines: &str) -> Metric {
    let dimension = |line: &str| {
        let (name, value) = line.trim().strip_prefix("- { Name: ")?.split_once(", Value: ")?;
        Some((name.to_owned(), resource(value.trim_end_matches(" }"))))
    };
    Metric {
        namespace: property(lines, "Namespace").unwrap().to_owned(),
        name: property(lines, "MetricName").unwrap().to_owned(),
        dimensions: lines.lines().filter_map(dimension).collect(),
    }
}

/// An alarm's lines with the properties that it merges from another (`<<: *functionAlarm`) and does not have itself.
fn merged(lines: &str, base: &str) -> String {
    let property_of = |line: &str| {
        let name = line.strip_prefix("      ")?.split_once(':')?.0;
        (!name.starts_with([' ', '<'])).then(|| name.to_owned())
    };
    let own: BTreeSet<String> = lines.lines().filter_map(property_of).collect();
    let (mut merged, mut skips) = (lines.to_owned(), false);
    for line in base.lines() {
        skips = property_of(line).map_or(skips, |name| own.contains(&name));
        if !skips {
            merged.push_str(line);
            merged.push('\n');
        }
    }
    merged
}

/// Alarms by name, with merged properties.
fn alarms() -> BTreeMap<String, (Metric, String)> {
    let alarms = || {
        resources()
            .into_iter()
            .filter(|(_, (of, _))| of == "AWS::CloudWatch::Alarm")
    };
    let (_, (_, base)) = alarms()
        .find(|(_, (_, lines))| lines.contains("&functionAlarm"))
        .unwrap();
    let (_, base) = base.split_once("&functionAlarm\n").unwrap();
    alarms()
        .map(|(name, (_, lines))| match lines.contains("<<: *functionAlarm") {
            true => (name, merged(&lines, base)),
            false => (name, lines),
        })
        .map(|(name, lines)| (name, (metric_of_alarm(&lines), lines)))
        .collect()
}

fn metrics_of_dashboard() -> Vec<Metric> {
    let (_, lines) = resources().remove("Dashboard").unwrap();
    let (_, body) = lines.split_once("DashboardBody: !Sub |\n").unwrap();
    let body: Value = serde_json::from_str(body).expect("the dashboard is JSON");
    let widgets = body["widgets"].as_array().unwrap().iter();
    let metrics = widgets.flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    metrics.map(metric_of_widget).collect()
}

fn metric_of_widget(metric: &Value) -> Metric {
    let texts: Vec<&str> = metric.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let pairs = texts[2..].chunks(2);
    Metric {
        namespace: texts[0].to_owned(),
        name: texts[1].to_owned(),
        dimensions: pairs.map(|pair| (pair[0].to_owned(), resource(pair[1]))).collect(),
    }
}

/// Whether AWS or our code writes this metric.
fn is_written(metric: &Metric) -> bool {
    let resources = resources();
    if metric.namespace == "Annals" {
        let written = WRITTEN_BY.iter().find(|(name, _)| *name == metric.name);
        let names: Vec<&str> = metric.dimensions.keys().map(String::as_str).collect();
        return written.is_some_and(|(_, functions)| functions.contains(&&*metric.dimensions["Function"]))
            && names == ["Function", "Stack"]
            && metric.dimensions["Stack"] == "AWS::StackName";
    }
    OF_AWS.iter().any(|(namespace, dimension, names)| {
        metric.namespace == *namespace
            && names.contains(&&*metric.name)
            && metric.dimensions.len() == 1
            && metric
                .dimensions
                .get(*dimension)
                .is_some_and(|of| resources.contains_key(of))
    })
}

fn has_alarm(namespace: &str, name: &str, of: &str) -> bool {
    let is = |metric: &Metric| metric.namespace == namespace && metric.name == name;
    alarms()
        .values()
        .any(|(metric, _)| is(metric) && metric.dimensions.values().any(|value| value == of))
}

/// A function without an event source is only invoked by deployments, which fail if it fails. It needs no alarm.
#[test]
fn every_function_has_its_alarms() {
    let is_called = |lines: &str| lines.contains("\n      Events:\n");
    let functions = resources()
        .into_iter()
        .filter(|(_, (of, lines))| of == "AWS::Serverless::Function" && is_called(lines));
    let functions: Vec<String> = functions.map(|(name, _)| name).collect();
    assert!(functions.len() >= 5, "{functions:?}");
    for function in functions {
        for metric in ["Errors", "Throttles"] {
            assert!(
                has_alarm("AWS/Lambda", metric, &function),
                "{function} has no alarm for {metric}"
            );
        }
    }
}

#[test]
fn every_queue_has_its_alarm() {
    let queues = names_of("AWS::SQS::Queue");
    assert!(queues.len() >= 3, "{queues:?}");
    for queue in queues {
        let metric = match queue.ends_with("DeadLetters") {
            true => "ApproximateNumberOfMessagesVisible",
            false => "ApproximateAgeOfOldestMessage",
        };
        assert!(
            has_alarm("AWS/SQS", metric, &queue),
            "{queue} has no alarm for {metric}"
        );
    }
}

#[test]
fn projection_and_the_api_have_their_alarms() {
    assert!(has_alarm("Annals", "ProjectionLagSeconds", "Projector"));
    assert!(has_alarm("Annals", "ParkedStreams", "Projector"));
    assert!(has_alarm("Annals", "ImportsStuck", "Importer"));
    assert!(has_alarm("Annals", "KpiLagSeconds", "Projector"));
    assert!(has_alarm("AWS/ApiGateway", "5xx", "Api"));
}

#[test]
fn every_alarm_and_widget_reads_a_metric_that_is_written() {
    let read: Vec<Metric> = alarms()
        .into_values()
        .map(|(metric, _)| metric)
        .chain(metrics_of_dashboard())
        .collect();
    assert!(read.len() > 40, "only {} metrics found", read.len());
    for metric in read {
        assert!(is_written(&metric), "nothing writes {metric:?}");
    }
}

#[test]
fn every_metric_of_ours_is_on_the_dashboard() {
    let shown: BTreeSet<String> = metrics_of_dashboard().into_iter().map(|metric| metric.name).collect();
    for (name, _) in METRICS {
        assert!(WRITTEN_BY.iter().any(|(written, _)| written == name), "{name}");
        assert!(shown.contains(*name), "{name} is not on the dashboard");
    }
}

#[test]
fn every_alarm_notifies_the_topic_and_says_how_missing_data_count() {
    for (name, (metric, lines)) in alarms() {
        assert_eq!(property(&lines, "AlarmActions"), Some("[!Ref AlarmTopic]"), "{name}");
        assert_eq!(property(&lines, "OKActions"), Some("[!Ref AlarmTopic]"), "{name}");
        let silence = match metric.name.as_str() {
            // Where sweeps are rare, missing data are normal.
            "ProjectionLagSeconds" => "!If [LooksEachMinute, breaching, notBreaching]",
            "ParkedStreams" | "ImportsStuck" => "ignore",
            _ => "notBreaching",
        };
        assert_eq!(property(&lines, "TreatMissingData"), Some(silence), "{name}");
    }
}

/// Functions write their metrics with STACK_NAME as a dimension. With another value, no alarm would find its metric.
#[test]
fn functions_get_the_stack_name_that_alarms_use_as_a_dimension() {
    let globals = template();
    let (_, globals) = globals.split_once("\nGlobals:\n").unwrap();
    let (globals, _) = globals.split_once("\nResources:\n").unwrap();
    assert!(globals.contains("        STACK_NAME: !Ref AWS::StackName\n"));
}

#[test]
fn the_runbook_has_an_entry_for_every_alarm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let runbook = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    for name in alarms().into_keys() {
        // One entry covers the errors of all functions, and one their throttles.
        let entry = ["Errors", "Throttles"]
            .into_iter()
            .find(|kind| name.ends_with(kind) && name != "ApiServerErrors");
        let entry = entry.map_or_else(|| format!("**{name}**"), |kind| format!("**…{kind}**"));
        assert!(runbook.contains(&entry), "the runbook has no entry {entry}");
    }
}
