//! Signs the JWTs that an identity provider would issue, with the claims of Supabase's tokens.
//!
//! Claims decide everything that a request may do, so they are types here and not assembled JSON.

use crate::Error;
use crate::secrets::JwtSecret;
use annals_domain::Actor;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use uuid::Uuid;

/// Issuer of local tokens; `serve` accepts no other.
pub const ISSUER: &str = "annals-local";
/// Audience (`aud`) and database role (`role`) of every token.
pub const AUDIENCE: &str = "authenticated";
/// Default lifetime of a token in hours: a working day.
pub const DEFAULT_TTL_HOURS: u32 = 12;

/// The holder's role in Annals (`app_metadata.role`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May see and administer the whole tenant.
    Staff,
    /// May see its own events and the streams that it started.
    User,
    /// An AI agent. May see its own events.
    Agent,
    /// Another system. May post events in the name of other actors.
    Service,
}

/// The holder of a token. The comments of the fields are the text of `token --help`.
#[derive(Args, Clone, Debug)]
pub struct Holder {
    /// Role of the holder, which decides what it may do
    #[arg(long)]
    pub role: Role,
    /// Id of the holder [default: random]
    #[arg(long, value_name = "UUID")]
    pub sub: Option<Uuid>,
    /// Tenant of the holder [default: the default tenant, the nil UUID]
    #[arg(long, value_name = "UUID")]
    pub tenant: Option<Uuid>,
    /// Name of an agent or service [default: local]
    #[arg(long, value_parser = actor_name)]
    pub name: Option<String>,
}

/// The actor is `service:` and the name, and has at most 100 characters.
fn actor_name(text: &str) -> Result<String, String> {
    match Actor::try_from(format!("service:{text}")) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(
            "must be 1 to 92 printable characters without spaces; the only ASCII punctuation allowed is . _ - @ / + :"
                .to_owned(),
        ),
    }
}

impl Holder {
    /// A holder with this role in the default tenant.
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

/// Signs a token for `holder` that expires after `ttl`.
pub fn mint(secret: &JwtSecret, holder: Holder, ttl: TimeDelta) -> Result<String, Error> {
    let claims = claims(holder, Utc::now(), ttl)?;
    Ok(encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret.as_str().as_bytes()),
    )?)
}

fn claims(holder: Holder, now: DateTime<Utc>, ttl: TimeDelta) -> Result<Claims, Error> {
    // The name identifies an agent or service. Without names, all agents would be one actor, `agent:`.
    let name = match holder.role {
        Role::Agent | Role::Service => Some(holder.name.unwrap_or_else(|| "local".to_owned())),
        Role::Staff | Role::User => holder.name,
    };
    let expires = now
        .checked_add_signed(ttl)
        .ok_or_else(|| Error::Invalid("the lifetime of the token is too long".to_owned()))?;
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
    fn claims_are_those_of_supabase() -> Result<(), Box<dyn std::error::Error>> {
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
    fn an_agent_always_has_a_name_and_a_user_only_if_one_is_given() -> Result<(), Box<dyn std::error::Error>> {
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
    fn a_token_verifies_only_with_its_secret() -> Result<(), Box<dyn std::error::Error>> {
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
