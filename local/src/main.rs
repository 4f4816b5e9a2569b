//! `cargo run`: Annals on this machine. Everything is in the library; see `annals-local --help`.

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match local::cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", local::error::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
