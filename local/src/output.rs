//! The command's standard output, which scripts read: `token` prints one JWT and nothing else, `serve` its promised lines.
//!
//! Everything meant for people alone goes to standard error, as logs or as the final error line.

use crate::Error;
use std::io::{self, Write};
use tokio::task::spawn_blocking;

/// Writes one line and flushes it, so that a reader waiting on the pipe for `listening on …` gets it at once.
pub fn line(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // The reader (`head -1`) had what it wanted and left: no reason to stop serving.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(unwritten),
    }
}

/// Writes lines and waits until they are taken: what counts as delivered afterwards must have been. A reader that left is
/// [`Error::ReaderGone`]; one that takes its time holds up nothing else, a signal least of all.
pub async fn lines(text: Vec<u8>) -> Result<(), Error> {
    let write = move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush())
    };
    let written = spawn_blocking(write).await.map_err(io::Error::other);
    match written.and_then(|written| written) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::ReaderGone),
        written => written.map_err(unwritten),
    }
}

fn unwritten(source: io::Error) -> Error {
    Error::Io {
        doing: "write to standard output".to_owned(),
        source,
    }
}
