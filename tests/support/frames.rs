//! Frames of PostgreSQL's protocol, as far as a proxy needs them.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use crate::proxy::Passed;

/// One frame: a tag (missing in a client's first frame), a length, and the content.
pub(crate) struct Frame(Bytes);

impl Frame {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn tag(&self) -> u8 {
        self.0[0]
    }

    fn texts(&self) -> impl Iterator<Item = String> {
        self.0[5..]
            .split(|byte| *byte == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn is_query(&self, starts: &str) -> bool {
        self.tag() == b'Q'
            && self
                .texts()
                .next()
                .is_some_and(|sql| sql.to_lowercase().starts_with(starts))
    }

    pub(crate) fn is_begin(&self) -> bool {
        self.is_query("begin") || self.is_query("start transaction")
    }

    pub(crate) fn is_commit(&self) -> bool {
        self.is_query("commit")
    }

    /// Whether this is the client's Sync, which commits a statement outside a transaction.
    pub(crate) fn is_sync(&self) -> bool {
        self.tag() == b'S'
    }

    /// Whether the client sends a statement.
    pub(crate) fn is_statement(&self) -> bool {
        matches!(self.tag(), b'Q' | b'P')
    }

    pub(crate) fn is_append(&self) -> bool {
        self.tag() == b'P' && self.begins("-- append_event")
    }

    /// Whether it is a statement that begins with this text.
    pub(crate) fn begins(&self, start: &str) -> bool {
        let place = match self.tag() {
            b'Q' => 0,
            // The name of the prepared statement comes first.
            b'P' => 1,
            _ => return false,
        };
        self.texts().nth(place).is_some_and(|sql| sql.starts_with(start))
    }

    /// Whether the server must answer it with ReadyForQuery.
    pub(crate) fn wants_answer(&self) -> bool {
        matches!(self.tag(), b'Q' | b'S')
    }

    /// Whether this is ReadyForQuery, the end of an answer.
    pub(crate) fn ends_answer(&self) -> bool {
        self.tag() == b'Z'
    }

    /// The same, and the session is in no transaction.
    pub(crate) fn is_idle(&self) -> bool {
        self.tag() == b'Z' && self.0.last() == Some(&b'I')
    }

    pub(crate) fn passed(&self) -> Passed {
        let mut texts = self.texts();
        let mut next = || texts.next().unwrap_or_default();
        match self.tag() {
            b'Q' => Passed::Query(next()),
            b'P' => Passed::Parse {
                name: next(),
                sql: next(),
            },
            tag => Passed::Client(char::from(tag)),
        }
    }

    pub(crate) fn passed_back(&self) -> Passed {
        Passed::Server(char::from(self.tag()))
    }
}

/// Splits a stream of bytes into frames.
pub(crate) struct Frames {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    has_tags: bool,
}

impl Frames {
    pub(crate) fn of_client(stream: OwnedReadHalf) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            has_tags: false,
        }
    }

    pub(crate) fn of_server(stream: OwnedReadHalf) -> Self {
        Self {
            has_tags: true,
            ..Self::of_client(stream)
        }
    }

    /// The next frame; none at the end. The future may be dropped without losing bytes.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let tag = usize::from(self.has_tags);
            if let Some(length) = self.buffer.get(tag..tag + 4) {
                let length = tag + length.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
                if self.buffer.len() >= length {
                    self.has_tags = true;
                    return Ok(Some(Frame(self.buffer.split_to(length).freeze())));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}
