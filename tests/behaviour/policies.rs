//! Who sees what: staff and services see their tenant; users and agents see their own events and the streams that they started; no actor
//! sees another tenant. Each table is read as each actor, and the rows are compared with this rule as written again here. Tables are
//! read from the system catalogs, and the test fails for a table without a decision.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::Person;
use tokio_postgres::Client;
use uuid::Uuid;

pub(crate) mod scene;

use annals_domain::Role;
use scene::Scene;

/// Which rows of a table are visible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shows {
    /// Events: of the tenant; otherwise one's own, and those in streams that one started if their type says so.
    Events,
    /// Contexts withheld from starters: of the tenant; otherwise of one's own events.
    Contexts,
    /// Heads: of the tenant; otherwise of streams that one started or sees an event of.
    Heads,
    /// States and uploads: of the tenant; otherwise those that one started and sees every event of.
    States,
    /// The tenant's rows, for staff and services only.
    TenantOnly,
    /// Built-in rows and the tenant's own.
    Catalog,
    /// Rows without a tenant.
    Everything,
    /// Nothing: no right to select.
    Nothing,
}

/// The decision about a relation. A new relation must be added here.
pub(crate) fn decided(schema: &str, name: &str, state_tables: &BTreeSet<String>) -> Shows {
    match (schema, name) {
        ("annals", "events") | ("public", "event_stream" | "events") => Shows::Events,
        ("annals", "withheld_context") => Shows::Contexts,
        ("annals", "heads") => Shows::Heads,
        ("annals", "entities" | "snapshots" | "uploads" | "rejected_rows") => Shows::States,
        (
            "annals",
            "parked_streams"
            | "skipped_events"
            | "event_counts"
            | "event_rates"
            | "event_minutes"
            | "field_values"
            | "usage_counts"
            | "rebuilds"
            | "kpi_changes"
            | "kpi_days"
            | "kpi_names"
            | "kpi_repeat_customers",
        )
        | ("public", "kpi_days") => Shows::TenantOnly,
        ("annals", "event_types" | "event_type_versions" | "upcasters" | "fold_versions" | "indexed_fields")
        | ("public", "event_types") => Shows::Catalog,
        // Of `checkpoints`, only the sweep's row, which is the only one in this test; replays' rows are tested in replay/checkpoints.rs.
        ("annals", "catalog_revision" | "checkpoints" | "noted_events" | "indexed_events" | "state_tables") => {
            Shows::Everything
        }
        (
            "annals",
            "state_row" | "child_row" | "schema_history" | "imports" | "import_partitions" | "import_contents"
            | "reverts" | "events_left_alone" | "kept_keys",
        ) => Shows::Nothing,
        ("public", table) if state_tables.contains(table) => Shows::States,
        _ => panic!("there is no decision about who sees {schema}.{name}"),
    }
}

/// Every table and view in the schemas of Annals, with its decision.
pub(crate) async fn relations(owner: &Client) -> Vec<(String, Shows)> {
    let state_tables = strings(owner, "select table_name::text from annals.state_tables").await;
    let rows = owner
        .query(
            "select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname in ('annals', 'public', 'auth') and c.relkind in ('r', 'p', 'v', 'm', 'f') order by 1, 2",
            &[],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let shows = decided(&schema, &name, &state_tables);
            (format!("{schema}.{name}"), shows)
        })
        .collect()
}

pub(crate) async fn strings(client: &Client, sql: &str) -> BTreeSet<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// All rows of a relation that a session sees, as JSON, ordered as text.
pub(crate) async fn rows_of(client: &Client, relation: &str) -> Vec<Value> {
    strings(client, &format!("select to_jsonb(t)::text from {relation} t"))
        .await
        .iter()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect()
}

/// A person for whom the rules of the design are evaluated: whether the person sees a row.
pub(crate) struct Viewer<'a> {
    person: &'a Person,
    actor: String,
    user_id: Value,
    sees_tenant: bool,
    seen_streams: BTreeSet<String>,
    /// Ids of streams with events that their starter does not see. In this test no two aggregate types share an id.
    hidden: BTreeSet<String>,
}

impl<'a> Viewer<'a> {
    pub(crate) fn of(person: &'a Person, events: &[Value]) -> Self {
        let is_human = matches!(person.role, Role::User | Role::Staff);
        let mut viewer = Self {
            person,
            actor: person.actor(),
            user_id: if is_human { json!(person.sub) } else { json!("nobody") },
            sees_tenant: matches!(person.role, Role::Staff | Role::Service),
            seen_streams: BTreeSet::new(),
            hidden: BTreeSet::new(),
        };
        let is_hidden = |e: &&Value| {
            e["starter_sees"] == false && e["created_by"] != e["started_by"] && e["user_id"] != viewer.user_id
        };
        viewer.hidden = events
            .iter()
            .filter(is_hidden)
            .filter(|e| e["tenant_id"] == json!(person.tenant))
            .map(|e| e["aggregate_id"].to_string())
            .collect();
        viewer.seen_streams = events
            .iter()
            .filter(|e| viewer.see(Shows::Events, e))
            .map(stream)
            .collect();
        viewer
    }

    pub(crate) fn see(&self, shows: Shows, row: &Value) -> bool {
        let is_tenants = row["tenant_id"] == json!(self.person.tenant);
        let is_starter = row["started_by"] == json!(self.actor);
        match shows {
            Shows::Events => {
                is_tenants
                    && (self.sees_tenant
                        || (is_starter && row["starter_sees"] == true)
                        || row["created_by"] == json!(self.actor)
                        || row["user_id"] == self.user_id)
            }
            Shows::Contexts => {
                is_tenants
                    && (self.sees_tenant || row["created_by"] == json!(self.actor) || row["user_id"] == self.user_id)
            }
            Shows::Heads => is_tenants && (self.sees_tenant || is_starter || self.seen_streams.contains(&stream(row))),
            Shows::States => is_tenants && (self.sees_tenant || (is_starter && !self.is_hidden(row))),
            Shows::TenantOnly => is_tenants && self.sees_tenant,
            Shows::Catalog => is_tenants || row["tenant_id"].is_null(),
            Shows::Everything => true,
            Shows::Nothing => false,
        }
    }
}

impl Viewer<'_> {
    /// Whether the row of a state or a child belongs to a stream with hidden events.
    fn is_hidden(&self, row: &Value) -> bool {
        let ids = ["id", "aggregate_id", "organization_id", "commodity_id"];
        ids.iter().any(|column| self.hidden.contains(&row[*column].to_string()))
    }
}

fn stream(row: &Value) -> String {
    format!("{} {} {}", row["tenant_id"], row["aggregate_type"], row["aggregate_id"])
}

/// The views do not show the starter, on which the rules depend, so their rows are matched by id.
fn key(relation: &str, row: &Value) -> String {
    if ["public.event_stream", "public.events"].contains(&relation) {
        row["id"].to_string()
    } else {
        row.to_string()
    }
}

#[tokio::test]
async fn every_actor_sees_exactly_the_designed_rows_of_every_table() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let events = rows_of(&owner, "annals.events").await;
    for (relation, shows) in relations(&owner).await {
        let source = if shows == Shows::Events {
            "annals.events"
        } else {
            &relation
        };
        let all = rows_of(&owner, source).await;
        let mut counts = BTreeSet::new();
        for person in scene.people() {
            let session = scene.world.hostile(Some(person)).await;
            if shows == Shows::Nothing {
                let refused = session
                    .query(&format!("select from {relation}"), &[])
                    .await
                    .unwrap_err();
                assert_eq!(refused.code().unwrap().code(), "42501", "{relation}");
                continue;
            }
            let viewer = Viewer::of(person, &events);
            let expected: BTreeSet<String> = all
                .iter()
                .filter(|row| viewer.see(shows, row))
                .map(|row| key(&relation, row))
                .collect();
            let rows = rows_of(&session, &relation).await;
            let seen: BTreeSet<String> = rows.iter().map(|row| key(&relation, row)).collect();
            assert_eq!(seen, expected, "{person:?} at {relation}");
            assert_eq!(
                rows.len(),
                seen.len(),
                "{person:?} at {relation}: a row is returned twice"
            );
            counts.insert(seen.len());
        }
        if matches!(shows, Shows::Events | Shows::Heads | Shows::States | Shows::TenantOnly) {
            assert!(
                counts.len() > 1,
                "{relation} is empty, or all actors see the same: {counts:?}"
            );
            let most = counts.last().copied().unwrap_or_default();
            assert!(most < all.len(), "{relation} holds rows of one tenant only");
        }
    }
}

#[tokio::test]
async fn a_stream_read_by_sql_shows_exactly_the_events_that_its_reader_may_see() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let events = rows_of(&owner, "annals.events").await;
    let types: Vec<&str> = events.iter().filter_map(|e| e["aggregate_type"].as_str()).collect();
    let ids: Vec<&str> = events.iter().filter_map(|e| e["aggregate_id"].as_str()).collect();
    for person in scene.people() {
        let session = scene.world.hostile(Some(person)).await;
        let rows = session
            .query(
                "select distinct e.id::text from unnest($1::text[], $2::text[]) as s (type, id)
                  cross join lateral public.get_aggregate_events(s.type, s.id) as e",
                &[&types, &ids],
            )
            .await
            .unwrap();
        let seen: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let viewer = Viewer::of(person, &events);
        let expected: BTreeSet<String> = events
            .iter()
            .filter(|e| viewer.see(Shows::Events, e))
            .filter_map(|e| e["id"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(seen, expected, "{person:?}");
    }
}

#[tokio::test]
async fn claims_without_an_actor_see_only_built_in_rows() {
    let scene = Scene::new().await;
    let owner = scene.world.owner().await;
    let (home, elsewhere) = (json!(Uuid::nil()), json!(scene.elsewhere.staff.tenant));
    let sub = scene.home.staff.sub;
    // The claims, and the tenant whose types they may read. Types are not secret from any token of the tenant.
    let nobodies = [
        (String::new(), Value::Null),
        ("{}".to_owned(), home.clone()),
        ("[]".to_owned(), home.clone()),
        ("null".to_owned(), home.clone()),
        (
            json!({"app_metadata": {"tenant_id": elsewhere}}).to_string(),
            elsewhere.clone(),
        ),
        (
            json!({"app_metadata": {"tenant_id": elsewhere, "role": "admin"}, "sub": sub}).to_string(),
            elsewhere.clone(),
        ),
        (
            json!({"app_metadata": {"tenant_id": elsewhere, "role": "agent"}}).to_string(),
            elsewhere.clone(),
        ),
        (
            json!({"user_metadata": {"tenant_id": elsewhere, "role": "staff"}, "role": "staff"}).to_string(),
            home.clone(),
        ),
    ];
    for (claims, tenant) in nobodies {
        let session = scene.world.hostile(None).await;
        session
            .execute("select set_config('request.jwt.claims', $1, false)", &[&claims])
            .await
            .unwrap();
        for (relation, shows) in relations(&owner).await {
            if matches!(shows, Shows::Nothing | Shows::Everything) {
                continue;
            }
            for row in rows_of(&session, &relation).await {
                let is_catalog = shows == Shows::Catalog && (row["tenant_id"].is_null() || row["tenant_id"] == tenant);
                assert!(is_catalog, "{claims} sees {row} in {relation}");
            }
        }
    }
}

#[tokio::test]
async fn rows_hidden_by_policies_are_not_found_over_http_either() {
    let scene = Scene::new().await;
    let events = rows_of(&scene.world.owner().await, "annals.events").await;
    for person in [
        &scene.home.users[0],
        &scene.home.agents[0],
        &scene.elsewhere.staff,
        &scene.elsewhere.users[0],
    ] {
        let viewer = Viewer::of(person, &events);
        let expected: BTreeSet<&str> = events
            .iter()
            .filter(|e| viewer.see(Shows::Events, e))
            .filter_map(|e| e["id"].as_str())
            .collect();
        let listed = scene.world.all_pages(person, "/events?limit=1000").await;
        let listed: BTreeSet<&str> = listed.iter().filter_map(|e| e["id"].as_str()).collect();
        assert_eq!(listed, expected, "{person:?}");
        let hidden = events
            .iter()
            .find(|e| !viewer.see(Shows::Events, e))
            .expect("something is hidden");
        let path = format!("/events/{}", hidden["id"].as_str().unwrap());
        scene.world.get(person, &path).await.expect(404);
    }
}
