//! A client's connection, with what hyper leaves to others: a limit for clients that do not read, and what hyper would answer by
//! itself.
//!
//! hyper answers a request that it cannot parse with a bare `400`, `414` or `431` and closes. No handler sees such a request, and hyper
//! has no hook for it, so the answer is recognised here, on its way out: a head of one of these statuses that has no content
//! type. None of our own answers looks like that. It is kept back, and [`super`] writes a problem in its place.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection that is served.
pub(super) struct Wire {
    stream: TcpStream,
    patience: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What hyper wanted to answer without a body.
    pub(super) unread: Option<StatusCode>,
    /// Whether the client has sent something since we last answered.
    pub(super) has_asked: bool,
}

impl Wire {
    /// A connection whose client may let us wait so long before it takes more of an answer.
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            stalled: None,
            unread: None,
            has_asked: false,
        }
    }

    /// The connection itself, once hyper is done with it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.has_asked |= buf.filled().len() > before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(status) = bare_refusal(bytes) {
            self.unread = Some(status);
            return Poll::Ready(Ok(bytes.len()));
        }
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                (self.stalled, self.has_asked) = (None, false);
                Poll::Ready(written)
            }
            Poll::Pending => {
                let patience = self.patience;
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(stalled.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Not yet, if our own answer is to be sent instead of hyper's.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.unread {
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

/// What hyper answers by itself.
const BY_ITSELF: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::URI_TOO_LONG,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
];

/// The status of a head that hyper wrote by itself. Behind another answer in the same write it is not recognised, and passes as it is.
fn bare_refusal(bytes: &[u8]) -> Option<StatusCode> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let status = StatusCode::from_bytes(head.get(..3)?).ok()?;
    let is_typed = || head.windows(TYPED.len()).any(|part| part.eq_ignore_ascii_case(TYPED));
    (BY_ITSELF.contains(&status) && !is_typed()).then_some(status)
}

const TYPED: &[u8] = b"\r\ncontent-type:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_by_itself_is_kept_back() {
        let bare = |text: &str| bare_refusal(text.as_bytes()).map(|status| status.as_u16());
        let hypers = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare(hypers), Some(431));
        for ours in [
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "a body that says HTTP/1.1 400 Bad Request",
            "HTTP/1.1 4",
        ] {
            assert_eq!(bare(ours), None, "{ours}");
        }
    }
}
