//! Callers in tests, and their tokens.

use annals_domain::{Caller, Role, TenantId};
use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

/// The shared secret of every test's tokens.
pub const SECRET: &str = "a secret that is only for tests and long enough for HS256";

/// A caller.
#[derive(Debug, Clone)]
pub struct Person {
    /// Tenant; the nil uuid by default.
    pub tenant: Uuid,
    /// Role in the token.
    pub role: Role,
    /// Subject of the token.
    pub sub: Uuid,
    /// Name of an agent or service.
    pub name: Option<String>,
}

impl Person {
    /// A new member of staff.
    pub fn staff() -> Self {
        Self::of(Role::Staff, None)
    }

    /// A new user.
    pub fn user() -> Self {
        Self::of(Role::User, None)
    }

    /// An agent with this name.
    pub fn agent(name: &str) -> Self {
        Self::of(Role::Agent, Some(name))
    }

    /// A service with this name.
    pub fn service(name: &str) -> Self {
        Self::of(Role::Service, Some(name))
    }

    fn of(role: Role, name: Option<&str>) -> Self {
        Self {
            tenant: Uuid::nil(),
            role,
            sub: Uuid::new_v4(),
            name: name.map(str::to_owned),
        }
    }

    /// The same caller in another tenant.
    pub fn in_tenant(mut self, tenant: Uuid) -> Self {
        self.tenant = tenant;
        self
    }

    /// The actor in events that this caller posts.
    pub fn actor(&self) -> String {
        self.caller().actor().as_str().to_owned()
    }

    /// The caller as functions see it after verifying the token.
    pub fn caller(&self) -> Caller {
        Caller::new(TenantId::from(self.tenant), self.role, self.sub, self.name.clone()).expect("a caller")
    }

    /// Claims of a valid token.
    pub fn claims(&self) -> Value {
        let now = Utc::now();
        json!({
            "sub": self.sub, "role": "authenticated", "aud": "authenticated", "iss": "tests",
            "iat": now.timestamp(), "exp": (now + TimeDelta::hours(1)).timestamp(),
            "app_metadata": {"role": self.role, "tenant_id": self.tenant, "name": self.name},
        })
    }

    /// A valid token.
    pub fn token(&self) -> String {
        sign(&self.claims(), SECRET)
    }
}

/// An HS256 token with any claims under any secret.
pub fn sign(claims: &Value, secret: &str) -> String {
    encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .expect("a token")
}
