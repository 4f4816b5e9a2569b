//! The command's standard output, which scripts read: `token` prints one JWT and nothing else, `serve` prints its address and tokens.
//!
//! Text that no script reads goes to standard error: logs, progress and the final error.

use crate::Error;
use std::io::{self, Write};
use tokio::task::spawn_blocking;

/// Writes one line and flushes it, so that a reader that waits for `listening on …` on a pipe gets it immediately.
pub fn line(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // The reader (`head -1`) has what it wanted and has closed the pipe. The server continues.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(write_error),
    }
}

/// Writes lines and waits until the reader has taken them, because they count as delivered afterwards. A closed pipe is
/// [`Error::OutputClosed`]. The write runs on a thread of its own, so a slow reader does not delay anything else, such as a signal.
pub async fn lines(text: Vec<u8>) -> Result<(), Error> {
    let write = move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush())
    };
    let written = spawn_blocking(write).await.map_err(io::Error::other);
    match written.and_then(|written| written) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::OutputClosed),
        written => written.map_err(write_error),
    }
}

fn write_error(source: io::Error) -> Error {
    Error::Io {
        doing: "write to standard output".to_owned(),
        source,
    }
}
