//! The scope of a request or invocation: the ids that its log lines, answers and messages carry.
//!
//! The span has level `error`, because spans are filtered like events. With `LOG_LEVEL=warn` a span of level `info` would be
//! dropped together with its fields, and warnings would not name their request.

use std::sync::{Arc, OnceLock};

use tracing::Instrument;
use tracing::field::Empty;

/// The ids of a request or invocation.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// The id in our answer and on every line.
    pub request: String,
    /// API Gateway's request id, as in its access log.
    pub gateway: Option<String>,
    /// Lambda's request id, as in its own lines about the invocation.
    pub invocation: Option<String>,
    /// X-Ray's header, `Root=…;Parent=…;Sampled=1`.
    pub trace: Option<String>,
}

impl Ids {
    /// The ids of an invocation that is not an HTTP request: Lambda's request id, and X-Ray's header.
    pub fn of_invocation(id: String, trace: Option<String>) -> Self {
        Self {
            request: id,
            trace,
            ..Self::default()
        }
    }
}

/// What a queue message carries about the request that sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageContext {
    /// Id of the request.
    pub request_id: Option<String>,
    /// Correlation id of the events that it appended.
    pub correlation_id: Option<String>,
    /// X-Ray's header.
    pub trace: Option<String>,
}

struct Scope {
    ids: Ids,
    correlation_id: OnceLock<String>,
    span: tracing::Span,
}

tokio::task_local! {
    static SCOPE: Arc<Scope>;
}

/// Runs the work in a scope with these ids.
pub async fn within<F: Future>(ids: Ids, work: F) -> F::Output {
    let span = tracing::error_span!(
        "request",
        request.id = ids.request,
        gateway.id = ids.gateway,
        invocation.id = ids.invocation,
        trace.id = ids.trace.as_deref().and_then(root),
        correlation.id = Empty,
        origin.request.id = Empty,
    );
    let scope = Scope {
        ids,
        correlation_id: OnceLock::new(),
        span: span.clone(),
    };
    SCOPE.scope(Arc::new(scope), work).instrument(span).await
}

/// Id of the current request. Empty outside of one.
pub fn request_id() -> String {
    SCOPE.try_with(|scope| scope.ids.request.clone()).unwrap_or_default()
}

/// Adds the correlation id to further log lines. Only the first call has an effect: work with several correlation ids has no
/// single one.
pub fn correlate(correlation_id: &str) {
    // Outside of a request there is no scope, and nothing to do.
    let _ = SCOPE.try_with(|scope| {
        if scope.correlation_id.set(correlation_id.to_owned()).is_ok() {
            scope.span.record("correlation.id", correlation_id);
        }
    });
}

/// The context for messages that are sent now.
pub fn message_context() -> MessageContext {
    let context = SCOPE.try_with(|scope| MessageContext {
        request_id: Some(scope.ids.request.clone()),
        correlation_id: scope.correlation_id.get().cloned(),
        trace: scope.ids.trace.clone(),
    });
    context.unwrap_or_default()
}

impl MessageContext {
    /// Adds this context to the log lines of the current work. Call it only if this message alone caused the work.
    pub fn adopt(&self) {
        if let Some(id) = &self.correlation_id {
            correlate(id);
        }
        if let Some(id) = &self.request_id {
            let _ = SCOPE.try_with(|scope| scope.span.record("origin.request.id", id.as_str()).is_none());
        }
    }
}

/// A trace that X-Ray samples, and the current position in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sampled {
    /// Id of the trace.
    pub(super) root: String,
    /// Id of the function's segment.
    pub(super) parent: String,
}

/// The trace of the current work, if X-Ray samples it.
pub(super) fn sampled() -> Option<Sampled> {
    let header = SCOPE.try_with(|scope| scope.ids.trace.clone()).ok()??;
    let is_hex = |id: &&str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (part(&header, "Sampled=")? == "1").then_some(())?;
    Some(Sampled {
        root: root(&header)?.to_owned(),
        parent: part(&header, "Parent=").filter(is_hex)?.to_owned(),
    })
}

/// The trace id in the header. The client may have sent the header, so only what X-Ray could have written is accepted.
fn root(header: &str) -> Option<&str> {
    let usable = |id: &&str| id.len() == 35 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    part(header, "Root=").filter(usable)
}

fn part<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.split(';').find_map(|part| part.trim().strip_prefix(name))
}
