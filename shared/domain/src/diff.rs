//! Compares two states: which values differ, each with its old and new value.
//!
//! A value that is new, gone or not a container is reported as a whole, under the name of its field. If a field held an object or
//! a list before and after, its members are compared one by one, and each that differs is reported by its JSON pointer
//! (`/address/city`). Elements of a list that are objects with an `id` are identified by it (`/contacts/K-1/phone`), so an
//! element inserted at the front does not report all others as changed. Elements of any other list are identified by their index.
//! Absent equals null.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value};

use super::json::{MAX_DEPTH as MAX_JSON_DEPTH, same_or_absent as same};
use super::json_pointer;

/// Maximum number of levels of members that are compared. Deeper values are reported as a whole.
const MAX_DEPTH: usize = 16;
/// Maximum number of members that are reported for one field. If more differ, the field is reported as a whole.
const MAX_MEMBERS: usize = 500;
/// Maximum bytes of pointers in one diff, because each pointer repeats the names above its member. Further fields are reported as a whole.
const MAX_POINTER_BYTES: usize = 256 * 1024;

/// A value before and after. Null: there was, or is, none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The value in the first state.
    pub old: Value,
    /// The value in the second state.
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

/// Values that differ between two states. Keys are names of fields, or JSON pointers to values below a field.
pub type Changes = BTreeMap<String, Change>;

/// The values that differ between two states.
pub fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Changes {
    changes_in(names_of(before, after), before, after)
}

/// As [`changes`], if no other fields than these differ. `before` may lack all other fields.
pub(super) fn changes_of(fields: Vec<&String>, before: &Map<String, Value>, after: &Map<String, Value>) -> Changes {
    // In the order of `names_of`, because the pointers of earlier fields count against the limit of all.
    let (known, new): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| before.contains_key(*field));
    changes_in(known.into_iter().chain(new), before, after)
}

fn changes_in<'a>(
    fields: impl IntoIterator<Item = &'a String>,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Changes {
    let mut found = BTreeMap::new();
    let mut bytes_left = MAX_POINTER_BYTES;
    for field in fields {
        let (old, new) = (before.get(field), after.get(field));
        if same(old, new) {
            continue;
        }
        let mut members = Members::default();
        let pointer = format!("/{}", json_pointer::escape(field));
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

/// Names a value of a state: a field by its name, or a value below a field by JSON pointer, as [`changes`] names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// Reads a name (`price`) or a JSON pointer (`/address/city`). `None` for empty text, for a `~` without 0 or 1 after it, and for a
    /// pointer with more parts than JSON may have levels.
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

/// The members of one field that differ. `None`: there are too many.
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
    /// Collects what differs between two values at a pointer.
    fn compare(&mut self, at: &str, old: Option<&Value>, new: Option<&Value>, depth: usize) {
        if self.found.is_none() || same(old, new) {
            return;
        }
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) if depth < MAX_DEPTH => {
                for name in names_of(old, new) {
                    self.compare(
                        &format!("{at}/{}", json_pointer::escape(name)),
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

    /// Collects the elements that differ. Returns false if this does not show the whole change: elements in another order, and
    /// new or removed elements that are null, do not show.
    fn compare_elements(&mut self, at: &str, olds: &[Value], news: &[Value], depth: usize) -> bool {
        if let (Some(old), Some(new)) = (by_id(olds), by_id(news)) {
            if is_reordered(&old, &new) {
                return false;
            }
            let ids: BTreeSet<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
            for id in ids {
                let (old, new) = (old.get(id).map(|(_, item)| *item), new.get(id).map(|(_, item)| *item));
                self.compare(&format!("{at}/{}", json_pointer::escape(id)), old, new, depth + 1);
            }
            return true;
        }
        let shorter = olds.len().min(news.len());
        if olds[shorter..].iter().chain(&news[shorter..]).any(Value::is_null) {
            return false;
        }
        for index in 0..olds.len().max(news.len()) {
            self.compare(&format!("{at}/{index}"), olds.get(index), news.get(index), depth + 1);
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

/// Elements by their ids, with their indexes. `None` if an element has no id, or if two have the same.
fn by_id(items: &[Value]) -> Option<HashMap<String, (usize, &Value)>> {
    let mut found = HashMap::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let id = match item.as_object()?.get("id")? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        if found.insert(id, (index, item)).is_some() {
            return None;
        }
    }
    Some(found)
}

/// Whether the elements that both lists have are in a different order.
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

/// Key of a field in the diff: its name, or a pointer if the name begins with a slash.
fn field_key(field: &str) -> String {
    if field.starts_with('/') {
        format!("/{}", json_pointer::escape(field))
    } else {
        field.to_owned()
    }
}

fn unescaped(step: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.starts_with(['0', '1']);
    let valid = step.split('~').skip(1).all(is_escape);
    valid.then(|| json_pointer::unescape(step))
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
