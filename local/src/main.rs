//! `cargo run`: Annals on this machine. Everything is in the library; see `annals-local --help`.

use clap::Parser;
use local::Error;
use local::shutdown::INTERRUPTED;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match local::cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        // `| head` is no reason to complain, and neither is it an end that was reached.
        Err(Error::ReaderGone) => ExitCode::FAILURE,
        // Without waiting for a write that nobody reads, as the end of the runtime would.
        Err(Error::Interrupted) => std::process::exit(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {}", local::error::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
