//! Human-readable names of actors. No right ever depends on one.
//!
//! An agent or a service is named by its id. A person's id is only a uuid, so the name in the person's token
//! (`app_metadata.name`, set on the server side of the identity provider) is recorded with each event that the person posts.
//! `user_metadata` is not read, because its owner can write it and could take another person's name.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::actor::{Caller, Role};
use super::ids::Text;

/// The member of `recorded` that holds a person's name.
const POSTED_BY_NAME: &str = "posted_by_name";

/// What the server observed of a request. If the caller is a person with a usable name, `posted_by_name` is added.
pub fn observed(caller: &Caller, recorded: &Value) -> Value {
    let mut recorded: Map<String, Value> = recorded.as_object().cloned().unwrap_or_default();
    if let Some(name) = person(caller) {
        recorded.insert(POSTED_BY_NAME.to_owned(), Value::String(name));
    }
    Value::Object(recorded)
}

/// `recorded` of the caller's events: what the server observed of the request, and who posted them. The SQL append function writes
/// `posted_by` itself, from the same claims, because it does not trust what it is sent.
pub fn recorded(caller: &Caller, request: &Value) -> Value {
    let mut recorded = observed(caller, request);
    recorded["posted_by"] = Value::String(caller.actor().as_str().to_owned());
    recorded
}

fn person(caller: &Caller) -> Option<String> {
    let name = match caller.role() {
        Role::User | Role::Staff => caller.name()?.to_owned(),
        Role::Agent | Role::Service => return None,
    };
    Text::<100>::try_from(name).ok().map(|name| name.as_str().to_owned())
}

/// The display name of an event's actor, as far as the event itself tells it.
pub fn of_event<'a>(created_by: &'a str, recorded: &'a str) -> Option<Cow<'a, str>> {
    #[derive(Deserialize)]
    struct Observed<'a> {
        #[serde(borrow)]
        posted_by: Option<Cow<'a, str>>,
        #[serde(borrow)]
        posted_by_name: Option<Cow<'a, str>>,
    }
    let own = created_by
        .strip_prefix("agent:")
        .or_else(|| created_by.strip_prefix("service:"));
    if let Some(name) = own {
        return Some(Cow::Borrowed(name));
    }
    // Most events have no such member. An escaped spelling of its name is never stored: PostgreSQL writes JSON without needless escapes.
    if !recorded.contains(POSTED_BY_NAME) {
        return None;
    }
    // If another caller posted the event, the recorded name is not the actor's.
    let observed: Observed<'_> = serde_json::from_str(recorded).ok()?;
    observed
        .posted_by_name
        .filter(|_| observed.posted_by.as_deref() == Some(created_by))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::TenantId;

    fn name_of(created_by: &str, recorded: Value) -> Option<String> {
        of_event(created_by, &recorded.to_string()).map(Cow::into_owned)
    }

    #[test]
    fn an_event_names_its_actor_if_the_actor_posted_it() {
        let recorded = json!({"posted_by": "user:1", "posted_by_name": "Ada"});
        assert_eq!(name_of("user:1", recorded.clone()).as_deref(), Some("Ada"));
        assert_eq!(name_of("user:2", recorded.clone()), None);
        assert_eq!(name_of("system", recorded), None);
        assert_eq!(name_of("agent:pricing", json!({})).as_deref(), Some("pricing"));
        assert_eq!(name_of("service:crm", json!({})).as_deref(), Some("crm"));
        assert_eq!(name_of("user:1", json!({})), None);
    }

    #[test]
    fn only_a_persons_usable_name_is_recorded() {
        let caller = |role, name: &str| {
            Caller::new(TenantId::from(Uuid::nil()), role, Uuid::nil(), Some(name.to_owned())).expect("a caller")
        };
        let observed_of = |role, name: &str| observed(&caller(role, name), &json!({"ip_address": "192.0.2.1"}));
        assert_eq!(
            observed_of(Role::Staff, "Ada"),
            json!({"ip_address": "192.0.2.1", "posted_by_name": "Ada"})
        );
        let nothing = json!({"ip_address": "192.0.2.1"});
        for (role, name) in [(Role::Agent, "pricing"), (Role::Staff, ""), (Role::User, "a\u{0}b")] {
            assert_eq!(observed_of(role, name), nothing, "{name:?}");
        }
        assert_eq!(observed_of(Role::User, &"n".repeat(101)), nothing);
    }
}
