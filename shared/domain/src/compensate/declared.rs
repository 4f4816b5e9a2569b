//! Inverses whose data the catalog declares: `{"new_price": "/old_price"}`.
//!
//! Invariant: the old values come from the state before the event, never from what the event's poster said was old.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::effect::{Effect, FieldSource};
use super::super::json_pointer::{self, split_first};
use super::super::weight::MAX_DATA_BYTES;
use super::{Correction, DELETED, Refused, Sides, child, differ, differences, name_of, refuse_if_changed, value_at};

/// A place in the state to which an event writes a value.
#[derive(Debug, Clone, PartialEq)]
enum StateField<'a> {
    /// A field of the entity.
    Field(String),
    /// Collection, id of the child, and field of the child.
    OfChild(&'a str, Value, String),
}

impl StateField<'_> {
    /// The place as [`differences`] names it: for a field of a child, the whole child.
    fn name(&self) -> String {
        match self {
            Self::Field(field) => json_pointer::join(&[field]),
            Self::OfChild(collection, id, _) => json_pointer::join(&[collection, &name_of(id)]),
        }
    }

    fn of<'s>(&self, state: &'s Map<String, Value>) -> Option<&'s Value> {
        match self {
            Self::Field(field) => state.get(field),
            Self::OfChild(collection, id, field) => child(state, collection, id)?.get(field),
        }
    }
}

impl Correction<'_> {
    /// The data of the inverse, taken from the event's data as the catalog declares. If a field must get back its value from
    /// before the event, that value is taken from the state: the event's poster may have sent a wrong old value, or none. The
    /// result is tried on the state.
    pub(super) fn declared(
        &self,
        sides: &Sides<'_>,
        sources: &BTreeMap<String, FieldSource>,
    ) -> Result<Map<String, Value>, Refused> {
        // Many fields may take the same value, so the sum can be large although the event is small.
        let bytes: usize = sources.values().map(|source| source.text_bytes(self.event.data)).sum();
        if bytes > MAX_DATA_BYTES {
            return Err(Refused::TooLarge);
        }
        let mut data: Map<String, Value> = sources
            .iter()
            .filter_map(|(member, source)| Some((member.clone(), source.value(self.event.data)?)))
            .collect();
        let restored = self.restore(sides, sources, &mut data);
        let mut result = self.now.clone();
        result.try_apply(&self.inverse_with(&data))?;
        let touched = differences(&sides.before.state, &sides.after.state);
        let deleted = sides.before.deleted_at != sides.after.deleted_at;
        if touched.is_empty() && !deleted && *self.event.effect != Effect::None {
            return Err(Refused::NoEffect);
        }
        let written = differences(&self.now.state, &result.state);
        let mut lost = differences(&sides.after.state, &self.now.state);
        let constant = self.constants(sources, &data);
        // An inverse that leaves the state unchanged overwrites nothing. Neither does a constant that the state already has.
        let matters =
            |place: &String| written.contains(place) || (touched.contains(place) && !constant.contains(place));
        lost.retain(|place| !written.is_empty() && matters(place));
        let deletes = result.deleted_at.is_some() != self.now.deleted_at.is_some();
        if sides.deleted_since() && (deletes || !written.is_empty()) {
            lost.push(DELETED.to_owned());
        }
        refuse_if_changed(lost)?;
        let mut differing = restored
            .iter()
            .any(|place| differ(place.of(&result.state), place.of(&sides.before.state)));
        if !written.is_empty() {
            let mut touched = touched.iter().filter(|place| !constant.contains(place));
            differing |= touched.any(|place| {
                let sides = (value_at(&sides.before.state, place), value_at(&result.state, place));
                is_lost(place, sides.0, sides.1)
            });
        }
        match differing {
            true => Err(Refused::NoInverse(
                "the data that the inverse declares cannot restore the state before the event",
            )),
            false => Ok(data),
        }
    }

    /// The places to which the inverse writes a constant. A constant, such as the status `cancelled`, is not meant to restore the old
    /// value, so these places need not be as they were before the event.
    fn constants(&self, sources: &BTreeMap<String, FieldSource>, data: &Map<String, Value>) -> Vec<String> {
        let written = writes(self.inverse_effect, sources.keys(), data).into_iter();
        let is_constant = |from: &str| match split_first(from) {
            None => true,
            Some((member, _)) => matches!(sources.get(&member), Some(FieldSource::Constant { .. })),
        };
        written
            .filter(|(_, from)| is_constant(from))
            .map(|(place, _)| place.name())
            .collect()
    }

    /// Corrects members of the data that the inverse writes to fields which the event wrote: such a member gets the value that the field
    /// had before the event, whatever the event's data say. Returns the places that must be restored.
    ///
    /// The members are the declared ones, because data lack members whose source the event left out. A constant stays. If the field had no
    /// value before the event, a member also stays if its declared source is what the event wrote to the field. A value deeper within a
    /// member cannot be corrected here; it is only compared afterwards.
    fn restore<'a>(
        &'a self,
        sides: &Sides<'_>,
        sources: &BTreeMap<String, FieldSource>,
        data: &mut Map<String, Value>,
    ) -> Vec<StateField<'a>> {
        let mut restored = Vec::new();
        let event_writes = writes(self.event.effect, self.event.data.keys(), self.event.data);
        for (place, from) in writes(self.inverse_effect, sources.keys(), data) {
            let Some((member, below)) = split_first(&from) else {
                continue;
            };
            let Some(FieldSource::Pointer(declared)) = sources.get(&member) else {
                continue;
            };
            let source = format!("{declared}{below}");
            let mut event_sources = event_writes.iter().filter(|(written, _)| *written == place).peekable();
            let Some(before) = event_sources.peek().map(|_| place.of(&sides.before.state)) else {
                continue;
            };
            if before.is_none_or(Value::is_null) && event_sources.any(|(_, from)| *from == source) {
                continue;
            }
            if below.is_empty() {
                data.insert(member, before.cloned().unwrap_or(Value::Null));
            }
            restored.push(place);
        }
        restored
    }
}

/// Whether a value from before the event differs in the result. A child is compared field by field, so a field that the event
/// added to it may stay.
fn is_lost(place: &str, before: Option<&Value>, result: Option<&Value>) -> bool {
    match (before, result) {
        (None | Some(Value::Null), _) => false,
        (Some(Value::Object(before)), Some(Value::Object(result))) if place.matches('/').count() == 2 => before
            .iter()
            .any(|(field, value)| !value.is_null() && differ(Some(value), result.get(field))),
        _ => differ(before, result),
    }
}

/// The places that an effect writes, each with the pointer into data that its value comes from. The pointer is empty for a
/// constant. `members` are the members that the data have or will have.
fn writes<'a, 'm>(
    effect: &'a Effect,
    members: impl Iterator<Item = &'m String>,
    data: &Map<String, Value>,
) -> Vec<(StateField<'a>, String)> {
    let members = members.map(|member| (member.clone(), json_pointer::join(&[member])));
    match effect {
        Effect::Create | Effect::Merge => members
            .map(|(member, from)| (StateField::Field(member), from))
            .collect(),
        Effect::Set(fields) => {
            let from = |source: &FieldSource| match source {
                FieldSource::Pointer(pointer) => pointer.clone(),
                FieldSource::Constant { .. } => String::new(),
            };
            let places = fields
                .iter()
                .map(|(field, source)| (StateField::Field(field.clone()), from(source)));
            places.collect()
        }
        Effect::Changes => {
            let changes = data.get("changes").and_then(Value::as_object).into_iter().flatten();
            let places = changes.map(|(field, _)| {
                (
                    StateField::Field(field.clone()),
                    json_pointer::join(&["changes", field, "new"]),
                )
            });
            places.collect()
        }
        Effect::AddChild(collection) | Effect::UpdateChild(collection) => {
            let Some(id) = data.get("id").cloned() else {
                return Vec::new();
            };
            let fields = members.filter(|(member, _)| member != "id");
            let of_child = |(member, from)| (StateField::OfChild(collection, id.clone(), member), from);
            fields.map(of_child).collect()
        }
        Effect::Delete | Effect::RemoveChild(_) | Effect::None => Vec::new(),
    }
}
