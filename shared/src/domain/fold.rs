//! State is the fold of a stream's events: one pure function, which every reader and writer of state shares.
//!
//! Architecture invariant: projector, present state, time travel, snapshots and rebuild call [`Entity::try_apply`] and nothing
//! else, so that they cannot differ. It is total but for one thing: a state has at most [`MAX_STATE_BYTES`]. An event that leads
//! beyond parks its stream, as one does whose state a table refuses.

use serde_json::{Map, Value};

use super::effect::Effect;
use super::time::Timestamp;
use super::weight::text_bytes;

/// Most bytes of a state as JSON text. A function that reads or writes an entity holds its state in memory, so without a limit one large
/// state would end every function that reads it.
pub const MAX_STATE_BYTES: usize = 1024 * 1024;

/// Says that an event would make a state larger than [`MAX_STATE_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// How large a state is at most: kept from event to event, so that a large state is not measured anew for each.
#[derive(Debug, Clone, Copy, Default)]
pub struct SizeBound(Option<usize>);

/// What is known of a state's size is no part of what an entity is.
impl PartialEq for SizeBound {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An aggregate as its events leave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Version of the last event folded in; 0 before the first.
    pub version: i32,
    /// Recorded time of the first event.
    pub created_at: Timestamp,
    /// Recorded time of the last event.
    pub updated_at: Timestamp,
    /// Recorded time of the event that deleted it.
    pub deleted_at: Option<Timestamp>,
    /// The state.
    pub state: Map<String, Value>,
    /// How large the state is at most; unknown at first.
    pub size: SizeBound,
}

/// What the fold needs to know of an event.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    /// Its place in the stream.
    pub version: i32,
    /// Its recorded time.
    pub created_at: Timestamp,
    /// What the catalog says it does.
    pub effect: &'a Effect,
    /// Its data.
    pub data: &'a Map<String, Value>,
}

impl Entity {
    /// Nothing yet, for a stream whose first event was recorded at `created_at`.
    pub fn before(created_at: Timestamp) -> Self {
        Self {
            version: 0,
            created_at,
            updated_at: created_at,
            deleted_at: None,
            state: Map::new(),
            size: SizeBound::default(),
        }
    }

    /// Folds the next event in, unless that makes the state larger than [`MAX_STATE_BYTES`]. The state is measured only where
    /// it may be: with a state of nearly that size, and then for every event.
    ///
    /// # Errors
    /// [`TooLarge`]; the entity is then as it was.
    pub fn try_apply(&mut self, fact: &Fact<'_>) -> Result<(), TooLarge> {
        let growth = fact.effect.growth(fact.data);
        // What the fields of `set` take they take beside each other: many that point to one value are many times as large.
        if matches!(fact.effect, Effect::Set(_)) && growth > 2 * MAX_STATE_BYTES {
            return Err(TooLarge);
        }
        let before = match fact.effect {
            Effect::Create => 0,
            _ => self.size.0.unwrap_or_else(|| text_bytes(&self.state)),
        };
        let bound = before.saturating_add(growth);
        if bound <= MAX_STATE_BYTES {
            self.apply(fact);
            self.size = SizeBound(Some(bound));
            return Ok(());
        }
        let mut after = self.clone();
        after.apply(fact);
        let bytes = text_bytes(&after.state);
        if bytes > MAX_STATE_BYTES {
            return Err(TooLarge);
        }
        after.size = SizeBound(Some(bytes));
        *self = after;
        Ok(())
    }

    /// Folds the next event in.
    fn apply(&mut self, fact: &Fact<'_>) {
        self.version = fact.version;
        self.updated_at = fact.created_at;
        match fact.effect {
            Effect::Create => {
                self.state = fact.data.clone();
                self.deleted_at = None;
            }
            Effect::Merge => self.state.extend(fact.data.clone()),
            Effect::Changes => apply_changes(&mut self.state, fact.data),
            Effect::Delete => self.deleted_at = Some(fact.created_at),
            Effect::AddChild(collection) => add_child(&mut self.state, collection, fact.data),
            Effect::UpdateChild(collection) => update_child(&mut self.state, collection, fact.data),
            Effect::RemoveChild(collection) => remove_child(&mut self.state, collection, fact.data),
            Effect::Set(fields) => {
                for (field, source) in fields {
                    if let Some(value) = source.value(fact.data) {
                        self.state.insert(field.clone(), value);
                    }
                }
            }
            Effect::None => {}
        }
    }

    /// Passes over an event that staff decided to leave out: the version moves, the state does not.
    pub fn skip(&mut self, version: i32) {
        self.version = version;
    }
}

fn apply_changes(state: &mut Map<String, Value>, data: &Map<String, Value>) {
    let Some(Value::Object(changes)) = data.get("changes") else {
        return;
    };
    for (field, change) in changes {
        match change.get("new") {
            // Only with null: so a schema that wants a field to have a value need not know of removals.
            None | Some(Value::Null) if change.get("removed") == Some(&Value::Bool(true)) => {
                state.remove(field);
            }
            None => {}
            Some(new) => {
                state.insert(field.clone(), new.clone());
            }
        }
    }
}

fn add_child(state: &mut Map<String, Value>, collection: &str, data: &Map<String, Value>) {
    let children = children_mut(state, collection);
    match place_of(children, data) {
        Some(place) => children[place] = Value::Object(data.clone()),
        None => children.push(Value::Object(data.clone())),
    }
}

fn update_child(state: &mut Map<String, Value>, collection: &str, data: &Map<String, Value>) {
    let children = children_mut(state, collection);
    match place_of(children, data).and_then(|place| children[place].as_object_mut()) {
        Some(child) => child.extend(data.clone()),
        None => children.push(Value::Object(data.clone())),
    }
}

fn remove_child(state: &mut Map<String, Value>, collection: &str, data: &Map<String, Value>) {
    let children = children_mut(state, collection);
    if let Some(place) = place_of(children, data) {
        children.remove(place);
    }
}

/// The collection's children; what is no array is replaced by one, so that the fold stays total.
fn children_mut<'a>(state: &'a mut Map<String, Value>, collection: &str) -> &'a mut Vec<Value> {
    let slot = state
        .entry(collection.to_owned())
        .or_insert_with(|| Value::Array(Vec::new()));
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    match slot {
        Value::Array(children) => children,
        _ => unreachable!("the slot was made an array above"),
    }
}

fn place_of(children: &[Value], data: &Map<String, Value>) -> Option<usize> {
    let id = data.get("id")?;
    children.iter().position(|child| child.get("id") == Some(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fold(steps: &[(Value, Value)]) -> Entity {
        let mut entity = Entity::before(Timestamp::now());
        for (place, (effect, data)) in steps.iter().enumerate() {
            let effect = Effect::from_json(&effect.to_string()).expect("a valid effect");
            let data = data.as_object().expect("data is an object");
            let version = i32::try_from(place).expect("few steps") + 1;
            let fact = Fact {
                version,
                created_at: Timestamp::now(),
                effect: &effect,
                data,
            };
            assert_eq!(entity.try_apply(&fact), Ok(()));
        }
        entity
    }

    fn state(steps: &[(Value, Value)]) -> Value {
        Value::Object(fold(steps).state)
    }

    #[test]
    fn create_replaces_merge_adds_and_changes_take_the_new() {
        let steps = [
            (json!("create"), json!({"name": "A", "tags": [1]})),
            (json!("merge"), json!({"tags": [2], "city": "B"})),
            (
                json!("changes"),
                json!({"changes": {"name": {"old": "other", "new": "C"}, "city": {"old": "B"}}}),
            ),
        ];
        assert_eq!(state(&steps), json!({"name": "C", "tags": [2], "city": "B"}));
    }

    #[test]
    fn a_change_leaves_null_where_it_says_so_and_nothing_where_it_says_removed() {
        let steps = [
            (json!("create"), json!({"a": 1, "b": 2, "c": 3})),
            (
                json!("changes"),
                json!({"changes": {"a": {"old": 1, "new": null}, "b": {"old": 2, "new": null, "removed": true},
                                   "c": {"old": 3, "new": 4, "removed": true}}}),
            ),
        ];
        assert_eq!(state(&steps), json!({"a": null, "c": 4}));
    }

    #[test]
    fn delete_marks_and_keeps_and_create_brings_back() {
        let deleted = fold(&[(json!("create"), json!({"a": 1})), (json!("delete"), json!({}))]);
        assert!(deleted.deleted_at.is_some());
        assert_eq!(Value::Object(deleted.state), json!({"a": 1}));
        let again = fold(&[(json!("delete"), json!({})), (json!("create"), json!({"a": 2}))]);
        assert!(again.deleted_at.is_none());
    }

    #[test]
    fn children_are_known_by_their_id() {
        let steps = [
            (json!({"add_child": "gst"}), json!({"id": "1", "no": "x"})),
            (json!({"update_child": "gst"}), json!({"id": "2", "no": "y"})),
            (json!({"update_child": "gst"}), json!({"id": "1", "city": "z"})),
            (json!({"remove_child": "gst"}), json!({"id": "3"})),
            (json!({"add_child": "gst"}), json!({"id": "2", "no": "w"})),
        ];
        assert_eq!(
            state(&steps),
            json!({"gst": [{"id": "1", "no": "x", "city": "z"}, {"id": "2", "no": "w"}]})
        );
        let removed = [
            (json!({"add_child": "gst"}), json!({"id": 1})),
            (json!({"remove_child": "gst"}), json!({"id": 1})),
        ];
        assert_eq!(state(&removed), json!({"gst": []}));
    }

    #[test]
    fn set_follows_pointers_and_leaves_what_leads_nowhere() {
        let effect = json!({"set": {"base_price": "/new_price", "deep": "/a/0/b~1c", "gone": "/nowhere", "status": {"const": "on"}}});
        let data = json!({"new_price": 5, "a": [{"b/c": true}]});
        assert_eq!(
            state(&[(effect, data)]),
            json!({"base_price": 5, "deep": true, "status": "on"})
        );
    }

    #[test]
    fn a_state_grows_to_its_limit_and_an_event_that_leads_beyond_changes_nothing() {
        let mut entity = Entity::before(Timestamp::now());
        let apply = |entity: &mut Entity, effect: Value, data: Value| {
            entity.try_apply(&Fact {
                version: entity.version + 1,
                created_at: Timestamp::now(),
                effect: &Effect::from_json(&effect.to_string()).expect("an effect"),
                data: data.as_object().expect("an object"),
            })
        };
        let quarter = "x".repeat(MAX_STATE_BYTES / 4 - 8);
        for field in ["a", "b", "c", "d"] {
            assert_eq!(apply(&mut entity, json!("merge"), json!({field: quarter})), Ok(()));
        }
        let before = entity.clone();
        assert_eq!(text_bytes(&before.state), MAX_STATE_BYTES - 3);
        assert_eq!(apply(&mut entity, json!("merge"), json!({"e": 1})), Err(TooLarge));
        assert_eq!((&entity, entity.version), (&before, 4));
        // What takes the place of something else is no growth.
        assert_eq!(apply(&mut entity, json!("merge"), json!({"a": "1", "e": 1})), Ok(()));
        assert_eq!(
            apply(&mut entity, json!({"add_child": "all"}), json!({"id": 1, "b": "short"})),
            Ok(())
        );
        assert_eq!(
            apply(&mut entity, json!({"add_child": "all"}), json!({"id": 2, "b": quarter})),
            Err(TooLarge)
        );
        let many: Map<String, Value> = (0..1_000).map(|n| (n.to_string(), json!("/b"))).collect();
        assert_eq!(
            apply(&mut entity, json!({"set": many}), json!({"b": quarter})),
            Err(TooLarge)
        );
        assert_eq!(apply(&mut entity, json!("create"), json!({"b": quarter})), Ok(()));
    }

    #[test]
    fn nothing_is_too_odd_to_fold() {
        let steps = [
            (json!("changes"), json!({"changes": 5})),
            (json!("changes"), json!({})),
            (json!("merge"), json!({"gst": "not a list"})),
            (json!({"add_child": "gst"}), json!({"no": "id"})),
            (json!({"update_child": "gst"}), json!({"no": "id either"})),
            (json!({"remove_child": "gst"}), json!({})),
        ];
        assert_eq!(state(&steps), json!({"gst": [{"no": "id"}, {"no": "id either"}]}));
    }
}
