//! Actors, which events name, and callers, which send requests.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::ids::{TenantId, Text, TextFault};

/// The actor of an event: `user:{uuid}`, `agent:{name}`, `service:{name}` or `system`.
///
/// A service that acts for a person without an account may write a name instead of the uuid (`user:test`). A name has no blanks,
/// and of ASCII's punctuation only `. _ - @ / + :`, so an actor is always one word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Actor(Text<100>);

impl Actor {
    /// The actor as text, e.g. `agent:pricing`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Actor {
    type Error = TextFault;

    fn try_from(text: String) -> Result<Self, TextFault> {
        let text = Text::try_from(text)?;
        let is_actor = match text.as_str().split_once(':') {
            Some(("user", name)) if is_noncanonical_uuid(name) => {
                return Err(TextFault::Form(
                    "be user: and a uuid in lower case with hyphens, as in user:7d0c54a6-6f4c-4f5e-9f0e-0c8f1b1a2c3d",
                ));
            }
            Some(("user", name)) => is_name(name),
            Some(("agent" | "service", name)) => is_name(name),
            _ => text.as_str() == "system",
        };
        if is_actor {
            Ok(Self(text))
        } else {
            Err(TextFault::Form(
                "be user:, agent: or service: and a name without spaces, or system",
            ))
        }
    }
}

fn is_name(name: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || "._-@/+:".contains(c);
    !name.is_empty() && name.chars().all(|c| !c.is_ascii() || sign(c))
}

/// Whether the name is a uuid in capitals or without hyphens. That would be a second name for the same person.
fn is_noncanonical_uuid(name: &str) -> bool {
    Uuid::try_parse(name).is_ok_and(|uuid| uuid.to_string() != name)
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The role of a caller. It decides what the caller may see and post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A plain user: sees its own events, and posts what the catalog lets users post.
    User,
    /// Staff: sees and posts everything of its tenant.
    Staff,
    /// An AI agent: sees its own events, and posts what the catalog lets agents post.
    Agent,
    /// A service: as staff, and may name another actor.
    Service,
}

impl Role {
    /// The role's name in tokens and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Staff => "staff",
            Self::Agent => "agent",
            Self::Service => "service",
        }
    }

    /// The role with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Staff, Self::Agent, Self::Service]
            .into_iter()
            .find(|role| role.as_str() == name)
    }

    /// Whether the role reads the whole tenant. Other roles read their own events and the streams that they started.
    pub fn sees_tenant(self) -> bool {
        matches!(self, Self::Staff | Self::Service)
    }
}

/// The bearer of a verified token. It is made only from claims that the verifier of tokens has checked; a large upload keeps them for its
/// import. Code that has a `Caller` does not check again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    tenant_id: TenantId,
    role: Role,
    subject: Uuid,
    actor: Actor,
    name: Option<String>,
}

/// The claims do not name a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token of an agent or service must have its name, without spaces")]
pub struct NamelessCaller;

impl Caller {
    /// The caller that verified claims describe.
    ///
    /// # Errors
    /// [`NamelessCaller`]: an agent or service without a usable name.
    pub fn new(tenant_id: TenantId, role: Role, subject: Uuid, name: Option<String>) -> Result<Self, NamelessCaller> {
        let actor = match (role, &name) {
            (Role::User | Role::Staff, _) => format!("user:{subject}"),
            (Role::Agent | Role::Service, Some(name)) if !name.is_empty() => format!("{}:{name}", role.as_str()),
            (Role::Agent | Role::Service, _) => return Err(NamelessCaller),
        };
        let actor = Actor::try_from(actor).map_err(|_| NamelessCaller)?;
        Ok(Self {
            tenant_id,
            role,
            subject,
            actor,
            name,
        })
    }

    /// Tenant that the caller belongs to.
    pub fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// The tenant's uuid, for the database driver.
    pub fn tenant_uuid(&self) -> &Uuid {
        self.tenant_id.as_uuid()
    }

    /// Role of the caller.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The caller as events name it.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The name in the token. It is the id of an agent or service; for a person it is only displayed.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The person behind the token. `None` for agents and services.
    pub fn user_id(&self) -> Option<Uuid> {
        matches!(self.role, Role::User | Role::Staff).then_some(self.subject)
    }

    /// The claims as the database's policies read them. They are built from what was verified, so nothing else of a token reaches a policy,
    /// and in particular not `user_metadata`.
    pub fn database_claims(&self) -> DatabaseClaims<'_> {
        DatabaseClaims {
            sub: self.subject,
            role: "authenticated",
            app_metadata: AppMetadata {
                role: self.role,
                tenant_id: self.tenant_id,
                name: self.name.as_deref(),
            },
        }
    }
}

/// A caller's claims: `{"sub", "role", "app_metadata": {"role", "tenant_id", "name"}}`.
#[derive(Debug, Serialize)]
pub struct DatabaseClaims<'a> {
    sub: Uuid,
    role: &'static str,
    app_metadata: AppMetadata<'a>,
}

#[derive(Debug, Serialize)]
struct AppMetadata<'a> {
    role: Role,
    tenant_id: TenantId,
    name: Option<&'a str>,
}

/// Their JSON.
impl fmt::Display for DatabaseClaims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_well_formed() {
        for good in [
            "user:0199a3f0-0000-7000-8000-000000000001",
            "user:test",
            "user:not-a-uuid",
            "agent:category_agent",
            "agent:Zo\u{EB}",
            "service:crm/eu-1",
            "service:reports@example.com",
            "system",
        ] {
            assert!(Actor::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ada",
            "user",
            "user:",
            "agent:",
            "admin:ada",
            "System",
            "user:0199A3F0-0000-7000-8000-000000000001",
            "user:0199a3f0000070008000000000000001",
            "user:urn:uuid:0199a3f0-0000-7000-8000-000000000001",
            "user:not a uuid!",
            "agent: a",
            "agent:a b",
            "agent:<b>",
            "agent:a\u{200B}b",
            "agent:Zoe\u{308}",
        ] {
            assert!(Actor::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
