//! Captures what a function would print: log lines and metrics of this test's thread.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use annals_config::Deployed;
use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{EnvFilter, Registry};

/// The name under which the test's functions are deployed.
pub const FUNCTION: &str = "annals-Function-1A2B3C";

/// Captures everything that is printed while this value lives.
pub struct Captured {
    printed: Printed,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Prints as on Lambda, with this `LOG_LEVEL`.
    pub fn deployed(level: &str) -> Self {
        Self::of(level, Some(deployed(None)))
    }

    /// Prints as on Lambda, and sends traces to an X-Ray daemon at this address.
    pub fn traced(daemon: SocketAddr) -> Self {
        Self::of("trace", Some(deployed(Some(daemon))))
    }

    /// Prints as on a laptop.
    pub fn local(level: &str) -> Self {
        Self::of(level, None)
    }

    fn of(level: &str, deployed: Option<Deployed>) -> Self {
        enable_every_callsite();
        let printed = Printed::default();
        let output = printed.clone();
        let subscriber = annals_telemetry::subscriber(move || output.clone(), EnvFilter::new(level), deployed);
        Self {
            printed,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Everything that was printed.
    pub fn text(&self) -> String {
        String::from_utf8(self.printed.0.lock().unwrap().clone()).expect("text")
    }

    /// Log lines. Each must be a JSON object without duplicate names.
    pub fn lines(&self) -> Vec<Value> {
        self.objects().filter(|line| line.get("_aws").is_none()).collect()
    }

    /// Lines of metrics.
    pub fn metrics(&self) -> Vec<Value> {
        self.objects().filter(|line| line.get("_aws").is_some()).collect()
    }

    /// The sum of a metric.
    pub fn metric(&self, name: &str) -> i64 {
        self.metrics().iter().filter_map(|line| line[name].as_i64()).sum()
    }

    fn objects(&self) -> impl Iterator<Item = Value> {
        let lines: Vec<String> = self.text().lines().map(str::to_owned).collect();
        lines.into_iter().map(|line| {
            annals_domain::json::parse(line.as_bytes()).unwrap_or_else(|fault| panic!("{}: {line}", fault.message))
        })
    }
}

/// `tracing` remembers for each callsite, for all threads, whether any subscriber wants its events. It asks when the callsite is first
/// reached, and may miss a subscriber that another test is just creating. So one subscriber always wants everything, and each event
/// then asks the subscriber of its own thread.
fn enable_every_callsite() {
    static EVERYTHING: OnceLock<Dispatch> = OnceLock::new();
    EVERYTHING.get_or_init(|| Dispatch::new(Registry::default()));
}

fn deployed(trace_daemon: Option<SocketAddr>) -> Deployed {
    Deployed {
        stack: "annals".to_owned(),
        function: FUNCTION.to_owned(),
        trace_daemon,
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
