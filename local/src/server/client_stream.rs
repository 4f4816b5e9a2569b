//! A client's connection, with two things that hyper lacks: a timeout for clients that do not read, and a hook for hyper's own answers.
//!
//! hyper answers a request that it cannot parse with status 400, 414 or 431 and no body, and closes. No handler sees such a request, so
//! hyper's answer is recognised here when it is written: a head with one of these statuses and without a content type, which none of our
//! own answers is. It is withheld, and [`super`] sends a problem instead.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The connection of a client.
pub(super) struct ClientStream {
    stream: TcpStream,
    write_timeout: Duration,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Status of hyper's own answer, if one was withheld.
    pub(super) withheld: Option<StatusCode>,
    /// Whether the client has sent bytes since the last answer.
    pub(super) has_sent: bool,
}

impl ClientStream {
    /// Wraps a connection. A write fails if the client takes no bytes for `write_timeout`.
    pub(super) fn new(stream: TcpStream, write_timeout: Duration) -> Self {
        Self {
            stream,
            write_timeout,
            stalled: None,
            withheld: None,
            has_sent: false,
        }
    }

    /// The TCP connection, for use after hyper is done with it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.has_sent |= buf.filled().len() > before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(status) = hypers_own_answer(bytes) {
            self.withheld = Some(status);
            return Poll::Ready(Ok(bytes.len()));
        }
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                (self.stalled, self.has_sent) = (None, false);
                Poll::Ready(written)
            }
            Poll::Pending => {
                let write_timeout = self.write_timeout;
                let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_timeout)));
                ready!(stalled.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Does nothing if an answer was withheld, because the problem is still to be sent.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.withheld {
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

/// The statuses of hyper's own answers.
const OWN_STATUSES: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::URI_TOO_LONG,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
];

/// The status of an answer that hyper wrote by itself. If it follows another answer in the same write, it is not recognised and is sent as
/// it is.
fn hypers_own_answer(bytes: &[u8]) -> Option<StatusCode> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let status = StatusCode::from_bytes(head.get(..3)?).ok()?;
    let has_type = || {
        head.windows(CONTENT_TYPE.len())
            .any(|part| part.eq_ignore_ascii_case(CONTENT_TYPE))
    };
    (OWN_STATUSES.contains(&status) && !has_type()).then_some(status)
}

const CONTENT_TYPE: &[u8] = b"\r\ncontent-type:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_answers_are_withheld() {
        let withheld = |text: &str| hypers_own_answer(text.as_bytes()).map(|status| status.as_u16());
        let hypers = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(withheld(hypers), Some(431));
        for ours in [
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "a body that says HTTP/1.1 400 Bad Request",
            "HTTP/1.1 4",
        ] {
            assert_eq!(withheld(ours), None, "{ours}");
        }
    }
}
