//! The command line of `annals-local`. Its doc comments are the text of `--help`.

use crate::environment::Environment;
use crate::rebuild::{self, FoldArguments};
use crate::secrets::JwtSecret;
use crate::token::{self, DEFAULT_TTL_HOURS, Holder};
use crate::{Error, data_dir, demo, engine, output, replay, serve, tail, verify};
use chrono::TimeDelta;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io::{self, IsTerminal};
use std::path::Path;
use tracing_subscriber::EnvFilter;

/// What is logged if RUST_LOG is not set: messages of our own crates, warnings of all others, and no metrics.
const DEFAULT_LOG_FILTER: &str =
    "warn,annals=info,annals::metrics=off,audit_query=info,csv_upload=info,local=info,post_event=info,projector=info";

/// Name of the program.
const NAME: &str = "annals-local";

/// The end of `--help`. `main` decides the codes; clap ends with 2 itself.
const EXIT_CODES: &str = "\
Exit codes:
  0    the work is done; the server has ended in order after a signal
  1    an error, which is on standard error; verify found differences; the reader of standard output closed it (without a message)
  2    the command line is wrong
  130  a signal ended the command before its work was done; a second signal ended the server at once";

/// Annals on one machine: a private PostgreSQL, every function on one port, and tokens to call it with.
///
/// Without a command it starts the server. It finds the newest PostgreSQL on this machine, version 15 to 18, or downloads one
/// (ANNALS_POSTGRES names a folder of programs to use instead), starts a private cluster, migrates it, prints
/// `listening on http://127.0.0.1:3000`, the API's pages, how to open psql and a token for each role, and runs until Ctrl-C or SIGTERM. Logs go to standard
/// error; RUST_LOG selects what is logged.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_long_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    environment: Environment,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one JWT for the local server, and nothing else; warn on standard error if no server runs with the data folder
    Token(TokenArguments),
    /// Load sample data into the running server through its HTTP API; a second run adds nothing
    Demo,
    /// Migrate the database of DATABASE_URL to the current schema
    Migrate(MigrateArguments),
    /// Rebuild the read models from the log while the server keeps running, and replace the live ones with them
    Rebuild(FoldArguments),
    /// Compare read models, heads and snapshots with the log; print each difference as a line of JSON and exit with 1 if there are any
    Verify(FoldArguments),
    /// Read the log
    #[command(subcommand)]
    Events(EventsCommand),
    /// Deliver the events of the log again: as lines of JSON on standard output, or as messages to a queue
    ///
    /// Reads DATABASE_URL or the private cluster, which may be in use by a server. Every event that was committed before the command
    /// started is delivered at least once, in the order of event numbers. With --checkpoint a run continues where the last one ended. If
    /// the last run failed or was killed, its last batch is delivered again.
    Replay(replay::Arguments),
    /// Print a script that makes a shell complete the commands and options of annals-local
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Print each event as it is recorded, in the order of event numbers, until Ctrl-C
    ///
    /// Reads DATABASE_URL, or the private cluster of the server that runs. A line has the event's number, recorded time, type, stream,
    /// version and actor. To continue after an end, give the number of the last line to --after: no event is missed or printed twice.
    Tail(tail::Arguments),
}

#[derive(Args, Debug)]
struct TokenArguments {
    #[command(flatten)]
    holder: Holder,
    /// Hours until the token expires
    #[arg(long, value_name = "HOURS", default_value_t = DEFAULT_TTL_HOURS, value_parser = clap::value_parser!(u32).range(1..))]
    ttl: u32,
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> Result<(), Error> {
        start_logging();
        match self.command {
            None => serve::run(self.environment).await,
            Some(Command::Token(arguments)) => print_token(&self.environment, arguments),
            Some(Command::Demo) => demo::load(&self.environment).await,
            Some(Command::Rebuild(arguments)) => rebuild::run(&self.environment, arguments).await,
            Some(Command::Verify(arguments)) => verify::run(&self.environment, arguments).await,
            Some(Command::Events(EventsCommand::Tail(arguments))) => tail::run(&self.environment, arguments).await,
            Some(Command::Replay(arguments)) => replay::run(&self.environment, arguments).await,
            Some(Command::Completions { shell }) => output::lines(completions(shell).into_bytes()).await,
            Some(Command::Migrate(MigrateArguments { print: true, after })) => {
                output::lines(annals_store::migration_script(after).into_bytes()).await
            }
            Some(Command::Migrate(_)) => match self.environment.database_url.as_deref() {
                Some(url) => {
                    let applied = engine::migrate(url, engine::DatabaseOrigin::Url).await?;
                    eprintln!("{applied} migrations applied");
                    Ok(())
                }
                None => Err(Error::Invalid("set DATABASE_URL to the database to migrate".to_owned())),
            },
        }
    }
}

#[derive(Debug, Args)]
struct MigrateArguments {
    /// Print the migrations as one SQL transaction instead, which also records them as applied; DATABASE_URL is not needed
    #[arg(long)]
    print: bool,
    /// With --print, leave out the migrations up to this number
    #[arg(long, value_name = "NUMBER", requires = "print")]
    after: Option<i32>,
}

fn print_token(environment: &Environment, arguments: TokenArguments) -> Result<(), Error> {
    let data_dir = environment.data_dir()?;
    if environment.jwt_secret.is_none() && data_dir::port_of_server(&data_dir)?.is_none() {
        warn_of_no_server(&data_dir);
    }
    let secret = environment.jwt_secret()?;
    let ttl = TimeDelta::hours(i64::from(arguments.ttl));
    output::line(&token::mint(&secret, arguments.holder, ttl)?)
}

/// Usually it means that the running server uses another folder. The token is still useful: a server that is started with this folder later
/// accepts it.
fn warn_of_no_server(data_dir: &Path) {
    let key = match JwtSecret::is_kept_in(data_dir) {
        true => "",
        false => ", and a new key is created there for this token",
    };
    eprintln!(
        "warning: no server runs with the folder {}{key}. Only a server that is started with this folder accepts the token. If your server \
         uses another folder, set ANNALS_DATA_DIR to that folder, or JWT_SECRET to the server's key.",
        data_dir.display()
    );
}

/// The script for this shell.
fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    // clap_complete 4.6 writes the hyphen of a program's name in two ways in its script for bash, so that no command's options are found.
    String::from_utf8_lossy(&script).replace("annals__subcmd__local", "annals__local")
}

fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG_FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_do_not_reach_the_terminal_and_logs_do() {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(DEFAULT_LOG_FILTER))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(target: annals_telemetry::metrics::TARGET, tracing::Level::INFO));
            assert!(tracing::enabled!(target: "annals_http::layers", tracing::Level::INFO));
        });
    }

    #[test]
    fn the_command_line_is_consistent_and_its_help_names_every_variable() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for name in [
            "ANNALS_PORT",
            "ANNALS_DATA_DIR",
            "DATABASE_URL",
            "JWT_SECRET",
            "token",
            "demo",
            "migrate",
            "rebuild",
            "verify",
            "events",
            "replay",
            "completions",
            "Exit codes",
        ] {
            assert!(help.contains(name), "{name} is missing from:\n{help}");
        }
    }
}
