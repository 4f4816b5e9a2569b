//! Compensation: computes the data of the event that undoes an event which should not have been posted. The event stays in the log, and its
//! inverse is appended after it.
//!
//! Invariant: a compensation never undoes what others recorded after the event. If the inverse would overwrite such a value,
//! there is no compensation, and the answer names the fields.

mod declared;

use serde_json::{Map, Value, json};

use super::effect::{Effect, Inverse};
use super::fold::{Entity, Fact, TooLarge};
use super::time::Timestamp;
use super::{json, json_pointer};

/// An event, its declared inverse, and the entity before the event and now.
#[derive(Debug, Clone, Copy)]
pub struct Correction<'a> {
    /// The event, upcast to the current version of its type.
    pub event: Fact<'a>,
    /// How events of its type are compensated.
    pub inverse: &'a Inverse,
    /// What the inverse's type does to the state.
    pub inverse_effect: &'a Effect,
    /// The entity before the event. `None`: the event began the stream.
    pub before: Option<&'a Entity>,
    /// The entity as it is now, with all later events.
    pub now: &'a Entity,
    /// The present time, which a deletion records as `deleted_at`.
    pub at: Timestamp,
}

/// Why an event is not compensated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no inverse. The text completes the sentence "the event cannot be compensated: …".
    NoInverse(&'static str),
    /// The event changed nothing that could be undone.
    NoEffect,
    /// What the event changed has been changed again since. Holds JSON pointers into the entity's state (children by their ids)
    /// and `/deleted`.
    ChangedSince(Vec<String>),
    /// The state or the data would be too large.
    TooLarge,
}

impl From<TooLarge> for Refused {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

const DELETED: &str = "/deleted";

impl Correction<'_> {
    /// The data of the inverse.
    ///
    /// # Errors
    /// [`Refused`]: why there is none.
    pub fn data(&self) -> Result<Map<String, Value>, Refused> {
        let before = match self.before {
            Some(entity) => entity.clone(),
            None => Entity::before(self.event.created_at),
        };
        let mut after = before.clone();
        after.try_apply(&self.event)?;
        let sides = Sides {
            before,
            after,
            now: self.now,
        };
        let data = match &self.inverse.data {
            Some(sources) => self.declared(&sides, sources),
            None => self.derived(&sides),
        }?;
        self.now.clone().try_apply(&self.inverse_with(&data))?;
        Ok(data)
    }

    fn inverse_with<'d>(&'d self, data: &'d Map<String, Value>) -> Fact<'d> {
        Fact {
            version: self.now.version.saturating_add(1),
            created_at: self.at,
            effect: self.inverse_effect,
            data,
        }
    }

    /// Data derived from the effects of the two types.
    fn derived(&self, sides: &Sides<'_>) -> Result<Map<String, Value>, Refused> {
        match (self.event.effect, self.inverse_effect) {
            (Effect::Delete, Effect::Create) => sides.restoration(),
            (Effect::Delete | Effect::None, Effect::Delete) => Err(Refused::NoInverse("it did not create the entity")),
            (_, Effect::Delete) => sides.deletion(self.at),
            (Effect::Changes | Effect::Merge | Effect::Set(_), Effect::Changes) => {
                let fields = sides.fields()?.into_iter();
                let changes = fields.map(|field| {
                    let change = json!({"old": sides.now.state.get(&field), "new": sides.before.state.get(&field)});
                    (field, change)
                });
                Ok(Map::from_iter([(
                    "changes".to_owned(),
                    Value::Object(changes.collect()),
                )]))
            }
            (Effect::Changes | Effect::Merge | Effect::Set(_), Effect::Merge) => {
                Ok(old_values(sides.fields()?, &sides.before.state).collect())
            }
            (Effect::AddChild(of) | Effect::UpdateChild(of), Effect::RemoveChild(from)) if of == from => {
                sides.removal(of, self.event.data)
            }
            (Effect::RemoveChild(of), Effect::AddChild(to)) if of == to => sides.readdition(of, self.event.data),
            (Effect::AddChild(of) | Effect::UpdateChild(of), Effect::UpdateChild(to)) if of == to => {
                sides.child_update(of, self.event.data)
            }
            _ => Err(Refused::NoInverse(
                "the data do not follow from the effects of the two event types, and the catalog declares none",
            )),
        }
    }
}

/// The entity before the event, after it, and now.
struct Sides<'a> {
    before: Entity,
    after: Entity,
    now: &'a Entity,
}

impl Sides<'_> {
    fn deleted_since(&self) -> bool {
        self.after.deleted_at.is_some() != self.now.deleted_at.is_some()
    }

    /// Fails if `changed` is not empty, or if the entity has been deleted or restored since the event.
    fn expect_unchanged(&self, mut changed: Vec<String>) -> Result<(), Refused> {
        if self.deleted_since() {
            changed.push(DELETED.to_owned());
        }
        refuse_if_changed(changed)
    }

    /// Data of the deletion of the entity that the event created.
    fn deletion(&self, at: Timestamp) -> Result<Map<String, Value>, Refused> {
        if self.before.version > 0 && self.before.deleted_at.is_none() {
            return Err(Refused::NoInverse("the entity existed before the event"));
        }
        self.expect_unchanged(differences(&self.after.state, &self.now.state))?;
        let name = self.now.state.get("name").filter(|name| name.is_string());
        let name = name.map(|name| ("name".to_owned(), name.clone()));
        Ok(name.into_iter().chain([("deleted_at".to_owned(), json!(at))]).collect())
    }

    /// Data that create the deleted entity again: its present state, including what has been recorded about it since the event. Of several
    /// deletions only the last can be compensated, because `deleted_at` refers to that one.
    fn restoration(&self) -> Result<Map<String, Value>, Refused> {
        if self.before.version == 0 {
            return Err(Refused::NoEffect);
        }
        if self.now.deleted_at != self.after.deleted_at {
            return Err(Refused::ChangedSince(vec![DELETED.to_owned()]));
        }
        Ok(without_nulls(&self.now.state))
    }

    /// The fields that the event changed. Fails if one of them has been changed since.
    fn fields(&self) -> Result<Vec<String>, Refused> {
        let (before, after) = (&self.before.state, &self.after.state);
        let fields = differing(before, after);
        if fields.is_empty() {
            return Err(Refused::NoEffect);
        }
        let changed = fields
            .iter()
            .filter(|field| differ(after.get(*field), self.now.state.get(*field)));
        self.expect_unchanged(changed.map(|field| json_pointer::join(&[field])).collect())?;
        Ok(fields)
    }

    /// Data of the removal of the child that the event added.
    fn removal(&self, collection: &str, data: &Map<String, Value>) -> Result<Map<String, Value>, Refused> {
        let id = id_of(data)?;
        if child(&self.before.state, collection, id).is_some() {
            return Err(Refused::NoInverse("the child existed before the event"));
        }
        let field = self.before.state.get(collection);
        if field.is_some_and(|value| !value.is_null() && !value.is_array()) {
            return Err(Refused::NoInverse("the field was not a list before the event"));
        }
        let place = json_pointer::join(&[collection, &name_of(id)]);
        let (added, present) = (
            child(&self.after.state, collection, id),
            child(&self.now.state, collection, id),
        );
        self.expect_unchanged(differ(added, present).then_some(place).into_iter().collect())?;
        Ok(Map::from_iter([("id".to_owned(), id.clone())]))
    }

    /// Data that add the child again that the event removed.
    fn readdition(&self, collection: &str, data: &Map<String, Value>) -> Result<Map<String, Value>, Refused> {
        let id = id_of(data)?;
        let removed = child(&self.before.state, collection, id).and_then(Value::as_object);
        let removed = removed.ok_or(Refused::NoEffect)?;
        let replaced = self
            .now
            .state
            .get(collection)
            .filter(|now| !now.is_array() && !now.is_null());
        let replaced = replaced.map(|_| json_pointer::join(&[collection]));
        let taken = child(&self.now.state, collection, id).map(|_| json_pointer::join(&[collection, &name_of(id)]));
        self.expect_unchanged(replaced.into_iter().chain(taken).collect())?;
        Ok(without_nulls(removed))
    }

    /// Data with the values that the child's fields had before the event.
    fn child_update(&self, collection: &str, data: &Map<String, Value>) -> Result<Map<String, Value>, Refused> {
        let id = id_of(data)?;
        let object = |state| child(state, collection, id).and_then(Value::as_object);
        let before = object(&self.before.state).ok_or(Refused::NoInverse("it added the child"))?;
        let after = object(&self.after.state).ok_or(Refused::NoEffect)?;
        let fields = differing(before, after);
        if fields.is_empty() {
            return Err(Refused::NoEffect);
        }
        let name = name_of(id);
        let changed = match object(&self.now.state) {
            None => vec![json_pointer::join(&[collection, &name])],
            Some(now) => {
                let changed = fields.iter().filter(|field| differ(after.get(*field), now.get(*field)));
                changed
                    .map(|field| json_pointer::join(&[collection, &name, field]))
                    .collect()
            }
        };
        self.expect_unchanged(changed)?;
        Ok(old_values(fields, before)
            .chain([("id".to_owned(), id.clone())])
            .collect())
    }
}

fn refuse_if_changed(places: Vec<String>) -> Result<(), Refused> {
    if places.is_empty() {
        Ok(())
    } else {
        Err(Refused::ChangedSince(places))
    }
}

/// Fields with their values from before; null if they had none.
fn old_values(fields: Vec<String>, before: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    fields.into_iter().map(|field| {
        let value = before.get(&field).cloned().unwrap_or(Value::Null);
        (field, value)
    })
}

/// The fields that are not null. Schemas of events that create an entity or a child often do not allow null.
fn without_nulls(fields: &Map<String, Value>) -> Map<String, Value> {
    let named = fields.iter().filter(|(_, value)| !value.is_null());
    named.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Absent equals null, because a field that was absent gets null back.
fn differ(a: Option<&Value>, b: Option<&Value>) -> bool {
    !json::same_or_absent(a, b)
}

/// Names of the fields that differ.
fn differing(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<String> {
    let fields = a.keys().chain(b.keys().filter(|field| !a.contains_key(*field)));
    fields
        .filter(|field| differ(a.get(*field), b.get(*field)))
        .cloned()
        .collect()
}

/// Pointers to the places where two states differ: fields, and for collections their children.
fn differences(a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<String> {
    let mut places = Vec::new();
    for field in differing(a, b) {
        match (
            a.get(&field).map_or(Some(Vec::new()), children),
            b.get(&field).map_or(Some(Vec::new()), children),
        ) {
            (Some(left), Some(right)) => {
                let missing = right
                    .iter()
                    .filter(|(name, _)| !left.iter().any(|(other, _)| other == name));
                for (name, _) in left.iter().chain(missing) {
                    let find = |side: &[(String, &Value)]| {
                        side.iter().find(|(other, _)| other == name).map(|(_, c)| (*c).clone())
                    };
                    if differ(find(&left).as_ref(), find(&right).as_ref()) {
                        places.push(json_pointer::join(&[&field, name]));
                    }
                }
            }
            _ => places.push(json_pointer::join(&[&field])),
        }
    }
    places
}

/// The value at a place that [`differences`] names.
fn value_at<'a>(state: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    let mut parts = place.split('/').skip(1).map(json_pointer::unescape);
    let field = state.get(&parts.next()?)?;
    match parts.next() {
        None => Some(field),
        Some(name) => children(field)?
            .into_iter()
            .find(|(of, _)| *of == name)
            .map(|(_, child)| child),
    }
}

/// The children of a collection by their ids. `None` if the value is not a collection of objects with ids.
fn children(value: &Value) -> Option<Vec<(String, &Value)>> {
    let named = |child| Some((name_of(Value::as_object(child)?.get("id")?), child));
    value.as_array()?.iter().map(named).collect()
}

fn child<'a>(state: &'a Map<String, Value>, collection: &str, id: &Value) -> Option<&'a Value> {
    let children = state.get(collection)?.as_array()?;
    children.iter().find(|child| child.get("id") == Some(id))
}

fn id_of(data: &Map<String, Value>) -> Result<&Value, Refused> {
    data.get("id")
        .ok_or(Refused::NoInverse("its data have no id of a child"))
}

fn name_of(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
