//! What became of a state: which of its values differ, each with what it was and what it is.
//!
//! A value that appears, disappears or is no container is told whole, by the name of its field. Where an object or a list was
//! there before and after, its members are compared one by one, and each that differs is told by its JSON pointer
//! (`/address/city`). Elements of a list that are objects with an `id` are known by it (`/contacts/K-1/phone`), so that an
//! element that is put in front does not tell all others as changed; elements of any other list are known by their place.
//! Absent and null are the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value};

use super::json::{MAX_DEPTH as MAX_JSON_DEPTH, same_or_absent as same};

/// Levels that members are looked for at; what lies deeper is told whole.
const MAX_DEPTH: usize = 16;
/// Most members that one field is told by; where more differ, the field is told whole.
const MAX_MEMBERS: usize = 500;
/// Most bytes of pointers in one diff: each repeats the names above its member. Fields after that are told whole.
const MAX_POINTER_BYTES: usize = 256 * 1024;

/// A value before and after; null: there was, or is, none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it was.
    pub old: Value,
    /// What it is.
    pub new: Value,
}

impl Change {
    fn between(old: Option<&Value>, new: Option<&Value>) -> Self {
        Self {
            old: old.cloned().unwrap_or(Value::Null),
            new: new.cloned().unwrap_or(Value::Null),
        }
    }
}

/// The values that differ between two states: by the field's name, or below it by JSON pointer.
pub fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> BTreeMap<String, Change> {
    let mut found = BTreeMap::new();
    let mut bytes_left = MAX_POINTER_BYTES;
    for field in names_of(before, after) {
        let (old, new) = (before.get(field), after.get(field));
        if same(old, new) {
            continue;
        }
        let mut members = Members::default();
        let pointer = format!("/{}", escaped(field));
        members.compare(&pointer, old, new, 1);
        match members.found {
            Some(list) if list.iter().all(|(at, _)| *at != pointer) && members.pointer_bytes <= bytes_left => {
                bytes_left -= members.pointer_bytes;
                found.extend(list);
            }
            _ => {
                found.insert(field_key(field), Change::between(old, new));
            }
        }
    }
    found
}

/// Which value of a state somebody asks about: a field by its name, or a value below one by JSON pointer, as [`changes`] names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// Reads a name (`price`) or a JSON pointer (`/address/city`). None for anything else: no text, or `~` without 0 or 1 after it.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(pointer) = text.strip_prefix('/') else {
            return (!text.is_empty()).then(|| Self(vec![text.to_owned()]));
        };
        let steps: Vec<String> = pointer.split('/').map(unescaped).collect::<Option<_>>()?;
        (steps.len() <= MAX_JSON_DEPTH).then_some(Self(steps))
    }

    /// Whether the value, or anything in it, differs between two states.
    pub fn differs(&self, before: &Map<String, Value>, after: &Map<String, Value>) -> bool {
        !same(self.value_in(before), self.value_in(after))
    }

    fn value_in<'a>(&self, state: &'a Map<String, Value>) -> Option<&'a Value> {
        let (field, below) = self.0.split_first()?;
        below.iter().try_fold(state.get(field)?, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::Array(items) => match by_id(items) {
                Some(items) => items.get(step).map(|(_, item)| *item),
                None => items.get(step.parse::<usize>().ok()?),
            },
            _ => None,
        })
    }
}

/// The members of one field that differ; none: they are too many.
struct Members {
    found: Option<Vec<(String, Change)>>,
    pointer_bytes: usize,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            found: Some(Vec::new()),
            pointer_bytes: 0,
        }
    }
}

impl Members {
    /// Notes what differs between two values at a place.
    fn compare(&mut self, at: &str, old: Option<&Value>, new: Option<&Value>, depth: usize) {
        if self.found.is_none() || same(old, new) {
            return;
        }
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) if depth < MAX_DEPTH => {
                for name in names_of(old, new) {
                    self.compare(
                        &format!("{at}/{}", escaped(name)),
                        old.get(name),
                        new.get(name),
                        depth + 1,
                    );
                }
            }
            (Some(Value::Array(olds)), Some(Value::Array(news))) if depth < MAX_DEPTH => {
                if !self.compare_elements(at, olds, news, depth) {
                    self.note(at, old, new);
                }
            }
            _ => self.note(at, old, new),
        }
    }

    /// Notes the elements that differ. Whether that tells all: elements in another order, or of nothing but null, do not show.
    fn compare_elements(&mut self, at: &str, olds: &[Value], news: &[Value], depth: usize) -> bool {
        if let (Some(old), Some(new)) = (by_id(olds), by_id(news)) {
            if is_reordered(&old, &new) {
                return false;
            }
            let ids: BTreeSet<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
            for id in ids {
                let (old, new) = (old.get(id).map(|(_, item)| *item), new.get(id).map(|(_, item)| *item));
                self.compare(&format!("{at}/{}", escaped(id)), old, new, depth + 1);
            }
            return true;
        }
        let shorter = olds.len().min(news.len());
        if olds[shorter..].iter().chain(&news[shorter..]).any(Value::is_null) {
            return false;
        }
        for place in 0..olds.len().max(news.len()) {
            self.compare(&format!("{at}/{place}"), olds.get(place), news.get(place), depth + 1);
        }
        true
    }

    fn note(&mut self, at: &str, old: Option<&Value>, new: Option<&Value>) {
        let Some(found) = &mut self.found else { return };
        self.pointer_bytes += at.len();
        if found.len() == MAX_MEMBERS || self.pointer_bytes > MAX_POINTER_BYTES {
            self.found = None;
            return;
        }
        found.push((at.to_owned(), Change::between(old, new)));
    }
}

/// Elements by their ids, with their places; none where one has no id, or two have the same.
fn by_id(items: &[Value]) -> Option<HashMap<String, (usize, &Value)>> {
    let mut found = HashMap::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let id = match item.as_object()?.get("id")? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        if found.insert(id, (place, item)).is_some() {
            return None;
        }
    }
    Some(found)
}

/// Whether elements that both lists have follow each other differently.
fn is_reordered(old: &HashMap<String, (usize, &Value)>, new: &HashMap<String, (usize, &Value)>) -> bool {
    let mut places: Vec<(usize, usize)> = old
        .iter()
        .filter_map(|(id, (before, _))| new.get(id).map(|(after, _)| (*before, *after)))
        .collect();
    places.sort_unstable();
    !places.is_sorted_by_key(|(_, after)| *after)
}

fn names_of<'a>(a: &'a Map<String, Value>, b: &'a Map<String, Value>) -> Vec<&'a String> {
    a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))).collect()
}

/// A field's own name; as a pointer where the name looks like one.
fn field_key(field: &str) -> String {
    if field.starts_with('/') {
        format!("/{}", escaped(field))
    } else {
        field.to_owned()
    }
}

/// One step of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescaped(step: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.starts_with(['0', '1']);
    let valid = step.split('~').skip(1).all(is_escape);
    valid.then(|| step.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
