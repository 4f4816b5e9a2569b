//! The fold: the pure function that computes an entity's state from its stream's events.
//!
//! Architecture invariant: the projector, reads of present state, time travel, snapshots and rebuild all fold by
//! [`Catalog::fold`](super::Catalog::fold) and nothing else, so their results cannot differ. (`Catalog::fold_noting` is the same function,
//! which also says what changed.) It upcasts an event and then calls
//! [`Entity::try_apply`]. `try_apply` accepts every event, unless the state would be larger than [`MAX_STATE_BYTES`]. `Catalog::fold` also
//! refuses an event that it cannot upcast or whose type the catalog does not have ([`FoldError`](super::FoldError)). An event that cannot
//! be folded parks its stream, as does an event whose state a table refuses.

use serde_json::{Map, Value};

use super::diff::{Changes, changes, changes_of};
use super::effect::Effect;
use super::time::Timestamp;
use super::weight::text_bytes;

/// Maximum bytes of a state as JSON text. A function that reads or writes an entity holds its state in memory. Without a limit, one large
/// state would crash every function that reads it.
pub const MAX_STATE_BYTES: usize = 1024 * 1024;

/// An event would make a state larger than [`MAX_STATE_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// An upper bound of a state's size in bytes. It is carried from event to event, so that a large state is not measured for each
/// event.
#[derive(Debug, Clone, Copy, Default)]
pub struct SizeBound(Option<usize>);

/// The bound is a cache and not part of the entity, so entities are equal whatever it holds.
impl PartialEq for SizeBound {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An aggregate after its events have been folded.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Version of the last event folded in; 0 before the first.
    pub version: i32,
    /// Recorded time of the first event.
    pub created_at: Timestamp,
    /// Recorded time of the last event.
    pub updated_at: Timestamp,
    /// Recorded time of the event that deleted it. `None`: it is not deleted.
    pub deleted_at: Option<Timestamp>,
    /// The state: a JSON object.
    pub state: Map<String, Value>,
    /// Upper bound of the state's size. It is unknown until the first event is folded.
    pub size: SizeBound,
}

/// What the fold needs to know of an event.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    /// Version in the stream.
    pub version: i32,
    /// Recorded time.
    pub created_at: Timestamp,
    /// What the catalog says that events of this type do to the state.
    pub effect: &'a Effect,
    /// Data in the current version of the type's schema.
    pub data: &'a Map<String, Value>,
}

impl Entity {
    /// The entity before its first event, which was recorded at `created_at`.
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

    /// Folds the next event in, unless this makes the state larger than [`MAX_STATE_BYTES`]. The state is measured only when the
    /// upper bound exceeds the limit. For a state of nearly that size, this happens at every event.
    ///
    /// # Errors
    /// [`TooLarge`]. The entity is then unchanged.
    pub fn try_apply(&mut self, fact: &Fact<'_>) -> Result<(), TooLarge> {
        let growth = fact.effect.growth(fact.data);
        // Several fields of `set` may point to one value, and each gets its own copy, so the growth can be many times the size of the data.
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

    /// Folds the next event in, as [`Self::try_apply`] does, and returns what [`changes`] finds between the states before and after. Only
    /// the fields that the event may change are kept from before and compared: most events change a few fields of a large state.
    ///
    /// # Errors
    /// [`TooLarge`]. The entity is then unchanged.
    pub fn try_apply_noting(&mut self, fact: &Fact<'_>) -> Result<Changes, TooLarge> {
        let Some(fields) = fact.effect.fields(&self.state, fact.data) else {
            let before = self.state.clone();
            self.try_apply(fact)?;
            return Ok(changes(&before, &self.state));
        };
        let kept = fields.iter().filter_map(|field| self.state.get_key_value(*field));
        let before: Map<String, Value> = kept.map(|(field, value)| (field.clone(), value.clone())).collect();
        self.try_apply(fact)?;
        Ok(changes_of(fields, &before, &self.state))
    }

    /// Folds the next event in, without checking the size.
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

    /// Skips an event that staff excluded from the state: only the version changes.
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
            // `removed` removes the field only if `new` is null or absent. A schema that requires a value in `new` therefore allows no
            // removal, even if it does not know `removed`.
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
    match index_of(children, data) {
        Some(index) => children[index] = Value::Object(data.clone()),
        None => children.push(Value::Object(data.clone())),
    }
}

fn update_child(state: &mut Map<String, Value>, collection: &str, data: &Map<String, Value>) {
    let children = children_mut(state, collection);
    match index_of(children, data).and_then(|index| children[index].as_object_mut()) {
        Some(child) => child.extend(data.clone()),
        None => children.push(Value::Object(data.clone())),
    }
}

fn remove_child(state: &mut Map<String, Value>, collection: &str, data: &Map<String, Value>) {
    let children = children_mut(state, collection);
    if let Some(index) = index_of(children, data) {
        children.remove(index);
    }
}

/// The children of the collection. A value that is not an array is replaced by an empty one, so that every event can be folded.
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

fn index_of(children: &[Value], data: &Map<String, Value>) -> Option<usize> {
    let id = data.get("id")?;
    children.iter().position(|child| child.get("id") == Some(id))
}

#[cfg(test)]
mod noting_tests;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fold(steps: &[(Value, Value)]) -> Entity {
        let mut entity = Entity::before(Timestamp::now());
        for (index, (effect, data)) in steps.iter().enumerate() {
            let effect = Effect::from_json(&effect.to_string()).expect("a valid effect");
            let data = data.as_object().expect("data is an object");
            let version = i32::try_from(index).expect("few steps") + 1;
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
    fn create_replaces_merge_adds_and_changes_set_the_new_values() {
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
    fn a_change_to_null_sets_null_and_removed_removes_the_field() {
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
    fn delete_keeps_the_state_and_create_restores_the_entity() {
        let deleted = fold(&[(json!("create"), json!({"a": 1})), (json!("delete"), json!({}))]);
        assert!(deleted.deleted_at.is_some());
        assert_eq!(Value::Object(deleted.state), json!({"a": 1}));
        let again = fold(&[(json!("delete"), json!({})), (json!("create"), json!({"a": 2}))]);
        assert!(again.deleted_at.is_none());
    }

    #[test]
    fn children_are_identified_by_their_id() {
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
    fn set_follows_pointers_and_ignores_those_that_find_nothing() {
        let effect = json!({"set": {"base_price": "/new_price", "deep": "/a/0/b~1c", "gone": "/nowhere", "status": {"const": "on"}}});
        let data = json!({"new_price": 5, "a": [{"b/c": true}]});
        assert_eq!(
            state(&[(effect, data)]),
            json!({"base_price": 5, "deep": true, "status": "on"})
        );
    }

    #[test]
    fn a_state_grows_to_its_limit_and_an_event_that_exceeds_it_changes_nothing() {
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
        // Replacing a value does not count as growth.
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
    fn odd_data_can_be_folded() {
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
