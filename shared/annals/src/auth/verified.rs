//! Tokens that were verified a moment ago. Verifying a signature and reading the claims takes as long as the rest of a short request, and a
//! client sends the same token with each request.
//!
//! Invariant: a remembered token is accepted only if verifying it again would accept it. It is remembered together with the key that
//! verified it, and the verifier compares that key with the one in use at each request. A key that was withdrawn or replaced therefore stops
//! working at the same moment as without this memory. Whether the token has expired is also checked at each request. Nothing else about a
//! valid token can change, as long as the clock is not set back before its `nbf`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use annals_domain::Caller;

/// Allowed difference between clocks, in seconds.
pub(super) const LEEWAY_SECONDS: u64 = 30;
/// How long a token is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// Maximum number of tokens. A token takes about a kilobyte, and never more than eight.
const MAX_TOKENS: usize = 1_000;

/// A verified token, with the key `K` that verified it.
pub(super) struct Verified<K> {
    pub(super) caller: Caller,
    pub(super) key: K,
    /// The claim `exp`, in seconds since 1970.
    pub(super) expires: u64,
    /// When it was verified.
    pub(super) at: Instant,
}

/// The verified tokens of a process.
pub(super) struct VerifiedTokens<K>(Mutex<HashMap<Box<str>, Arc<Verified<K>>>>);

impl<K> Default for VerifiedTokens<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K> Verified<K> {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < REMEMBERED_FOR
    }

    /// As `jsonwebtoken` decides it.
    fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX);
        self.expires < now.as_secs().saturating_sub(LEEWAY_SECONDS)
    }
}

impl<K> VerifiedTokens<K> {
    /// The token, if it was verified a moment ago and has not expired.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Verified<K>>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tokens.get(token)?;
        (found.is_fresh() && !found.has_expired()).then(|| Arc::clone(found))
    }

    pub(super) fn remember(&self, token: &str, verified: Verified<K>) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_TOKENS {
            tokens.retain(|_, verified| verified.is_fresh());
        }
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(token.into(), Arc::new(verified));
    }
}
