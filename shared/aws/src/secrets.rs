//! Values that must not be in a function's configuration: the database's address and the tokens' shared secret, stored in one
//! secret of AWS Secrets Manager as a JSON object. Our own secret has `DATABASE_URL`; one made by RDS has `host`, `port`,
//! `username` and `password`.
//!
//! Invariant: the secret is fetched when it is first needed, and its values are kept. It is fetched again only if its login or its key
//! was refused, or if it is older than its user allows. Callers that need it during a fetch wait for the same answer. If the answer
//! changes nothing, the secret is not fetched again for a while (`RefreshReason`), so a wrong password causes few calls, however many
//! requests fail because of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use futures_util::FutureExt;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::settings;
use crate::since::Since;

/// After a failure, the secret is not fetched again for this long. Requests in the meantime fail immediately instead of waiting
/// one after the other.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The secret, with a cache of its last known values.
pub struct Secrets {
    client: Client,
    arn: String,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    values: Option<Arc<SecretValues>>,
    /// When Secrets Manager last answered, or failed to.
    last_call: Option<Since>,
    /// When a refresh for each reason last gave the same values.
    unchanged_at: HashMap<RefreshReason, Since>,
}

/// Why the cached values may be stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshReason {
    /// The database refused the login.
    Login,
    /// The key did not verify a token's signature.
    Signature,
}

impl RefreshReason {
    /// After a refresh that changed nothing, the same reason causes no other call for this long. The pause matters because any
    /// client can send a bad signature.
    fn pause(self) -> Duration {
        match self {
            Self::Login => Duration::from_secs(15),
            Self::Signature => Duration::from_secs(300),
        }
    }
}

/// The values of the secret at one time. This type has no `Debug`, because it holds passwords.
#[derive(PartialEq)]
pub struct SecretValues(HashMap<String, String>);

/// Why a value is not available.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager did not return it.
    #[error("the secret cannot be fetched: {0}")]
    NotFetched(String),
    /// The last call failed less than a second ago, so there was no new call.
    #[error("the secret could not be fetched a moment ago")]
    NotFetchedLately,
    /// The secret is not a JSON object. The parser's error is left out, because it would quote the secret.
    #[error("the secret is not a JSON object")]
    Malformed,
    /// The secret has no such member.
    #[error("the secret has no {0}")]
    Missing(&'static str),
}

impl SecretValues {
    /// Keeps texts, and numbers as text: RDS writes its port as a number. Other kinds of values are ignored.
    fn of(object: HashMap<String, Value>) -> Self {
        let texts = object.into_iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(number) => Some((name, number.to_string())),
            _ => None,
        });
        Self(texts.collect())
    }

    /// Whether there is a value with this name.
    pub fn has(&self, name: &'static str) -> bool {
        self.get(name).is_ok()
    }

    /// The value with this name.
    ///
    /// # Errors
    /// [`SecretError::Missing`], also if the value is empty.
    pub fn get(&self, name: &'static str) -> Result<&str, SecretError> {
        let value = self.0.get(name).filter(|value| !value.is_empty());
        value.map(String::as_str).ok_or(SecretError::Missing(name))
    }
}

impl Secrets {
    /// The secret with this ARN, read with the function's role. Nothing is fetched yet.
    pub fn of(arn: String) -> Arc<Self> {
        // A function without a route to Secrets Manager must report it before Lambda stops the function.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(4))
            .build();
        let mut settings = Builder::from(settings::settings());
        settings.set_endpoint_url(settings::endpoint("SECRETS_MANAGER"));
        Self::new(Client::from_conf(settings.timeout_config(timeouts).build()), arn)
    }

    /// The secret with this ARN, read with this client.
    pub fn new(client: Client, arn: String) -> Arc<Self> {
        let cached = Mutex::default();
        Arc::new(Self { client, arn, cached })
    }

    /// The cached values, or the fetched ones if nothing is cached yet.
    pub async fn values(&self) -> Result<Arc<SecretValues>, SecretError> {
        let mut cached = self.cached.lock().await;
        match &cached.values {
            Some(values) => Ok(Arc::clone(values)),
            None if cached.called_within(RETRY_AFTER) => Err(SecretError::NotFetchedLately),
            None => self.fetch(&mut cached).await,
        }
    }

    /// Values that are at most `age` old, so that a withdrawn value stops being used. If Secrets Manager does not answer, the
    /// cached values are used for another `age`.
    ///
    /// # Errors
    /// [`SecretError`], if nothing is cached.
    pub async fn values_within(&self, age: Duration) -> Result<Arc<SecretValues>, SecretError> {
        let mut cached = self.cached.lock().await;
        let Some(last) = cached.values.clone() else {
            drop(cached);
            return self.values().await;
        };
        if cached.called_within(age) {
            return Ok(last);
        }
        self.fetch(&mut cached).await.or_else(|error| {
            tracing::warn!(%error, "secret not fetched; the cached values are used");
            Ok(last)
        })
    }

    /// Other values than `refused`, if the secret has changed. `None` if it has not, or if it had not at the last refresh for the same
    /// reason, a short time ago.
    pub async fn refresh_if_stale(
        &self,
        refused: &Arc<SecretValues>,
        reason: RefreshReason,
    ) -> Result<Option<Arc<SecretValues>>, SecretError> {
        let mut cached = self.cached.lock().await;
        if let Some(values) = cached.values.as_ref().filter(|values| !Arc::ptr_eq(values, refused)) {
            return Ok(Some(Arc::clone(values)));
        }
        let last = cached.unchanged_at.get(&reason);
        if last.is_some_and(|at| at.elapsed() < reason.pause()) {
            return Ok(None);
        }
        // Recorded before the call, so that it also counts if this future is dropped.
        cached.unchanged_at.insert(reason, Since::now());
        let fetched = self.fetch(&mut cached).await?;
        Ok((!Arc::ptr_eq(&fetched, refused)).then_some(fetched))
    }

    async fn fetch(&self, cached: &mut Cached) -> Result<Arc<SecretValues>, SecretError> {
        let answer = self.call().await;
        // Recorded after the call: a failing call may take longer than the pause before the next one.
        cached.last_call = Some(Since::now());
        let fetched = answer?;
        match &cached.values {
            // The same values keep the same allocation, because callers compare pointers to see whether something has changed.
            Some(values) if **values == fetched => Ok(Arc::clone(values)),
            _ => {
                let fetched = Arc::new(fetched);
                cached.values = Some(Arc::clone(&fetched));
                cached.unchanged_at.clear();
                Ok(fetched)
            }
        }
    }

    async fn call(&self) -> Result<SecretValues, SecretError> {
        // Boxed, because the SDK's futures are so deeply nested that the compiler cannot handle a future which contains one.
        let answer = self.client.get_secret_value().secret_id(&self.arn).send().boxed().await;
        let answer = answer.map_err(|error| SecretError::NotFetched(DisplayErrorContext(error).to_string()))?;
        let text = answer.secret_string().ok_or(SecretError::Malformed)?;
        let object: HashMap<String, Value> = serde_json::from_str(text).map_err(|_| SecretError::Malformed)?;
        tracing::info!(secret.version = answer.version_id(), "secret fetched");
        Ok(SecretValues::of(object))
    }
}

impl Cached {
    fn called_within(&self, pause: Duration) -> bool {
        self.last_call.is_some_and(|at| at.elapsed() < pause)
    }
}
