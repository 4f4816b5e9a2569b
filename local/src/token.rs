//! Mints the JWTs that an identity provider would issue, in the shape of Supabase's (DESIGN §5).
//!
//! Claims decide everything a request may do, so the shape is spelled out as types here and not assembled as JSON.

use crate::Error;
use crate::secrets::JwtSecret;
use chrono::{DateTime, TimeDelta, Utc};
use clap::ValueEnum;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use uuid::Uuid;

/// Issuer of local tokens; `serve` accepts no other.
pub const ISSUER: &str = "annals-local";
/// Audience, and database role, of every token of a signed-in caller.
pub const AUDIENCE: &str = "authenticated";
/// How long a token lasts when nothing else is asked for: a working day.
pub const DEFAULT_TTL_HOURS: u32 = 12;

/// What the holder is to Annals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and administers its whole tenant.
    Staff,
    /// Sees its own events and the streams it started.
    User,
    /// An AI agent: sees its own.
    Agent,
    /// Another system: may name the actor it posts for.
    Service,
}

/// Whom a token is for.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its role.
    pub role: Role,
    /// Its identity; random when not given.
    pub sub: Option<Uuid>,
    /// Its tenant; the nil UUID, the default tenant, when not given.
    pub tenant: Option<Uuid>,
    /// Name of an agent or service, `local` when not given; a person's decides nothing.
    pub name: Option<String>,
}

impl Holder {
    /// A holder of the default tenant with nothing chosen but the role.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            sub: None,
            tenant: None,
            name: None,
        }
    }
}

#[derive(Serialize)]
struct Claims {
    sub: Uuid,
    role: &'static str,
    aud: &'static str,
    iss: &'static str,
    iat: i64,
    exp: i64,
    app_metadata: AppMetadata,
}

#[derive(Serialize)]
struct AppMetadata {
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Signs a token for `holder` that lasts `ttl` from now.
pub fn mint(secret: &JwtSecret, holder: Holder, ttl: TimeDelta) -> Result<String, Error> {
    let claims = claims(holder, Utc::now(), ttl)?;
    Ok(encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret.as_str().as_bytes()),
    )?)
}

fn claims(holder: Holder, now: DateTime<Utc>, ttl: TimeDelta) -> Result<Claims, Error> {
    // An agent or service is its name: `agent:` with nothing behind it would be one actor for all of them.
    let name = match holder.role {
        Role::Agent | Role::Service => Some(holder.name.unwrap_or_else(|| "local".to_owned())),
        Role::Staff | Role::User => holder.name,
    };
    let expires = now
        .checked_add_signed(ttl)
        .ok_or_else(|| Error::Invalid("that time to live is too long".to_owned()))?;
    Ok(Claims {
        sub: holder.sub.unwrap_or_else(Uuid::new_v4),
        role: AUDIENCE,
        aud: AUDIENCE,
        iss: ISSUER,
        iat: now.timestamp(),
        exp: expires.timestamp(),
        app_metadata: AppMetadata {
            role: holder.role,
            tenant_id: holder.tenant,
            name,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde_json::{Value, json};
    use std::path::Path;

    fn secret() -> Result<JwtSecret, Error> {
        JwtSecret::load(Some("a secret of more than thirty-two bytes"), Path::new("/nowhere"))
    }

    #[test]
    fn claims_have_the_shape_of_supabase() -> Result<(), Box<dyn std::error::Error>> {
        let (sub, tenant) = (Uuid::from_u128(7), Uuid::from_u128(9));
        let holder = Holder {
            sub: Some(sub),
            tenant: Some(tenant),
            ..Holder::of(Role::Staff)
        };
        let now = DateTime::from_timestamp(1_700_000_000, 0).ok_or("no time")?;
        assert_eq!(
            serde_json::to_value(claims(holder, now, TimeDelta::hours(12))?)?,
            json!({"sub": sub, "role": "authenticated", "aud": "authenticated", "iss": "annals-local", "iat": 1_700_000_000,
                   "exp": 1_700_043_200, "app_metadata": {"role": "staff", "tenant_id": tenant}})
        );
        Ok(())
    }

    #[test]
    fn an_agent_always_has_a_name_and_a_user_only_if_given_one() -> Result<(), Box<dyn std::error::Error>> {
        let agent = claims(Holder::of(Role::Agent), Utc::now(), TimeDelta::hours(1))?;
        assert_eq!(agent.app_metadata.name.as_deref(), Some("local"));
        assert_eq!(
            claims(Holder::of(Role::User), Utc::now(), TimeDelta::hours(1))?
                .app_metadata
                .name,
            None
        );
        Ok(())
    }

    #[test]
    fn a_minted_token_verifies_with_its_secret_only() -> Result<(), Box<dyn std::error::Error>> {
        let token = mint(&secret()?, Holder::of(Role::Service), TimeDelta::hours(1))?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        let key = |text: &str| DecodingKey::from_secret(text.as_bytes());
        let read = decode::<Value>(&token, &key(secret()?.as_str()), &rules)?;
        assert_eq!(read.claims["app_metadata"], json!({"role": "service", "name": "local"}));
        assert!(decode::<Value>(&token, &key("another secret of more than 32 bytes"), &rules).is_err());
        Ok(())
    }
}
