//! The function migrate: runs the migrations. A deployment invokes it as a custom resource of CloudFormation; a person can invoke it with
//! any other input.
//!
//! Invariant: CloudFormation always gets an answer. It waits for one at the address in its request, for up to an hour, so every failure (no
//! configuration, no database, a migration that fails or hangs) is sent as an answer. Only a process that is killed or panics sends none;
//! then the resource's `ServiceTimeout` ends the wait after a quarter of an hour. When the resource is deleted, the database is left
//! unchanged.

mod done;
mod resource;

use std::time::Duration;

use annals_config::{ConfigError, DatabaseSettings};
use annals_store::{Access, Ahead, ApiLogin, ConnectError, MigrateError, ensure_api_login, migrate_by};
use annals_telemetry::chain_of;
pub use done::Done;
use lambda_runtime::Error as RuntimeError;
use resource::Request;
use serde_json::{Value, json};

/// How long the work may take: the `Timeout` in template.yaml, minus 15 seconds for the answer that the time was not enough. The deadline
/// in Lambda's context is not used, because it would depend on the function's clock.
pub const TIME_LIMIT: Duration = Duration::from_secs(900 - 15);

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An environment variable is missing or unusable.
    #[error("the function is not configured")]
    Config(#[from] ConfigError),
    /// The access to the database cannot be set up.
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    /// An error of the database or of a migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The time limit was reached. Finished migrations stay applied, and the next run continues after them.
    #[error("not done in time; finished migrations stay applied, and the next run continues after them")]
    TimedOut,
    /// The answer could not be sent to CloudFormation. Lambda invokes the function again, which does no harm.
    #[error("the answer could not be sent to CloudFormation")]
    NotSent(#[source] reqwest::Error),
}

/// Handles an invocation: does `work`, within `time_limit`, and sends the result to CloudFormation if that made the request.
///
/// # Errors
/// `work` failed and the input is no request of CloudFormation, or the answer to CloudFormation could not be sent.
pub async fn handle(
    input: Value,
    time_limit: Duration,
    work: impl Future<Output = Result<Done, Failure>>,
) -> Result<Value, RuntimeError> {
    let Some(request) = Request::of(&input) else {
        let done = within(time_limit, work).await.map_err(|failure| logged(&failure))?;
        return Ok(json!(done));
    };
    let outcome = match request.is_delete() {
        true => Ok(None),
        false => within(time_limit, work).await.map(Some),
    };
    let answer = request.answer(&outcome.map_err(|failure| logged(&failure)));
    let sent = request.send(&answer).await.map_err(Failure::NotSent);
    sent.map_err(|failure| logged(&failure))?;
    Ok(answer)
}

/// Migrates the database that the environment names. If a login of the functions is configured, it also makes sure that the login works.
///
/// # Errors
/// [`Failure`].
pub async fn as_configured() -> Result<Done, Failure> {
    let database = DatabaseSettings::from_env()?;
    let owner = Access::of(database.address, database.login)?;
    let api = match annals_config::api_login()? {
        None => None,
        Some((address, login)) => Some(Access::of(address, login)?),
    };
    run(&owner, api.as_ref()).await
}

/// Applies the missing migrations. Then, if `api` is given, makes sure that the functions can log in.
///
/// # Errors
/// [`Failure`].
pub async fn run(owner: &Access, api: Option<&Access>) -> Result<Done, Failure> {
    let report = migrate_by(owner, Ahead::Left, &mut |_| ()).await?;
    for name in &report.applied {
        tracing::info!(migration.name = name, "applied");
    }
    let api_login = match api {
        None => None,
        Some(api) => Some(match ensure_api_login(owner, api).await? {
            ApiLogin::Unchanged => "unchanged",
            ApiLogin::Set => "set",
        }),
    };
    Ok(Done {
        applied: report.applied,
        ahead: report.ahead,
        api_login,
    })
}

/// Stops the work after the time limit. Its connection is closed then, and PostgreSQL rolls back the migration that was running.
async fn within(time_limit: Duration, work: impl Future<Output = Result<Done, Failure>>) -> Result<Done, Failure> {
    let done = tokio::time::timeout(time_limit, work).await;
    done.unwrap_or(Err(Failure::TimedOut))
}

/// Logs the failure with its causes, and returns the logged text as the reason for CloudFormation or the caller. Only the first line of
/// each cause is used, because PostgreSQL's further lines may quote rows.
fn logged(failure: &Failure) -> String {
    let reason = chain_of(failure, |cause| cause.to_string().lines().take(1).collect());
    tracing::error!(error = reason, "not migrated");
    reason
}
