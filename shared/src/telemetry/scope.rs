//! Whose work is being done: the request or invocation that log lines, answers and messages name.
//!
//! The span is one of level `error`, because spans are filtered like events: with `LOG_LEVEL=warn` a span of level `info` would
//! take its fields along, and warnings would name no request.

use std::sync::{Arc, OnceLock};

use tracing::Instrument;
use tracing::field::Empty;

/// What a request or invocation is called, by everybody who gave it a name.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// In our answer, and on every line.
    pub request: String,
    /// API Gateway's: the one in its access log.
    pub gateway: Option<String>,
    /// Lambda's: the one in its own lines about the invocation.
    pub invocation: Option<String>,
    /// X-Ray's header, `Root=…;Parent=…;Sampled=1`.
    pub trace: Option<String>,
}

impl Ids {
    /// Those of an invocation that is no request of HTTP: Lambda's id, and X-Ray's header.
    pub fn of_invocation(id: String, trace: Option<String>) -> Self {
        Self {
            request: id,
            trace,
            ..Self::default()
        }
    }
}

/// What a message tells of the request that sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Id of the request.
    pub request_id: Option<String>,
    /// Correlation id of what it appended.
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

/// Does the work under these names.
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

/// Id of the request being served; empty outside of one.
pub fn request_id() -> String {
    SCOPE.try_with(|scope| scope.ids.request.clone()).unwrap_or_default()
}

/// From here on lines carry this correlation id. The first one stands: work that belongs to several has no single name.
pub fn correlate(correlation_id: &str) {
    // Outside of a request there is nothing to name.
    let _ = SCOPE.try_with(|scope| {
        if scope.correlation_id.set(correlation_id.to_owned()).is_ok() {
            scope.span.record("correlation.id", correlation_id);
        }
    });
}

/// What messages that are sent now should carry.
pub fn carried() -> Carried {
    let carried = SCOPE.try_with(|scope| Carried {
        request_id: Some(scope.ids.request.clone()),
        correlation_id: scope.correlation_id.get().cloned(),
        trace: scope.ids.trace.clone(),
    });
    carried.unwrap_or_default()
}

impl Carried {
    /// The work that is under way was asked for by this message alone: its lines say so.
    pub fn adopt(&self) {
        if let Some(id) = &self.correlation_id {
            correlate(id);
        }
        if let Some(id) = &self.request_id {
            let _ = SCOPE.try_with(|scope| scope.span.record("origin.request.id", id.as_str()).is_none());
        }
    }
}

/// A trace that X-Ray keeps, and where in it we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sampled {
    /// The trace's id.
    pub(super) root: String,
    /// The function's segment.
    pub(super) parent: String,
}

/// The trace that work belongs to, where X-Ray keeps it.
pub(super) fn sampled() -> Option<Sampled> {
    let header = SCOPE.try_with(|scope| scope.ids.trace.clone()).ok()??;
    let is_hex = |id: &&str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (part(&header, "Sampled=")? == "1").then_some(())?;
    Some(Sampled {
        root: root(&header)?.to_owned(),
        parent: part(&header, "Parent=").filter(is_hex)?.to_owned(),
    })
}

/// The trace's id within the header. The header may be the client's own, so that only what X-Ray could have written counts.
fn root(header: &str) -> Option<&str> {
    let usable = |id: &&str| id.len() == 35 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    part(header, "Root=").filter(usable)
}

fn part<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    header.split(';').find_map(|part| part.trim().strip_prefix(name))
}
