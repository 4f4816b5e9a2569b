//! What was confirmed for another file with this header, where the file leaves it open.

use serde_json::{Value, json};

use super::columns::is_number;
use super::{MAX_SHOWN, Proposer, conditions};

/// Fields that no file decides.
const UNDECIDED: [&str; 3] = ["timezone", "rounding", "sheet"];

impl Proposer<'_> {
    /// Takes over the fields that no file decides.
    pub(super) fn recall_others(&mut self) {
        for field in UNDECIDED {
            if let Some(value) = self.remembered(field) {
                self.recall(field, value);
            }
        }
    }

    /// Takes over a filter, and asks about values that it does not name and that the file does not explain. Without a filter to take over, all values
    /// that are not known are asked about.
    pub(super) fn recall_filter(&mut self) {
        if let Some(before) = self.remembered("filter") {
            self.out
                .note("filter", "filter was confirmed for a file with this header");
            let own = std::mem::take(&mut self.filter);
            self.filter = conditions(&before);
            for condition in self.filter.clone() {
                self.compare(&condition, &own);
            }
            let is_named = |own: &Value| self.filter.iter().any(|before| before["column"] == own["column"]);
            let new: Vec<Value> = own.into_iter().filter(|own| !is_named(own)).collect();
            for condition in new {
                let message = format!(
                    "{} may tell which rows count, and is not in the filter that was confirmed for a file with this header",
                    condition["column"]
                );
                self.out.doubt("filter", message, vec![condition.clone()]);
                self.filter.push(condition);
            }
        }
        let unknown = std::mem::take(&mut self.unknown).into_iter();
        for (place, unknown) in unknown.filter(|(_, unknown)| !unknown.is_empty()) {
            let shown: Vec<&String> = unknown.iter().take(MAX_SHOWN).collect();
            let message = format!(
                "it is not known whether rows with {shown:?} in {} count",
                self.name(place)
            );
            self.out.doubt("filter", message, Vec::new());
        }
    }

    /// Whether a condition takes all rows with a day, or with an amount that is not zero, in the column of days or of amounts.
    fn leaves_out_no_rows(&self, place: usize, condition: &Value) -> bool {
        let Some(profile) = self.profile(place).filter(|_| condition["not_in"].is_array()) else {
            return false;
        };
        let is_zero = |text: &String| !text.contains(|c: char| c.is_alphanumeric() && c != '0');
        !profile.formats().is_empty() || (is_number(profile) && texts(condition).0.iter().all(is_zero))
    }

    /// Compares a condition that was confirmed with the file and with the file's own condition for its column.
    fn compare(&mut self, before: &Value, own: &[Value]) {
        let place = before["column"].as_str().and_then(|name| self.place_named(name));
        let Some(place) = place.filter(|_| before["sign"].is_null()) else {
            return;
        };
        let own = own.iter().find(|own| own["column"] == before["column"]);
        let judged = self.unknown.iter().find(|(of, _)| *of == place).cloned();
        let is_judged = judged.is_some() || own.is_some();
        let unknown = judged.map(|(_, unknown)| unknown).unwrap_or_default();
        self.unknown.retain(|(of, _)| *of != place);
        if (own == Some(before) && unknown.is_empty()) || self.leaves_out_no_rows(place, before) {
            return;
        }
        let Some(words) = self.words(place) else {
            let message = format!("{} has too many different values to compare", self.name(place));
            return self.out.doubt("filter", message, Vec::new());
        };
        let is_explained = |word: &&String| {
            let is_known = is_judged && !unknown.contains(word);
            // Without a condition of its own, the file takes what is known.
            let is_taken = || own.is_none_or(|own| takes(own, word));
            names(before, word) || (is_known && is_taken() == takes(before, word))
        };
        let new: Vec<&String> = words
            .iter()
            .filter(|word| !is_explained(word))
            .take(MAX_SHOWN)
            .collect();
        if !new.is_empty() {
            let message = format!(
                "it is not known whether rows with {new:?} in {} count: the filter that was confirmed for a file with this header does not name them",
                self.name(place)
            );
            self.out.doubt("filter", message, vec![json!(before)]);
        }
    }
}

/// The texts of a condition in lower case, and whether they are those that are taken.
fn texts(condition: &Value) -> (Vec<String>, bool) {
    let list = |name: &str| {
        let texts = condition[name].as_array()?.iter().filter_map(Value::as_str);
        Some(texts.map(|text| text.trim().to_lowercase()).collect())
    };
    match list("in") {
        Some(taken) => (taken, true),
        None => (list("not_in").unwrap_or_default(), false),
    }
}

fn names(condition: &Value, word: &String) -> bool {
    texts(condition).0.contains(word)
}

fn takes(condition: &Value, word: &String) -> bool {
    names(condition, word) == texts(condition).1
}
