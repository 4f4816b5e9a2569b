//! The fold implemented again from the effects' definitions alone, so that tests do not compare the code with itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::upcast::upcast;
use crate::world::World;

/// A stream: tenant, aggregate type, aggregate id.
pub type Name = (String, String, String);

/// An entity after its events.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Refolded {
    /// Version of the last event.
    pub version: i64,
    /// Recorded time of the first event.
    pub created_at: String,
    /// Recorded time of the last event.
    pub updated_at: String,
    /// Recorded time of the event that deleted the entity.
    pub deleted_at: Option<String>,
    /// Actor of the first event.
    pub started_by: String,
    /// State after all events.
    pub state: Map<String, Value>,
}

impl Refolded {
    /// Applies an effect.
    pub fn apply(&mut self, effect: &Value, data: &Map<String, Value>, at: &str) {
        let (kind, argument) = match effect {
            Value::String(kind) => (kind.as_str(), Value::Null),
            other => {
                let (kind, argument) = other.as_object().unwrap().iter().next().unwrap();
                (kind.as_str(), argument.clone())
            }
        };
        match kind {
            "create" => {
                self.state = data.clone();
                self.deleted_at = None;
            }
            "merge" => overwrite(&mut self.state, data),
            "changes" => {
                for (field, change) in data["changes"].as_object().unwrap() {
                    if change["removed"] == true && change["new"].is_null() {
                        self.state.remove(field);
                    } else if let Some(new) = change.get("new") {
                        self.state.insert(field.clone(), new.clone());
                    }
                }
            }
            "delete" => self.deleted_at = Some(at.to_owned()),
            "set" => {
                for (field, from) in argument.as_object().unwrap() {
                    let value = match from {
                        Value::String(pointer) => Value::Object(data.clone()).pointer(pointer).cloned(),
                        constant => Some(constant["const"].clone()),
                    };
                    if let Some(value) = value {
                        self.state.insert(field.clone(), value);
                    }
                }
            }
            "none" => {}
            child => self.apply_child(child, argument.as_str().unwrap(), data),
        }
    }

    fn apply_child(&mut self, kind: &str, collection: &str, data: &Map<String, Value>) {
        let children = self.state.entry(collection).or_insert_with(|| json!([]));
        let children = children.as_array_mut().unwrap();
        let place = children.iter().position(|child| child["id"] == data["id"]);
        match (kind, place) {
            ("add_child", Some(place)) => children[place] = Value::Object(data.clone()),
            ("update_child", Some(place)) => overwrite(children[place].as_object_mut().unwrap(), data),
            ("add_child" | "update_child", None) => children.push(Value::Object(data.clone())),
            ("remove_child", Some(place)) => drop(children.remove(place)),
            ("remove_child", None) => {}
            (other, _) => panic!("unknown effect {other}"),
        }
    }

    /// The children of a collection as their table stores them: ordered by id as text, and only the last of those with equal text.
    fn rows(&self, collection: &str) -> BTreeMap<String, Value> {
        let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        self.children(collection)
            .into_iter()
            .map(|child| (text(&child["id"]), child))
            .collect()
    }

    /// The children of a collection.
    pub fn children(&self, collection: &str) -> Vec<Value> {
        self.state
            .get(collection)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    }
}

fn overwrite(target: &mut Map<String, Value>, with: &Map<String, Value>) {
    for (field, value) in with {
        target.insert(field.clone(), value.clone());
    }
}

impl World {
    /// Folds the whole log from zero, independently of Annals' own fold.
    pub async fn refold(&self) -> BTreeMap<Name, Refolded> {
        let client = self.superuser().await;
        client.batch_execute("set timezone to 'UTC'").await.unwrap();
        let events = "select e.tenant_id::text, e.aggregate_type, e.aggregate_id, to_jsonb(e.created_at) #>> '{}', e.created_by, e.data::text,
                    t.effect::text, e.version, t.current_version,
                    (select coalesce(jsonb_agg(u), '[]')::text
                       from (select distinct on (u.from_version) u.* from annals.upcasters u
                              where u.event_type = e.event_type and (u.tenant_id is null or u.tenant_id = e.tenant_id)
                              order by u.from_version, u.tenant_id nulls last) as u),
                    exists (select from annals.skipped_events s where s.tenant_id = e.tenant_id and s.event_id = e.id)
               from annals.events e
              cross join lateral (select t.* from annals.event_types t where t.event_type = e.event_type
                        and (t.tenant_id is null or t.tenant_id = e.tenant_id) order by t.tenant_id nulls last limit 1) as t
              order by e.tenant_id, e.aggregate_type, e.aggregate_id, e.aggregate_version";
        let mut entities: BTreeMap<Name, Refolded> = BTreeMap::new();
        for row in client.query(events, &[]).await.unwrap() {
            let (at, by): (String, String) = (row.get(3), row.get(4));
            let is_skipped: bool = row.get(10);
            let entity = entities
                .entry((row.get(0), row.get(1), row.get(2)))
                .or_insert_with(|| Refolded {
                    created_at: at.clone(),
                    started_by: by,
                    ..Refolded::default()
                });
            // Skipped by staff: it counts as a version and has no effect.
            if is_skipped {
                entity.version += 1;
                continue;
            }
            let data: Map<String, Value> = serde_json::from_str(row.get(5)).unwrap();
            let effect: Value = serde_json::from_str(row.get(6)).unwrap();
            let data = upcast(data, row.get(7), row.get(8), &serde_json::from_str(row.get(9)).unwrap());
            entity.version += 1;
            entity.updated_at.clone_from(&at);
            entity.apply(&effect, &data, &at);
        }
        entities
    }

    /// Compares every read model with the log folded from zero: states, state tables, child tables and progress.
    pub async fn assert_read_models_are_the_fold(&self) {
        let entities = self.refold().await;
        let states = entities.iter().map(|(name, entity)| {
            let mut row = standard_columns(name, entity);
            row.extend(object(
                json!({"aggregate_type": name.1, "aggregate_id": name.2, "state": entity.state}),
            ));
            row
        });
        assert_same(
            "annals.entities",
            states.collect(),
            self.rows_of("annals.entities").await,
        );
        for head in self.rows_of("annals.heads").await {
            assert_eq!(head["projected_version"], head["version"], "{head}");
        }
        let tables = "select aggregate_type, collection, format('public.%I', table_name) from annals.state_tables";
        let tables = self.superuser().await.query(tables, &[]).await.unwrap();
        for row in tables {
            let (kind, collection, table): (String, Option<String>, String) = (row.get(0), row.get(1), row.get(2));
            let columns = self.module_columns(&table).await;
            let mut expected = Vec::new();
            for (name, entity) in entities.iter().filter(|(name, _)| name.1 == kind) {
                match &collection {
                    None => {
                        let mut row = by_name(&columns, &entity.state);
                        row.extend(standard_columns(name, entity));
                        row.extend(object(json!({"id": name.2})));
                        expected.push(row);
                    }
                    Some(collection) => expected.extend(entity.rows(collection).into_iter().map(|(id, child)| {
                        let mut row = by_name(&columns, child.as_object().unwrap());
                        row.extend(object(
                            json!({"tenant_id": name.0, "id": id, "started_by": entity.started_by}),
                        ));
                        row.insert(format!("{kind}_id"), json!(name.2));
                        row
                    })),
                }
            }
            assert_same(&table, expected, self.rows_of(&table).await);
        }
    }

    /// The columns of a table.
    pub async fn module_columns(&self, table: &str) -> Vec<String> {
        let columns = "select attname::text from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped";
        let rows = self.superuser().await.query(columns, &[&table]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn standard_columns(name: &Name, entity: &Refolded) -> Map<String, Value> {
    object(json!({
        "tenant_id": name.0, "version": entity.version, "started_by": entity.started_by, "created_at": entity.created_at,
        "updated_at": entity.updated_at, "deleted_at": entity.deleted_at,
    }))
}

fn by_name(columns: &[String], fields: &Map<String, Value>) -> Map<String, Value> {
    let value = |column: &String| (column.clone(), fields.get(column).cloned().unwrap_or(Value::Null));
    columns.iter().map(value).collect()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}

#[track_caller]
fn assert_same(table: &str, expected: Vec<Map<String, Value>>, found: Vec<Value>) {
    let sorted = |rows: Vec<Value>| {
        let mut texts: Vec<String> = rows.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    };
    let expected = sorted(expected.into_iter().map(Value::Object).collect());
    pretty(table, &expected, &sorted(found));
}

#[track_caller]
fn pretty(table: &str, expected: &[String], found: &[String]) {
    let only = |these: &[String], those: &[String]| {
        these
            .iter()
            .filter(|row| !those.contains(row))
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(
        expected == found,
        "{table} is not the fold.\nonly in the fold:\n{}\nonly in the table:\n{}",
        only(expected, found),
        only(found, expected)
    );
}
