//! Authentication: bearer tokens. The function verifies them itself, because the authorizer of an HTTP API supports only RSA.
//!
//! The algorithm belongs to the key and never to the token: a token's header only selects a key, and a key accepts only its own
//! algorithm. Claims follow Supabase. `user_metadata` is not read, because its owner can write it.

mod refusal;
mod verified;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::RwLock;
use uuid::Uuid;

pub use self::refusal::TokenFault;
use self::verified::{LEEWAY_SECONDS, Verified, VerifiedTokens};
use annals_aws::secrets::{RefreshReason, SecretError, SecretValues, Secrets};
use annals_config::AuthConfig;
use annals_domain::{Caller, Role, TenantId};
use annals_store::redacted_error;

/// Minimum time between two fetches of the key set because of unknown keys. Otherwise many made-up key ids would cause as many
/// requests to the key server.
const REFETCH_AFTER: Duration = Duration::from_secs(60);
/// The same after a fetch that failed. Tokens with unknown keys are then answered 503, so this is as short as `Retry-After`.
const RETRY_FETCH_AFTER: Duration = Duration::from_secs(1);
/// Keys are fetched again after this time, so that a withdrawn key stops working.
pub const KEY_LIFETIME: Duration = Duration::from_secs(600);
/// Algorithms that a key may have.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// Maximum bytes of a token. Supabase's tokens have about 1 KiB. Verifying a longer one would hash all of it.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The last second of the year 9999, the last year that RFC 3339 can write.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Why a request is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is refused.
    #[error("the token is not acceptable")]
    Refused(#[from] TokenFault),
    /// The token is valid but has no `app_metadata.role`, which is required here.
    #[error("the token has no role")]
    NoRole,
    /// The key set could not be fetched, so the token was not checked.
    #[error("the key set cannot be fetched")]
    KeysUnavailable,
    /// The shared secret could not be fetched, so the token was not checked.
    #[error("the shared secret cannot be fetched")]
    SecretUnavailable(#[from] SecretError),
}

/// Why the configured keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// `JWT_JWKS` is not a key set.
    #[error("JWT_JWKS is not a JSON Web Key Set")]
    KeySet(#[source] serde_json::Error),
    /// The HTTP client could not be created.
    #[error("the HTTP client for the key set cannot be created")]
    Client(#[source] reqwest::Error),
}

/// Verifies tokens and reads the caller from their claims.
pub struct Verifier {
    secret: Option<SharedSecret>,
    fixed: HashMap<String, Arc<PinnedKey>>,
    remote: Option<RemoteKeys>,
    requires_role: bool,
    /// Required claims and their values, by algorithm of the key. Made once, because making them takes as long as verifying a
    /// signature.
    rules: HashMap<Algorithm, Validation>,
    verified: VerifiedTokens<UsedKey>,
}

/// The shared secret of HS256 tokens.
enum SharedSecret {
    Fixed(PinnedKey),
    /// `JWT_SECRET` in the secret of AWS Secrets Manager, and how long a fetched value is used.
    Stored(Arc<Secrets>, Duration),
}

/// A key with the only algorithm that it accepts.
struct PinnedKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

/// The key that verified a token.
enum UsedKey {
    /// One that is part of the configuration, so it never changes.
    Configured,
    /// The shared secret in these values of the secret.
    Stored(Arc<SecretValues>),
    /// The key with this id in the fetched set.
    Fetched(String, Arc<PinnedKey>),
}

struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    fetched: RwLock<FetchedKeys>,
}

#[derive(Default)]
struct FetchedKeys {
    keys: HashMap<String, Arc<PinnedKey>>,
    /// Whether the last attempt failed: a key that is not known may then exist.
    has_failed: bool,
    /// When the last attempt ended, so that requests which waited for it do not fetch at once again. Failed attempts count too: while the key server is unavailable, known keys stay valid, and
    /// unknown ones do not cause a request to it each time.
    tried_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Uuid,
    role: String,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    #[serde(default)]
    app_metadata: AppMetadata,
}

#[derive(Deserialize, Default)]
struct AppMetadata {
    role: Option<String>,
    tenant_id: Option<Uuid>,
    name: Option<String>,
}

impl Verifier {
    /// A verifier for the configured keys.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthConfigError> {
        let fixed = match &config.jwks {
            None => HashMap::new(),
            Some(text) => pin_all(&serde_json::from_str(text).map_err(AuthConfigError::KeySet)?),
        };
        let remote = match &config.jwks_url {
            None => None,
            Some(url) => Some(RemoteKeys {
                url: url.clone(),
                client: reqwest::Client::builder()
                    .timeout(Duration::from_secs(5))
                    .build()
                    .map_err(AuthConfigError::Client)?,
                fetched: RwLock::default(),
            }),
        };
        let secret = config
            .secret
            .as_ref()
            .map(|secret| SharedSecret::Fixed(symmetric(secret)));
        Ok(Self {
            secret,
            fixed,
            remote,
            requires_role: config.requires_role,
            rules: ALGORITHMS.map(|algorithm| (algorithm, rules(config, algorithm))).into(),
            verified: VerifiedTokens::default(),
        })
    }

    /// The same verifier, with the shared secret from Secrets Manager unless one is configured. The secret is fetched again when
    /// it is older than `lifetime`.
    pub fn with_stored_secret(mut self, secrets: Arc<Secrets>, lifetime: Duration) -> Self {
        self.secret = self.secret.or(Some(SharedSecret::Stored(secrets, lifetime)));
        self
    }

    /// The caller that a token describes.
    pub async fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLarge.into());
        }
        match self.remembered(token).await {
            Some(verified) => Ok(verified.caller.clone()),
            None => self.verify_anew(token).await,
        }
    }

    /// A token that was verified a moment ago, by a key that is still in use.
    async fn remembered(&self, token: &str) -> Option<Arc<Verified<UsedKey>>> {
        let verified = self.verified.find(token)?;
        let is_in_use = match (&verified.key, &self.secret, &self.remote) {
            (UsedKey::Configured, ..) => true,
            (UsedKey::Stored(used), Some(SharedSecret::Stored(secrets, lifetime)), _) => {
                Arc::ptr_eq(used, &secrets.values_within(*lifetime).await.ok()?)
            }
            (UsedKey::Fetched(kid, used), _, Some(remote)) => Arc::ptr_eq(used, &remote.key_named(kid).await.ok()??),
            _ => false,
        };
        is_in_use.then_some(verified)
    }

    async fn verify_anew(&self, token: &str) -> Result<Caller, AuthError> {
        let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
        // RFC 7515: every extension listed in `crit` must be understood, and this server understands none.
        if header.crit.is_some() {
            return Err(TokenFault::Critical.into());
        }
        let (claims, key) = match (&self.secret, &header.kid) {
            // A shared secret has no key id, but Supabase's HS256 tokens may carry one. No key of a set is for HS256.
            (Some(secret), _) if header.alg == Algorithm::HS256 => self.decode_by(secret, token).await?,
            (_, Some(kid)) => self.decode_by_named(kid, token).await?,
            (_, None) => return Err(TokenFault::Key.into()),
        };
        if self.requires_role && claims.app_metadata.role.is_none() {
            return Err(AuthError::NoRole);
        }
        let expires = claims.exp.as_ref().and_then(Value::as_u64);
        let caller = caller_of(claims)?;
        if let Some(expires) = expires {
            let (caller, at) = (caller.clone(), Instant::now());
            let verified = Verified {
                caller,
                key,
                expires,
                at,
            };
            self.verified.remember(token, verified);
        }
        Ok(caller)
    }

    async fn decode_by(&self, secret: &SharedSecret, token: &str) -> Result<(Claims, UsedKey), AuthError> {
        let (secrets, lifetime) = match secret {
            SharedSecret::Fixed(key) => return Ok((self.decode(token, key)?, UsedKey::Configured)),
            SharedSecret::Stored(secrets, lifetime) => (secrets, *lifetime),
        };
        let values = secrets.values_within(lifetime).await?;
        let refused = match self.decode(token, &stored(&values)?) {
            Err(refused) => refused,
            Ok(claims) => return Ok((claims, UsedKey::Stored(values))),
        };
        // The secret may have been rotated. If it cannot be fetched again, the token stays refused.
        match secrets.refresh_if_stale(&values, RefreshReason::Signature).await {
            Ok(Some(newer)) => Ok((self.decode(token, &stored(&newer)?)?, UsedKey::Stored(newer))),
            _ => Err(refused),
        }
    }

    async fn decode_by_named(&self, kid: &str, token: &str) -> Result<(Claims, UsedKey), AuthError> {
        if let Some(key) = self.fixed.get(kid) {
            return Ok((self.decode(token, key)?, UsedKey::Configured));
        }
        let fetched = match &self.remote {
            None => None,
            Some(remote) => remote.key_named(kid).await?,
        };
        let key = fetched.ok_or(TokenFault::Key)?;
        Ok((self.decode(token, &key)?, UsedKey::Fetched(kid.to_owned(), key)))
    }

    fn decode(&self, token: &str, pinned: &PinnedKey) -> Result<Claims, AuthError> {
        let rules = self.rules.get(&pinned.algorithm).ok_or(TokenFault::Key)?;
        let claims = decode::<Claims>(token, &pinned.key, rules)
            .map_err(TokenFault::from)?
            .claims;
        if [&claims.exp, &claims.nbf, &claims.iat]
            .into_iter()
            .flatten()
            .all(is_time)
        {
            Ok(claims)
        } else {
            Err(TokenFault::Times.into())
        }
    }
}

impl RemoteKeys {
    async fn key_named(&self, kid: &str) -> Result<Option<Arc<PinnedKey>>, AuthError> {
        {
            let fetched = self.fetched.read().await;
            if !fetched.must_be_fetched(kid) {
                return fetched.key_named(kid);
            }
        }
        let mut fetched = self.fetched.write().await;
        // Another request may have fetched the keys while this one waited for the lock.
        if fetched.must_be_fetched(kid) {
            let set = self.fetch().await;
            fetched.tried_at = Some(Instant::now());
            fetched.has_failed = set.is_err();
            match set {
                Ok(set) => fetched.keys = pin_all(&set),
                Err(error) => tracing::warn!(error = redacted_error(&error), "key set not fetched"),
            }
        }
        fetched.key_named(kid)
    }

    async fn fetch(&self) -> Result<JwkSet, reqwest::Error> {
        self.client
            .get(&self.url)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await
    }
}

impl FetchedKeys {
    fn key_named(&self, kid: &str) -> Result<Option<Arc<PinnedKey>>, AuthError> {
        match self.keys.get(kid) {
            None if self.has_failed => Err(AuthError::KeysUnavailable),
            known => Ok(known.cloned()),
        }
    }

    fn must_be_fetched(&self, kid: &str) -> bool {
        let pause = match self.keys.contains_key(kid) {
            true => KEY_LIFETIME,
            false if self.has_failed => RETRY_FETCH_AFTER,
            false => REFETCH_AFTER,
        };
        self.tried_at.is_none_or(|at| at.elapsed() >= pause)
    }
}

fn symmetric(secret: &str) -> PinnedKey {
    PinnedKey {
        key: DecodingKey::from_secret(secret.as_bytes()),
        algorithm: Algorithm::HS256,
    }
}

fn stored(values: &SecretValues) -> Result<PinnedKey, SecretError> {
    values.get("JWT_SECRET").map(symmetric)
}

fn rules(config: &AuthConfig, algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.leeway = LEEWAY_SECONDS;
    rules.validate_nbf = true;
    rules.set_audience(&[&config.audience]);
    rules.set_required_spec_claims(&["exp", "aud", "sub"]);
    if let Some(issuer) = &config.issuer {
        rules.set_issuer(&[issuer]);
        rules.set_required_spec_claims(&["exp", "aud", "sub", "iss"]);
    }
    rules
}

/// The usable keys of a set. Symmetric keys are left out, because a public set must not contain a secret.
fn pin_all(set: &JwkSet) -> HashMap<String, Arc<PinnedKey>> {
    set.keys
        .iter()
        .filter_map(|jwk| Some((jwk.common.key_id.clone()?, Arc::new(pin(jwk)?))))
        .collect()
}

fn pin(jwk: &Jwk) -> Option<PinnedKey> {
    let algorithm: Algorithm = jwk.common.key_algorithm?.to_string().parse().ok()?;
    if algorithm == Algorithm::HS256 || !ALGORITHMS.contains(&algorithm) {
        return None;
    }
    Some(PinnedKey {
        key: DecodingKey::from_jwk(jwk).ok()?,
        algorithm,
    })
}

/// Whether a claim is a plausible time: seconds since 1970, whole or not, up to the year 9999.
fn is_time(claim: &Value) -> bool {
    claim
        .as_f64()
        .is_some_and(|seconds| (0.0..=LAST_SECOND).contains(&seconds))
}

fn caller_of(claims: Claims) -> Result<Caller, AuthError> {
    if claims.role != "authenticated" {
        return Err(TokenFault::Claims("role must be authenticated").into());
    }
    let role = match claims.app_metadata.role.as_deref() {
        None => Role::User,
        Some(name) => Role::from_name(name).ok_or(TokenFault::Claims(
            "app_metadata.role must be user, staff, agent or service",
        ))?,
    };
    let tenant_id = claims.app_metadata.tenant_id.map_or(TenantId::DEFAULT, TenantId::from);
    Caller::new(tenant_id, role, claims.sub, claims.app_metadata.name).map_err(|_| {
        TokenFault::Claims("app_metadata.name must be the name of the agent or service, without spaces").into()
    })
}
