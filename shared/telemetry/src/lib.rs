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

use std::error::Error;

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
    let message = panic.payload().downcast_ref::<&'static str>();
    let location = panic.location().map(ToString::to_string);
    tracing::error!(panic.location = location, panic.message = message, "panicked");
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

/// An error and its causes in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    chain_of(error, ToString::to_string)
}

/// An error and its causes in one line, each with the text that `text_of` gives it. A cause is left out if the texts before it already
/// contain its text: a transparent error, for example, has the text of its cause.
pub fn chain_of(error: &(dyn Error + 'static), text_of: impl Fn(&(dyn Error + 'static)) -> String) -> String {
    let mut line = String::new();
    for text in std::iter::successors(Some(error), |error| (*error).source()).map(text_of) {
        if !line.contains(&text) {
            let separator = if line.is_empty() { "" } else { ": " };
            line = line + separator + &text;
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Unreadable(std::io::Error);

    impl std::fmt::Display for Unreadable {
        fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(to, "cannot read /x/y")
        }
    }

    impl Error for Unreadable {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_and_its_causes_become_one_line() {
        let chain_with = |cause: &str| chain(&Unreadable(std::io::Error::other(cause.to_owned())));
        assert_eq!(chain_with("the disk\nis gone"), "cannot read /x/y: the disk is gone");
        assert_eq!(chain_with("cannot read"), "cannot read /x/y");
    }
}
