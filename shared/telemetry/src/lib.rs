//! Telemetry: log lines, metrics and traces. Log lines and metrics are JSON objects, one per line, on standard output, where Lambda
//! collects them.
//!
//! All of them are `tracing` events. Log lines have the fields of the spans around them. [`within`] opens a span for every
//! request and invocation, so each line names its request. [`metrics`] have their own target and become lines of AWS' embedded
//! metric format, but only in a deployed function, because nothing collects them elsewhere.
//!
//! Invariant: neither contains bodies, tokens, secrets, or anything that PostgreSQL quotes from a row. The store removes such
//! quotes from its errors before they are logged.

mod emf;
pub mod metrics;
mod scope;
pub mod xray;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use annals_config::{Deployed, deployed};
pub use scope::{Ids, MessageContext, correlate, message_context, request_id, within};

/// Starts structured logging at the level in `LOG_LEVEL` (default `info`). A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = subscriber(std::io::stdout, filter, deployed());
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging was started before");
        return;
    }
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs the location of a panic. Its message is logged only if it is a constant of the program, because a formatted message may
/// quote anything.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let words = panic.payload().downcast_ref::<&'static str>();
    let place = panic.location().map(ToString::to_string);
    tracing::error!(panic.place = place, panic.words = words, "panicked");
}

/// The subscriber that [`start`] installs, with a chosen output. Metrics are written if `deployed` is given, whatever the log
/// level.
pub fn subscriber<W>(output: W, filter: EnvFilter, deployed: Option<Deployed>) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let lines = json_subscriber::layer()
        .with_writer(output.clone())
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .flatten_span_list_on_top_level(true)
        .with_filter(filter.and(filter_fn(|of| ![metrics::TARGET, xray::TARGET].contains(&of.target()))));
    let daemon = deployed.as_ref().and_then(|deployed| deployed.trace_daemon);
    let traces = daemon
        .and_then(xray::XrayLayer::to)
        .map(|layer| layer.with_filter(filter_fn(|of| of.target() == xray::TARGET)));
    let metric_lines = deployed.map(|deployed| {
        emf::EmfLayer::new(deployed, output).with_filter(filter_fn(|of| of.target() == metrics::TARGET))
    });
    Registry::default().with(lines).with(metric_lines).with(traces)
}

/// An error and its causes in one line. Only the first line of each is used, because PostgreSQL's further lines may quote rows.
pub fn chain(error: &dyn std::error::Error) -> String {
    let first_line = |error: &dyn std::error::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    std::iter::successors(Some(error), |e| e.source())
        .map(first_line)
        .collect::<Vec<_>>()
        .join(": ")
}
