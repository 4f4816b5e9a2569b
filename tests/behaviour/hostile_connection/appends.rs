//! Appends with hostile arguments: whatever happens, the actor, the tenant, the versions, the numbers and the recorded time are set by the
//! database.
//!
//! Requests cannot reach the append functions themselves (`objects`, `roles`). Here the login that may execute them calls them with
//! arguments as bad as a fault of the API could make them. Requests reach only `post_event` (`posts`).

use serde_json::{Value, json};
use tests::{Person, World};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::policies::rows_of;

/// The claims of the session's person, as the API passes them after verifying the token.
pub(super) const CLAIMS: &str = "nullif(current_setting('request.jwt.claims', true), '')::jsonb";

/// Arguments of an update of a customer.
pub(super) const UPDATE: [(&str, &str); 2] = [
    ("event_type", "'customer.profile_updated'"),
    ("data", "'{\"phone\": \"1\"}'"),
];

/// One call of `annals.append_event`; the pairs replace arguments by the attacker's SQL.
pub(super) fn one(aggregate_id: &str, replaced: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let (_, sql_type, value) = argument(aggregate_id, replaced, name);
        format!("{value}::{sql_type}")
    };
    let apart = ["data", "metadata", "recorded", "catalog_revision"];
    let members = ARGUMENTS.iter().filter(|(name, ..)| !apart.contains(name));
    let members: Vec<String> = members
        .map(|(name, ..)| format!("'{}', {}", if *name == "new_id" { "id" } else { name }, value(name)))
        .collect();
    format!(
        "select * from annals.append_event({CLAIMS}, jsonb_build_object({}), {})",
        members.join(", "),
        apart.map(value).join(", ")
    )
}

/// The same as a batch of one: every argument is an array, except two.
pub(super) fn many(aggregate_id: &str, replaced: &[(&str, &str)]) -> String {
    let arguments = ARGUMENTS.map(|(name, ..)| match argument(aggregate_id, replaced, name) {
        ("recorded" | "catalog_revision", sql_type, value) => format!("{value}::{sql_type}"),
        (_, sql_type, value) => format!("array[{value}]::{sql_type}[]"),
    });
    format!("select * from annals.append_events({CLAIMS}, {})", arguments.join(", "))
}

/// The name, the type and the value of an argument.
fn argument(aggregate_id: &str, replaced: &[(&str, &str)], name: &str) -> (&'static str, &'static str, String) {
    let (name, sql_type, default) = ARGUMENTS.into_iter().find(|(known, ..)| *known == name).unwrap();
    let value = match replaced.iter().find(|(other, _)| *other == name) {
        Some((_, value)) => (*value).to_owned(),
        None if name == "aggregate_id" => format!("'{aggregate_id}'"),
        None => default.to_owned(),
    };
    (name, sql_type, value)
}

const ARGUMENTS: [(&str, &str, &str); 19] = [
    ("new_id", "uuid", "gen_random_uuid()"),
    ("event_type", "text", "'customer.registered'"),
    ("aggregate_type", "text", "'customer'"),
    ("aggregate_id", "text", ""),
    ("version", "text", "null"),
    ("data", "jsonb", "'{\"name\": \"Ada\", \"email\": \"ada@example.com\"}'"),
    ("metadata", "jsonb", "'{}'"),
    ("recorded", "jsonb", "'{}'"),
    ("created_by", "text", "null"),
    ("user_id", "uuid", "null"),
    ("source", "text", "null"),
    ("timestamp", "timestamptz", "null"),
    ("correlation_id", "text", "null"),
    ("causation_id", "uuid", "null"),
    ("command_id", "text", "null"),
    ("idempotency_key", "text", "null"),
    ("expected_version", "int", "null"),
    ("part", "text", "null"),
    ("catalog_revision", "bigint", "null"),
];

async fn last_event(owner: &Client) -> Value {
    let mut events = rows_of(owner, "annals.events").await;
    events.sort_by_key(|event| event["event_number"].as_i64());
    events.pop().expect("an event")
}

#[tokio::test]
async fn only_a_service_can_name_another_actor_or_user() {
    let victim = Person::user();
    let world = super::world_of(&victim).await;
    let owner = world.owner().await;
    let before = super::everything(&owner).await;
    let (actor, sub) = (format!("'{}'", victim.actor()), format!("'{}'", victim.sub));
    for attacker in [Person::user(), Person::staff(), Person::agent("pricing")] {
        let hostile = world.appender(Some(&attacker)).await;
        let of_agents = if attacker.name.is_some() {
            "agent.decision_proposed"
        } else {
            "customer.registered"
        };
        let kind = [
            ("event_type", format!("'{of_agents}'")),
            ("aggregate_type", format!("'{}'", of_agents.split('.').next().unwrap())),
        ];
        for forged in [
            ("created_by", actor.as_str()),
            ("created_by", "'system'"),
            ("created_by", "'service:billing'"),
            ("created_by", "'agent:another'"),
            ("created_by", "''"),
            ("user_id", sub.as_str()),
        ] {
            let replaced = [(kind[0].0, kind[0].1.as_str()), (kind[1].0, kind[1].1.as_str()), forged];
            for sql in [one("new", &replaced), many("new", &replaced)] {
                assert_eq!(super::refusal(&hostile, &sql).await, "PT403", "{attacker:?}: {sql}");
            }
        }
    }
    super::assert_untouched(&owner, &before).await;
}

#[tokio::test]
async fn if_a_service_names_another_actor_its_own_name_is_recorded_and_cannot_be_forged() {
    let world = World::without_requirements().await;
    let owner = world.owner().await;
    let victim = Person::user();
    let service = Person::service("billing");
    let session = world.appender(Some(&service)).await;
    let actor = format!("'{}'", victim.actor());
    let named = [
        ("created_by", actor.as_str()),
        ("metadata", "'{\"posted_by\": \"service:other\"}'"),
    ];
    for (id, sql) in [("a", one("a", &named)), ("b", many("b", &named))] {
        session.batch_execute(&sql).await.unwrap();
        let event = last_event(&owner).await;
        assert_eq!(
            (
                &event["aggregate_id"],
                &event["created_by"],
                &event["user_id"],
                &event["posted_by"],
                &event["recorded"]["posted_by"]
            ),
            (
                &json!(id),
                &json!(victim.actor()),
                &json!(victim.sub),
                &json!("service:billing"),
                &json!("service:billing")
            )
        );
    }
    let user = Person::user();
    let session = world.appender(Some(&user)).await;
    for forged in [
        ("metadata", "'{\"posted_by\": \"service:billing\"}'"),
        ("recorded", "'{\"posted_by\": \"service:billing\"}'"),
    ] {
        for sql in [one("mine", &[forged]), many("mine", &[forged])] {
            session.batch_execute(&sql).await.unwrap();
            let event = last_event(&owner).await;
            assert_eq!(
                (&event["posted_by"], &event["recorded"]),
                (&json!(user.actor()), &json!({"posted_by": user.actor()})),
                "{sql}"
            );
        }
    }
}

#[tokio::test]
async fn the_recorded_facts_of_the_server_cannot_be_written_over_http() {
    let world = World::without_requirements().await;
    let user = Person::user();
    let event = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "C-1",
                       "data": {"name": "Ada", "email": "ada@example.com"}, "metadata": {"posted_by": "service:billing", "reason": "x"}});
    let answered = world.post(&user, "/events", event).await.expect(201).body;
    let read = world
        .get(&user, &format!("/events/{}", answered["id"].as_str().unwrap()))
        .await
        .expect(200)
        .body;
    for event in [answered, read] {
        assert_eq!(
            event["metadata"],
            json!({"posted_by": "service:billing", "reason": "x"})
        );
        assert_eq!(event["recorded"]["posted_by"], user.actor());
    }
    let mut forged = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "C-2",
                            "data": {"name": "Ada", "email": "ada@example.com"}});
    forged["recorded"] = json!({"posted_by": "service:billing"});
    let refused = world.post(&user, "/events", forged).await;
    assert_eq!(refused.problem(400), "malformed_request");
}

#[tokio::test]
async fn the_version_of_a_strangers_stream_is_not_revealed() {
    let starter = Person::user();
    let world = super::world_of(&starter).await;
    let owner = world.owner().await;
    let before = super::everything(&owner).await;
    let hostile = world.appender(Some(&Person::user())).await;
    for expected in ["null", "0", "1", "7", "-1"] {
        let replaced = [
            ("event_type", "'customer.profile_updated'"),
            ("data", "'{\"phone\": \"1\"}'"),
            ("expected_version", expected),
        ];
        for sql in [one("theirs", &replaced), many("theirs", &replaced)] {
            let error = hostile.batch_execute(&sql).await.unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(
                (error.code().code(), error.constraint()),
                ("PT403", Some("stream_of_another")),
                "{sql}"
            );
            assert_eq!(error.detail().unwrap_or_default(), "", "{sql}");
        }
    }
    super::assert_untouched(&owner, &before).await;
}

#[tokio::test]
async fn the_tenant_is_always_that_of_the_claims() {
    let elsewhere = Uuid::new_v4();
    let world = super::world_of(&Person::staff().in_tenant(elsewhere)).await;
    let owner = world.owner().await;
    let user = Person::user();
    let appender = world.appender(Some(&user)).await;
    appender.batch_execute(&one("theirs", &[])).await.unwrap();
    let hostile = world.hostile(Some(&user)).await;
    let event = last_event(&owner).await;
    assert_eq!(
        (&event["tenant_id"], &event["aggregate_version"]),
        (&json!(user.tenant), &json!(1)),
        "a stream of its own"
    );
    let forged = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "x", "tenant_id": elsewhere,
                        "data": {"name": "Ada", "email": "ada@example.com"}});
    let sql = format!("select public.post_event('{forged}')");
    assert_eq!(super::refusal(&hostile, &sql).await, "PT403");
    super::assert_whole(&owner).await;
}

#[tokio::test]
async fn an_id_can_be_used_only_once() {
    let world = super::world_of(&Person::user()).await;
    let owner = world.owner().await;
    let taken = super::text(&owner, "select id::text from annals.events limit 1").await;
    let taken = format!("'{taken}'");
    let hostile = world.appender(Some(&Person::user())).await;
    let before = super::everything(&owner).await;
    for sql in [one("new", &[("new_id", &taken)]), many("new", &[("new_id", &taken)])] {
        assert_eq!(super::refusal(&hostile, &sql).await, "23505");
    }
    let twice = many("new", &[]).replace("array[gen_random_uuid()]", &format!("array[{taken}, {taken}]"));
    assert_eq!(
        super::refusal(&hostile, &twice).await,
        "PT422",
        "the second has no type"
    );
    super::assert_untouched_but_numbers(&owner, &before).await;
}

#[tokio::test]
async fn an_append_that_is_rolled_back_in_any_way_leaves_no_gap() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.appender(Some(&user)).await;
    let (one, many) = (one("theirs", &UPDATE), many("theirs", &UPDATE));
    for append in [&one, &many] {
        hostile
            .batch_execute(&format!("begin; {append}; rollback"))
            .await
            .unwrap();
        hostile
            .batch_execute(&format!(
                "begin; savepoint s; {append}; rollback to s; {append}; savepoint t; {append}; rollback to t; commit"
            ))
            .await
            .unwrap();
        let perform = append.replacen("select * from", "perform * from", 1);
        hostile
            .batch_execute(&format!(
                "do $do$ begin begin {perform}; raise exception 'undone'; exception when others then null; end; {perform}; end $do$"
            ))
            .await
            .unwrap();
        let failing = format!("begin; {append}; select 1/0; commit");
        assert_eq!(super::refusal(&hostile, &failing).await, "22012");
        hostile.batch_execute("rollback").await.unwrap();
        let cursor = format!("begin; declare c cursor for {append}; close c; commit");
        hostile.batch_execute(&cursor).await.unwrap();
        let limited = format!("{append} limit 0");
        hostile.batch_execute(&limited).await.unwrap();
    }
    super::assert_whole(&owner).await;
}

/// Another session locks the head, so the append waits inside the function until a time limit set by the attacker ends it.
#[tokio::test]
async fn an_append_that_is_cut_off_in_the_middle_leaves_no_gap() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let other = world.appender(Some(&user)).await;
    let (one, many) = (one("theirs", &UPDATE), many("theirs", &UPDATE));
    for append in [&one, &many] {
        other.batch_execute(&format!("begin; {append}")).await.unwrap();
        for (setting, code) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
            let hostile = world.appender(Some(&user)).await;
            hostile
                .batch_execute(&format!("set {setting} = '100ms'"))
                .await
                .unwrap();
            assert_eq!(super::refusal(&hostile, append).await, code, "{setting}");
        }
        other.batch_execute("commit").await.unwrap();
        other.batch_execute(append).await.unwrap();
    }
    assert_eq!(
        super::text(
            &owner,
            "select version::text from annals.heads where aggregate_id = 'theirs'"
        )
        .await,
        "5"
    );
    super::assert_whole(&owner).await;
}
