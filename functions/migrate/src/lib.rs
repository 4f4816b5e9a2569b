//! The migrations as a function: a deployment invokes it as a custom resource of CloudFormation, a person with any other input.
//!
//! Invariant: CloudFormation always hears how it went. It waits for an answer at the address that its request brings, an hour
//! if need be, so whatever goes wrong here (no configuration, no database, a migration that fails or hangs) becomes an answer. A
//! process that was killed or panicked gives none; then the resource's `ServiceTimeout` is over in a quarter of an hour. What must
//! not be undone is not: a resource that is deleted leaves the database as it is.

mod resource;

use std::time::Duration;

use annals::config::{self, ConfigError, DatabaseSettings};
use annals::store::{Access, Ahead, ApiLogin, ConnectError, MigrateError, let_api_in, migrate_by};
use annals::telemetry::chain;
use lambda_runtime::Error as RuntimeError;
use resource::Request;
use serde::Serialize;
use serde_json::{Value, json};

/// How long an invocation may take: the `Timeout` of template.yaml, less the time to say that it was not enough. Lambda names the
/// moment, too, but that would believe the function's clock.
pub const TIME: Duration = Duration::from_secs(900 - 15);

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// Migrations of the database that this function does not know: a newer one has run, and this one belongs to a deployment
    /// that was rolled back.
    pub ahead: Vec<String>,
    /// Whether the functions' login had to be let in; none, if it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_login: Option<&'static str>,
}

/// Why the database is not migrated, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A variable that is missing or unusable.
    #[error("the function is not configured")]
    Config(#[from] ConfigError),
    /// The access to the database cannot be set up.
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    /// The database or a migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// It took too long. Migrations that came to their end stay applied, and the next run goes on from there.
    #[error("not done in time; what was applied stays, and another run goes on")]
    Late,
    /// CloudFormation could not be told. Lambda tries the whole again, which does no harm.
    #[error("the deployment was not told")]
    NotTold(#[source] reqwest::Error),
}

/// Answers an invocation with the work, for which there is so much time.
///
/// # Errors
/// A person's run that failed, or a deployment that could not be told.
pub async fn handle(
    input: Value,
    time: Duration,
    work: impl Future<Output = Result<Done, Failure>>,
) -> Result<Value, RuntimeError> {
    let Some(request) = Request::of(&input) else {
        return in_time(time, work).await.map(|done| json!(done)).map_err(reported);
    };
    let outcome = if request.deletes() {
        Ok(None)
    } else {
        in_time(time, work).await.map(Some)
    };
    let answer = request.answer(&outcome.map_err(|failure| reason(&failure)));
    request
        .tell(&answer)
        .await
        .map_err(|error| reported(Failure::NotTold(error)))?;
    Ok(answer)
}

/// Migrates as the environment says, and sees to the functions' login where that is asked for.
///
/// # Errors
/// [`Failure`].
pub async fn as_configured() -> Result<Done, Failure> {
    let database = DatabaseSettings::from_env()?;
    let owner = Access::of(database.address, database.login)?;
    let api = match config::api_login()? {
        None => None,
        Some((address, login)) => Some(Access::of(address, login)?),
    };
    run(&owner, api.as_ref()).await
}

/// Brings the database up to date, and lets the functions in.
///
/// # Errors
/// [`Failure`].
pub async fn run(owner: &Access, api: Option<&Access>) -> Result<Done, Failure> {
    let report = migrate_by(owner, Ahead::Left).await?;
    for name in &report.applied {
        tracing::info!(migration.name = name, "applied");
    }
    let api_login = match api {
        None => None,
        Some(api) => Some(match let_api_in(owner, api).await? {
            ApiLogin::AsItWas => "as it was",
            ApiLogin::Set => "set",
        }),
    };
    Ok(Done {
        applied: report.applied,
        ahead: report.ahead,
        api_login,
    })
}

/// Broken off where it takes too long: its connection goes with it, and PostgreSQL undoes the migration that was under way.
async fn in_time(time: Duration, work: impl Future<Output = Result<Done, Failure>>) -> Result<Done, Failure> {
    let done = tokio::time::timeout(time, work).await;
    done.unwrap_or(Err(Failure::Late))
}

fn reported(failure: Failure) -> RuntimeError {
    reason(&failure).into()
}

/// What went wrong, in the words that are logged.
fn reason(failure: &Failure) -> String {
    let reason = chain(failure);
    tracing::error!(error = reason, "not migrated");
    reason
}
