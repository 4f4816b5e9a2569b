//! What actors are called, for people to read. No right ever follows from it.
//!
//! An agent or a service is named by its id. A person's id says nothing, so the name in the person's token
//! (`app_metadata.name`, which the identity provider's server side sets) is recorded with each event that the person posts.
//! `user_metadata`, which its owner writes, is not read: anybody could take somebody else's name.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::actor::{Caller, Role};
use super::ids::Text;

/// The member of `recorded` that holds a person's name.
const POSTED_BY_NAME: &str = "posted_by_name";

/// What the server observed of a request, with the caller's name where the caller is a person with one.
pub fn observed(caller: &Caller, recorded: &Value) -> Value {
    let mut recorded: Map<String, Value> = recorded.as_object().cloned().unwrap_or_default();
    if let Some(name) = person(caller) {
        recorded.insert(POSTED_BY_NAME.to_owned(), Value::String(name));
    }
    Value::Object(recorded)
}

fn person(caller: &Caller) -> Option<String> {
    let name = match caller.role() {
        Role::User | Role::Staff => caller.name()?.to_owned(),
        Role::Agent | Role::Service => return None,
    };
    Text::<100>::try_from(name).ok().map(|name| name.as_str().to_owned())
}

/// What the actor of an event is called, as far as the event itself says.
pub fn of_event(created_by: &str, recorded: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Observed {
        posted_by: Option<String>,
        posted_by_name: Option<String>,
    }
    let own = created_by
        .strip_prefix("agent:")
        .or_else(|| created_by.strip_prefix("service:"));
    if let Some(name) = own {
        return Some(name.to_owned());
    }
    // Somebody else may have posted it, whose name is not the actor's.
    let observed: Observed = serde_json::from_str(recorded.get()).ok()?;
    observed
        .posted_by_name
        .filter(|_| observed.posted_by.as_deref() == Some(created_by))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::TenantId;

    fn told(created_by: &str, recorded: Value) -> Option<String> {
        of_event(created_by, &serde_json::value::to_raw_value(&recorded).expect("JSON"))
    }

    #[test]
    fn an_event_says_who_its_actor_is_where_the_actor_posted_it() {
        let recorded = json!({"posted_by": "user:1", "posted_by_name": "Ada"});
        assert_eq!(told("user:1", recorded.clone()).as_deref(), Some("Ada"));
        assert_eq!(told("user:2", recorded.clone()), None);
        assert_eq!(told("system", recorded), None);
        assert_eq!(told("agent:pricing", json!({})).as_deref(), Some("pricing"));
        assert_eq!(told("service:crm", json!({})).as_deref(), Some("crm"));
        assert_eq!(told("user:1", json!({})), None);
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
