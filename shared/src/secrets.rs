//! What must not be in a function's configuration: the database's address and the tokens' shared secret, kept in one secret
//! of AWS Secrets Manager as a JSON object. Ours has `DATABASE_URL`; one of RDS' has `host`, `port`, `username` and `password`.
//!
//! Invariant: it is fetched once per process, and again if its login or its key was refused, or if it is older than its user wants.
//! Others that need it meanwhile wait for the same answer. If the answer changes nothing, it is not fetched again for a while (`Doubt`),
//! so a wrong password costs few calls, however many requests fail because of it.

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

use crate::aws;
use crate::since::Since;

/// After a failure it is not fetched again for this long: requests that come meanwhile fail at once instead of waiting in turn.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The secret, and the last that is known of it.
pub struct Secrets {
    client: Client,
    arn: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    values: Option<Arc<Values>>,
    /// When Secrets Manager last answered, or failed to.
    asked: Option<Since>,
    /// When each doubt last led to nothing new.
    in_vain: HashMap<Doubt, Since>,
}

/// Why the secret may have been rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The database refused the login.
    Login,
    /// A token's signature was not made by it.
    Signature,
}

impl Doubt {
    /// After an answer that changed nothing, the same doubt leads to no other call for this long. Any client can send a bad signature.
    fn pause(self) -> Duration {
        match self {
            Self::Login => Duration::from_secs(15),
            Self::Signature => Duration::from_secs(300),
        }
    }
}

/// What the secret held at one time. It has no `Debug`: it holds passwords.
#[derive(PartialEq)]
pub struct Values(HashMap<String, String>);

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Secrets Manager does not give it.
    #[error("the secret cannot be fetched: {0}")]
    NotFetched(String),
    /// It could not be fetched a moment ago.
    #[error("the secret could not be fetched a moment ago")]
    NotFetchedLately,
    /// It is something else than an object. Serde's reason would quote it.
    #[error("the secret is not a JSON object")]
    Malformed,
    /// A name that it lacks.
    #[error("the secret has no {0}")]
    Missing(&'static str),
}

impl Values {
    /// Texts, and numbers as texts: RDS writes its port as a number. Other kinds of values are ignored.
    fn of(object: HashMap<String, Value>) -> Self {
        let texts = object.into_iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(number) => Some((name, number.to_string())),
            _ => None,
        });
        Self(texts.collect())
    }

    /// Whether there is a value of this name.
    pub fn has(&self, name: &'static str) -> bool {
        self.get(name).is_ok()
    }

    /// The value of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &'static str) -> Result<&str, SecretError> {
        let value = self.0.get(name).filter(|value| !value.is_empty());
        value.map(String::as_str).ok_or(SecretError::Missing(name))
    }
}

impl Secrets {
    /// The secret of this ARN, of the account that the function runs in. Nothing is fetched yet.
    pub fn of(arn: String) -> Arc<Self> {
        // A function without a way to Secrets Manager should say so before Lambda gives up on it.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(4))
            .build();
        let mut settings = Builder::from(aws::settings());
        settings.set_endpoint_url(aws::endpoint("SECRETS_MANAGER"));
        Self::new(Client::from_conf(settings.timeout_config(timeouts).build()), arn)
    }

    /// The secret of this ARN, by this client.
    pub fn new(client: Client, arn: String) -> Arc<Self> {
        let known = Mutex::default();
        Arc::new(Self { client, arn, known })
    }

    /// What it holds, as far as is known; fetched now if it never was.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn values(&self) -> Result<Arc<Values>, SecretError> {
        let mut known = self.known.lock().await;
        match &known.values {
            Some(values) => Ok(Arc::clone(values)),
            None if known.asked_within(RETRY_AFTER) => Err(SecretError::NotFetchedLately),
            None => self.fetch(&mut known).await,
        }
    }

    /// What it held at most so long ago, so that a value which was withdrawn is forgotten. If Secrets Manager does not answer, the known
    /// values are used for as long again.
    ///
    /// # Errors
    /// [`SecretError`], where nothing is known.
    pub async fn values_within(&self, age: Duration) -> Result<Arc<Values>, SecretError> {
        let mut known = self.known.lock().await;
        let Some(stand) = known.values.clone() else {
            drop(known);
            return self.values().await;
        };
        if known.asked_within(age) {
            return Ok(stand);
        }
        self.fetch(&mut known).await.or_else(|error| {
            tracing::warn!(%error, "secret not fetched; the last one is used");
            Ok(stand)
        })
    }

    /// What it holds instead of these values, which were refused; none, if that is still the same, or was so a moment ago.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn instead_of(&self, refused: &Arc<Values>, doubt: Doubt) -> Result<Option<Arc<Values>>, SecretError> {
        let mut known = self.known.lock().await;
        if let Some(values) = known.values.as_ref().filter(|values| !Arc::ptr_eq(values, refused)) {
            return Ok(Some(Arc::clone(values)));
        }
        let last = known.in_vain.get(&doubt);
        if last.is_some_and(|at| at.elapsed() < doubt.pause()) {
            return Ok(None);
        }
        // Before the call, so that it also counts if this future is dropped.
        known.in_vain.insert(doubt, Since::now());
        let fetched = self.fetch(&mut known).await?;
        Ok((!Arc::ptr_eq(&fetched, refused)).then_some(fetched))
    }

    async fn fetch(&self, known: &mut Known) -> Result<Arc<Values>, SecretError> {
        let answer = self.ask().await;
        // Now, and not before: a call that fails may have taken longer than others are to wait for the next.
        known.asked = Some(Since::now());
        let fetched = answer?;
        match &known.values {
            // The same allocation for the same values: callers compare pointers to see whether something has changed.
            Some(values) if **values == fetched => Ok(Arc::clone(values)),
            _ => {
                let fetched = Arc::new(fetched);
                known.values = Some(Arc::clone(&fetched));
                known.in_vain.clear();
                Ok(fetched)
            }
        }
    }

    async fn ask(&self) -> Result<Values, SecretError> {
        // Boxed: the SDK's futures are so deep that whatever holds one by value becomes too much for the compiler.
        let answer = self.client.get_secret_value().secret_id(&self.arn).send().boxed().await;
        let answer = answer.map_err(|error| SecretError::NotFetched(DisplayErrorContext(error).to_string()))?;
        let text = answer.secret_string().ok_or(SecretError::Malformed)?;
        let object: HashMap<String, Value> = serde_json::from_str(text).map_err(|_| SecretError::Malformed)?;
        tracing::info!(secret.version = answer.version_id(), "secret fetched");
        Ok(Values::of(object))
    }
}

impl Known {
    fn asked_within(&self, pause: Duration) -> bool {
        self.asked.is_some_and(|at| at.elapsed() < pause)
    }
}
