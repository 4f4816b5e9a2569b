//! What a function would print: log lines and metrics of this test's thread.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use annals::config::Deployed;
use annals::telemetry;
use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{EnvFilter, Registry};

/// The name under which the test's functions are deployed.
pub const FUNCTION: &str = "annals-Function-1A2B3C";

/// Everything printed while it lives.
pub struct Captured {
    printed: Printed,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// As on Lambda, with this `LOG_LEVEL`.
    pub fn deployed(level: &str) -> Self {
        Self::of(level, Some(deployed(None)))
    }

    /// As on Lambda, where X-Ray's daemon listens here.
    pub fn traced(daemon: SocketAddr) -> Self {
        Self::of("trace", Some(deployed(Some(daemon))))
    }

    /// As on a laptop.
    pub fn local(level: &str) -> Self {
        Self::of(level, None)
    }

    fn of(level: &str, deployed: Option<Deployed>) -> Self {
        want_everything();
        let printed = Printed::default();
        let output = printed.clone();
        let subscriber = telemetry::subscriber(move || output.clone(), EnvFilter::new(level), deployed);
        Self {
            printed,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Everything, as it was printed.
    pub fn text(&self) -> String {
        String::from_utf8(self.printed.0.lock().unwrap().clone()).expect("text")
    }

    /// Log lines; each has to be a JSON object in which no name stands twice.
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
            annals::domain::json::parse(line.as_bytes()).unwrap_or_else(|fault| panic!("{}: {line}", fault.message))
        })
    }
}

/// Whether anybody wants an event is remembered where the event is, for all threads, when it first occurs; at that moment some
/// other test may have begun to want it, unnoticed. So somebody always wants everything, and each event asks its own thread.
fn want_everything() {
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
