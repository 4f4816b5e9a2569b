//! What operators see: log lines and metrics, one JSON object per line on standard output, where Lambda picks them up; and traces.
//!
//! All are `tracing` events. Log lines carry the fields of the spans around them ([`within`] opens one for every request and
//! invocation), so that each names its request; [`metrics`] are told apart by their target and become lines of AWS' embedded
//! metric format, on a deployed function only: nobody collects them elsewhere.
//!
//! Invariant: neither holds bodies, tokens, secrets or anything that PostgreSQL quotes from a row
//! ([`told`](crate::store::told) leaves it out).

mod emf;
pub mod metrics;
mod scope;
pub mod xray;

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Deployed, deployed};
pub use scope::{Carried, Ids, carried, correlate, request_id, within};

/// Starts structured logging at the level of `LOG_LEVEL` (default `info`). A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = subscriber(std::io::stdout, filter, deployed());
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging was started before");
        return;
    }
    std::panic::set_hook(Box::new(log_panic));
}

/// A panic's place, and its words where they are the program's own: those that were put together may quote anything.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let words = panic.payload().downcast_ref::<&'static str>();
    let place = panic.location().map(ToString::to_string);
    tracing::error!(panic.place = place, panic.words = words, "panicked");
}

/// What [`start`] installs, with another place to write to. Metrics are written where a deployed function is named, whatever
/// the level of the log.
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
    let figures = deployed.map(|deployed| {
        emf::EmfLayer::new(deployed, output).with_filter(filter_fn(|of| of.target() == metrics::TARGET))
    });
    Registry::default().with(lines).with(figures).with(traces)
}

/// An error and its causes in one line, the first line of each: PostgreSQL's further lines may quote rows.
pub fn chain(error: &dyn std::error::Error) -> String {
    let first_line = |error: &dyn std::error::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    std::iter::successors(Some(error), |e| e.source())
        .map(first_line)
        .collect::<Vec<_>>()
        .join(": ")
}
