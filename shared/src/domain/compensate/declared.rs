//! Inverses whose data the catalog declares: `{"new_price": "/old_price"}`.
//!
//! Invariant: an inverse is worked out from the state before the event, never from what the event's poster said was old.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::effect::{Effect, FieldSource};
use super::super::event::MAX_DATA_BYTES;
use super::{Correction, DELETED, Refused, Sides, child, differ, differences, name_of, none_lost, pointer, value_at};

/// A place in state that an event gives a value to.
#[derive(Debug, Clone, PartialEq)]
enum Place<'a> {
    /// A field of the entity.
    Field(String),
    /// A field of a collection's child with this id.
    OfChild(&'a str, Value, String),
}

impl Place<'_> {
    /// As [`differences`] names it: a child as a whole.
    fn name(&self) -> String {
        match self {
            Self::Field(field) => pointer(&[field]),
            Self::OfChild(collection, id, _) => pointer(&[collection, &name_of(id)]),
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
    /// Data that the catalog says how to take from the event's. What a field of the state was before the event is taken from the
    /// state, never from the event: its poster may have said anything, or nothing. What the inverse does is tried out.
    pub(super) fn declared(
        &self,
        sides: &Sides<'_>,
        sources: &BTreeMap<String, FieldSource>,
    ) -> Result<Map<String, Value>, Refused> {
        // Many fields may take the same value.
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
        // An inverse that leaves the state alone overwrites nothing, and neither does a constant that is there already.
        let matters =
            |place: &String| written.contains(place) || (touched.contains(place) && !constant.contains(place));
        lost.retain(|place| !written.is_empty() && matters(place));
        let deletes = result.deleted_at.is_some() != self.now.deleted_at.is_some();
        if sides.deleted_since() && (deletes || !written.is_empty()) {
            lost.push(DELETED.to_owned());
        }
        none_lost(lost)?;
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
                "the declared data cannot say what the state was before",
            )),
            false => Ok(data),
        }
    }

    /// The places that the inverse gives a constant: a status such as `cancelled` is not meant to be what it was before.
    fn constants(&self, sources: &BTreeMap<String, FieldSource>, data: &Map<String, Value>) -> Vec<String> {
        let written = writes(self.inverse_effect, sources.keys(), data).into_iter();
        let is_constant = |from: &str| match split(from) {
            None => true,
            Some((member, _)) => matches!(sources.get(&member), Some(FieldSource::Constant { .. })),
        };
        written
            .filter(|(_, from)| is_constant(from))
            .map(|(place, _)| place.name())
            .collect()
    }

    /// Puts what the state was before into those members of the data that the inverse writes to a field which the event has written
    /// from elsewhere; returns the places that have to be restored. The inverse's members are the declared ones: the data lack those
    /// whose source the event left out. A constant stays as it is, and so does a member whose declared source is what the event itself
    /// wrote to a field that had no value before. A value deeper within a member cannot be corrected here; it is only compared afterwards.
    fn restore<'a>(
        &'a self,
        sides: &Sides<'_>,
        sources: &BTreeMap<String, FieldSource>,
        data: &mut Map<String, Value>,
    ) -> Vec<Place<'a>> {
        let mut restored = Vec::new();
        let event_writes = writes(self.event.effect, self.event.data.keys(), self.event.data);
        for (place, from) in writes(self.inverse_effect, sources.keys(), data) {
            let Some((member, below)) = split(&from) else { continue };
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

/// Whether a value that there was before is another one in the result. Of a child each field is looked at: what the event added to it
/// stays.
fn is_lost(place: &str, before: Option<&Value>, result: Option<&Value>) -> bool {
    match (before, result) {
        (None | Some(Value::Null), _) => false,
        (Some(Value::Object(before)), Some(Value::Object(result))) if place.matches('/').count() == 2 => before
            .iter()
            .any(|(field, value)| !value.is_null() && differ(Some(value), result.get(field))),
        _ => differ(before, result),
    }
}

/// A pointer's first member, and what lies below it; none for the empty pointer.
fn split(pointer: &str) -> Option<(String, &str)> {
    let path = pointer.strip_prefix('/')?;
    let (first, below) = path.find('/').map_or((path, ""), |slash| path.split_at(slash));
    Some((first.replace("~1", "/").replace("~0", "~"), below))
}

/// The places that an effect writes, each with the pointer into data that it takes the value from; empty for a constant. `members` are
/// the members that data have or are going to have.
fn writes<'a, 'm>(
    effect: &'a Effect,
    members: impl Iterator<Item = &'m String>,
    data: &Map<String, Value>,
) -> Vec<(Place<'a>, String)> {
    let members = members.map(|member| (member.clone(), pointer(&[member])));
    match effect {
        Effect::Create | Effect::Merge => members.map(|(member, from)| (Place::Field(member), from)).collect(),
        Effect::Set(fields) => {
            let from = |source: &FieldSource| match source {
                FieldSource::Pointer(pointer) => pointer.clone(),
                FieldSource::Constant { .. } => String::new(),
            };
            let places = fields
                .iter()
                .map(|(field, source)| (Place::Field(field.clone()), from(source)));
            places.collect()
        }
        Effect::Changes => {
            let changes = data.get("changes").and_then(Value::as_object).into_iter().flatten();
            let places = changes.map(|(field, _)| (Place::Field(field.clone()), pointer(&["changes", field, "new"])));
            places.collect()
        }
        Effect::AddChild(collection) | Effect::UpdateChild(collection) => {
            let Some(id) = data.get("id").cloned() else {
                return Vec::new();
            };
            let fields = members.filter(|(member, _)| member != "id");
            let of_child = |(member, from)| (Place::OfChild(collection, id.clone(), member), from);
            fields.map(of_child).collect()
        }
        Effect::Delete | Effect::RemoveChild(_) | Effect::None => Vec::new(),
    }
}
