//! Who is calling: bearer tokens, verified in the function because an HTTP API's own authorizer knows RSA only.
//!
//! The algorithm belongs to the key, never to the token: a token's header only chooses among keys, and a key accepts its own
//! algorithm alone. Claims follow Supabase; `user_metadata`, which its owner can write, is not even read.

mod refusal;

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
use crate::config::AuthConfig;
use crate::domain::{Caller, Role, TenantId};
use crate::secrets::{Doubt, SecretError, Secrets, Values};

/// A key set is fetched again for an unknown key, at most this often: a flood of made-up key ids must not become a flood of
/// requests to the key server.
const REFETCH_AFTER: Duration = Duration::from_secs(60);
/// Keys are used this long before they are fetched anew, so that a withdrawn one is forgotten.
pub const KEYS_LIVE: Duration = Duration::from_secs(600);
/// Algorithms that a key may be pinned to.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Clocks may differ by this many seconds.
const LEEWAY_SECONDS: u64 = 30;

/// Most bytes of a token: Supabase's have about one KiB, and what is longer costs a hash of all of it.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The last second of the year 9999, which is as far as RFC 3339 can write a time.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Why a token names no caller.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is not acceptable.
    #[error("the token is not acceptable")]
    Refused(#[from] TokenFault),
    /// It is good, but says nothing of the caller's role, which is asked for.
    #[error("the token names no role")]
    NoRole,
    /// The token could not be checked.
    #[error("the key set cannot be fetched")]
    KeysUnavailable(#[source] reqwest::Error),
    /// The token could not be checked.
    #[error("the shared secret cannot be had")]
    SecretUnavailable(#[from] SecretError),
}

/// A configuration that verifies nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// The static key set is no key set.
    #[error("JWT_JWKS is not a JSON Web Key Set")]
    KeySet(#[source] serde_json::Error),
    /// The HTTP client could not be made.
    #[error("no client to fetch keys with")]
    Client(#[source] reqwest::Error),
}

/// Verifies tokens.
pub struct Verifier {
    secret: Option<SharedSecret>,
    fixed: HashMap<String, PinnedKey>,
    remote: Option<RemoteKeys>,
    requires_role: bool,
    /// What a token must hold besides its signature, by its key's algorithm: made once, because making it costs a request as
    /// much as the signature.
    rules: HashMap<Algorithm, Validation>,
}

/// The secret of HS256 tokens.
enum SharedSecret {
    Fixed(PinnedKey),
    /// Under `JWT_SECRET`, and believed for so long.
    Kept(Arc<Secrets>, Duration),
}

/// A key with the one algorithm that it accepts.
#[derive(Clone)]
struct PinnedKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    fetched: RwLock<FetchedKeys>,
}

#[derive(Default)]
struct FetchedKeys {
    keys: HashMap<String, PinnedKey>,
    at: Option<Instant>,
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
    ///
    /// # Errors
    /// A static key set that is none.
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
        })
    }

    /// The same, with the shared secret kept elsewhere, unless it is known already. It is looked at again when it is older than
    /// `lives`.
    pub fn with_kept_secret(mut self, secrets: Arc<Secrets>, lives: Duration) -> Self {
        self.secret = self.secret.or(Some(SharedSecret::Kept(secrets, lives)));
        self
    }

    /// The caller that a token stands for.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLarge.into());
        }
        let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
        // RFC 7515: what is listed must be understood, and nothing that could be listed is.
        if header.crit.is_some() {
            return Err(TokenFault::Critical.into());
        }
        let pinned = match &header.kid {
            Some(kid) => self.key_named(kid).await?,
            None => None,
        };
        // A secret has no id: Supabase's HS256 tokens may carry one all the same.
        let claims = match (pinned, &self.secret) {
            (Some(pinned), _) => self.decode(token, &pinned)?,
            (None, Some(secret)) if header.alg == Algorithm::HS256 => self.decode_by(secret, token).await?,
            _ => return Err(TokenFault::Key.into()),
        };
        if self.requires_role && claims.app_metadata.role.is_none() {
            return Err(AuthError::NoRole);
        }
        caller_of(claims)
    }

    async fn decode_by(&self, secret: &SharedSecret, token: &str) -> Result<Claims, AuthError> {
        let (secrets, lives) = match secret {
            SharedSecret::Fixed(key) => return self.decode(token, key),
            SharedSecret::Kept(secrets, lives) => (secrets, *lives),
        };
        let values = secrets.values_within(lives).await?;
        let refused = match self.decode(token, &kept(&values)?) {
            Err(refused) => refused,
            claims => return claims,
        };
        // It may have been rotated. That it cannot be looked at again makes no bad token good.
        match secrets.instead_of(&values, Doubt::Signature).await {
            Ok(Some(newer)) => self.decode(token, &kept(&newer)?),
            _ => Err(refused),
        }
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

    async fn key_named(&self, kid: &str) -> Result<Option<PinnedKey>, AuthError> {
        if let Some(key) = self.fixed.get(kid) {
            return Ok(Some(key.clone()));
        }
        match &self.remote {
            None => Ok(None),
            Some(remote) => remote.key_named(kid).await,
        }
    }
}

impl RemoteKeys {
    async fn key_named(&self, kid: &str) -> Result<Option<PinnedKey>, AuthError> {
        {
            let fetched = self.fetched.read().await;
            let age = fetched.at.map(|at| at.elapsed());
            match fetched.keys.get(kid) {
                Some(key) if age.is_some_and(|age| age < KEYS_LIVE) => return Ok(Some(key.clone())),
                None if age.is_some_and(|age| age < REFETCH_AFTER) => return Ok(None),
                _ => {}
            }
        }
        let mut fetched = self.fetched.write().await;
        if fetched.at.is_none_or(|at| at.elapsed() >= REFETCH_AFTER) {
            // An attempt counts, whatever came of it: while the key server is away, keys that are known stay good and unknown
            // ones do not send every request there.
            fetched.at = Some(Instant::now());
            match self.fetch().await {
                Ok(set) => fetched.keys = pin_all(&set),
                Err(error) if fetched.keys.contains_key(kid) => {
                    tracing::warn!(%error, "key set not fetched; the last one stands")
                }
                Err(error) => return Err(AuthError::KeysUnavailable(error)),
            }
        }
        Ok(fetched.keys.get(kid).cloned())
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

fn symmetric(secret: &str) -> PinnedKey {
    PinnedKey {
        key: DecodingKey::from_secret(secret.as_bytes()),
        algorithm: Algorithm::HS256,
    }
}

fn kept(values: &Values) -> Result<PinnedKey, SecretError> {
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

/// The usable keys of a set. Symmetric ones are left out: a public set must not hold a secret.
fn pin_all(set: &JwkSet) -> HashMap<String, PinnedKey> {
    set.keys
        .iter()
        .filter_map(|jwk| Some((jwk.common.key_id.clone()?, pin(jwk)?)))
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

/// Whether a claim is a time that somebody could have meant: seconds, whole or not, from 1970 to 9999.
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
    Caller::new(tenant_id, role, claims.sub, claims.app_metadata.name)
        .map_err(|_| TokenFault::Claims("app_metadata.name must name an agent or service, without blanks").into())
}
