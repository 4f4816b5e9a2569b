//! The command line of `annals-local`, which is also the page that `--help` shows.

use crate::rebuild::{self, Folding};
use crate::secrets::JwtSecret;
use crate::token::{self, DEFAULT_TTL_HOURS, Holder, Role};
use crate::{Error, data_dir, demo, engine, output, replay, serve, verify};
use annals::domain::Actor;
use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

/// What is logged unless RUST_LOG says otherwise: our own crates' notes, everybody's warnings. Metrics are for machines.
const LOGGED: &str =
    "warn,annals=info,annals::metrics=off,audit_query=info,csv_upload=info,local=info,post_event=info,projector=info";

/// Annals on one machine: a private PostgreSQL, every function on one port, tokens to try it with.
///
/// Without a command it serves: finds the newest PostgreSQL of this machine, 15 to 18 (or fetches one; ANNALS_POSTGRES names a
/// folder of programs to use instead), starts a private cluster, migrates, prints `listening on http://127.0.0.1:3000` and a
/// token for each role, and runs until Ctrl-C or SIGTERM. Logs go to standard error; RUST_LOG chooses them.
#[derive(Debug, Parser)]
#[command(name = "annals-local", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    environment: Environment,
}

/// Where a local Annals runs and what it keeps.
#[derive(Args, Clone, Debug)]
pub struct Environment {
    /// TCP port on 127.0.0.1; 0 takes any free one
    #[arg(long, env = "ANNALS_PORT", default_value_t = 3000, global = true)]
    pub port: u16,
    /// Folder for the cluster and the secrets, kept from run to run [default: .annals in the project's folder]
    #[arg(long, env = "ANNALS_DATA_DIR", global = true, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Database to use instead of a private cluster, as its migrating role: owner of the database, may create roles
    #[arg(
        long,
        env = "DATABASE_URL",
        global = true,
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: Option<String>,
    /// Key of the tokens (HS256, at least 32 bytes) instead of the one kept in the data folder
    #[arg(
        long,
        env = "JWT_SECRET",
        global = true,
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub jwt_secret: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one JWT for the local server, and nothing else
    Token(TokenArguments),
    /// Load sample data into the running server, through its HTTP API; a second run adds nothing
    Demo,
    /// Bring the database of DATABASE_URL to the current schema
    Migrate(Migrating),
    /// Make read models anew from the log, while everything else goes on, and exchange them for the live ones
    Rebuild(Folding),
    /// Compare read models, heads and snapshots with the log; every difference is a line, and the exit code is then 1
    Verify(Folding),
    /// Deliver the log once more: a line of JSON per event on standard output, or a message per event to a queue
    ///
    /// Reads DATABASE_URL, or the private cluster, whether or not a server runs on it. Every event that is committed when the
    /// command begins is delivered at least once, by event number. With --checkpoint a run goes on where the last one ended;
    /// after one that failed or was killed, the batch that it was at comes again.
    Replay(replay::Arguments),
}

#[derive(Args, Debug)]
struct TokenArguments {
    /// What the holder may do
    #[arg(long)]
    role: Role,
    /// Identity of the holder [default: a random one]
    #[arg(long, value_name = "UUID")]
    sub: Option<Uuid>,
    /// Tenant of the holder [default: the default tenant, the nil UUID]
    #[arg(long, value_name = "UUID")]
    tenant: Option<Uuid>,
    /// Name of an agent or service [default: local]
    #[arg(long, value_parser = actor_name)]
    name: Option<String>,
    /// Hours until the token expires
    #[arg(long, value_name = "HOURS", default_value_t = DEFAULT_TTL_HOURS, value_parser = clap::value_parser!(u32).range(1..))]
    ttl: u32,
}

impl Cli {
    /// Does what the command line asks for.
    pub async fn run(self) -> Result<(), Error> {
        start_logging();
        match self.command {
            None => serve::run(self.environment).await,
            Some(Command::Token(arguments)) => print_token(&self.environment, arguments),
            Some(Command::Demo) => demo::load(&self.environment).await,
            Some(Command::Rebuild(folding)) => rebuild::run(&self.environment, folding).await,
            Some(Command::Verify(folding)) => verify::run(&self.environment, folding).await,
            Some(Command::Replay(arguments)) => replay::run(&self.environment, arguments).await,
            Some(Command::Migrate(Migrating { print: true, after })) => {
                output::lines(annals::store::migration_script(after).into_bytes()).await
            }
            Some(Command::Migrate(_)) => match self.environment.database_url.as_deref() {
                Some(url) => engine::migrate(url, engine::Place::Address).await,
                None => Err(Error::Invalid("set DATABASE_URL to the database to migrate".to_owned())),
            },
        }
    }
}

/// What becomes of the migrations.
#[derive(Debug, Args)]
struct Migrating {
    /// Print the migrations as one transaction of SQL instead, which notes them as applied; DATABASE_URL is not needed
    #[arg(long)]
    print: bool,
    /// With --print, leave out those up to this number
    #[arg(long, value_name = "NUMBER", requires = "print")]
    after: Option<i32>,
}

impl Environment {
    /// The data folder, which may not exist yet.
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        data_dir::resolve(self.data_dir.as_deref())
    }

    /// The key of the tokens; the data folder is made where the key is kept there.
    pub fn jwt_secret(&self) -> Result<JwtSecret, Error> {
        let data_dir = self.data_dir()?;
        if self.jwt_secret.is_none() {
            data_dir::create(&data_dir)?;
        }
        JwtSecret::load(self.jwt_secret.as_deref(), &data_dir)
    }
}

fn print_token(environment: &Environment, arguments: TokenArguments) -> Result<(), Error> {
    let TokenArguments {
        role,
        sub,
        tenant,
        name,
        ttl,
    } = arguments;
    let is_new = environment.jwt_secret.is_none() && !JwtSecret::is_kept_in(&environment.data_dir()?);
    let secret = environment.jwt_secret()?;
    if is_new {
        warn_of_a_new_key(&environment.data_dir()?);
    }
    output::line(&token::mint(
        &secret,
        Holder {
            role,
            sub,
            tenant,
            name,
        },
        TimeDelta::hours(i64::from(ttl)),
    )?)
}

/// Most likely the folder is not the one that the running server has. The token itself is good: it is valid for a server that is
/// started with this folder later.
fn warn_of_a_new_key(data_dir: &Path) {
    eprintln!(
        "warning: no server has run with the folder {} yet, so a new key was made there for this token. Only a server that is started \
         with this folder will accept it. If your server runs with another folder, name that one by ANNALS_DATA_DIR, or the server's \
         key by JWT_SECRET.",
        data_dir.display()
    );
}

/// `service:` and the name make an actor, which has at most 100 characters.
fn actor_name(text: &str) -> Result<String, String> {
    match Actor::try_from(format!("service:{text}")) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(
            "must be 1 to 92 printable characters without blanks; of ASCII's signs . _ - @ / + : may be in it"
                .to_owned(),
        ),
    }
}

fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn metrics_do_not_reach_the_terminal_and_logs_do() {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(LOGGED))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(target: annals::telemetry::metrics::TARGET, tracing::Level::INFO));
            assert!(tracing::enabled!(target: "annals::http::layers", tracing::Level::INFO));
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
            "replay",
        ] {
            assert!(help.contains(name), "{name} is missing from:\n{help}");
        }
    }

    #[test]
    fn an_actor_name_is_short_and_printable() {
        assert!(actor_name("category_agent").is_ok());
        assert!(
            ["", "two\nlines", "two words", &"x".repeat(93)]
                .iter()
                .all(|name| actor_name(name).is_err())
        );
    }
}
