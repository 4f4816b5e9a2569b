//! `cargo run`: Annals on this machine. The code is in the library; `annals-local --help` describes the commands.

use clap::Parser;
use local::Error;
use local::shutdown::INTERRUPTED;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match local::cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        // For example `| head`. No message, because the reader has what it wanted; no success, because the work was not finished.
        Err(Error::OutputClosed) => ExitCode::FAILURE,
        // Exits without the runtime's shutdown, which would wait for a blocked write to standard output.
        Err(Error::Interrupted) => std::process::exit(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {}", annals_telemetry::chain(&error));
            ExitCode::FAILURE
        }
    }
}
