//! The command's standard output, which scripts read: `token` prints one JWT and nothing else, `serve` its promised lines.
//!
//! Everything meant for people alone goes to standard error, as logs or as the final error line.

use crate::Error;
use std::io::{self, Write};

/// Writes one line and flushes it, so that a reader waiting on the pipe for `listening on …` gets it at once.
pub fn line(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        // The reader (`head -1`) had what it wanted and left: no reason to stop serving.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| Error::Io {
            doing: "write to standard output".to_owned(),
            source,
        }),
    }
}
