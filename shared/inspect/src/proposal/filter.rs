//! Which rows count, by the values of a column.

use annals_csv::is_negative_sign;
use serde_json::json;

use super::Proposer;
use crate::check::Check;
use crate::exports::{self, Export};
use crate::lookup::means;
use crate::names::{Role, Word};

impl Proposer<'_> {
    pub(super) fn filter_rows(&mut self) {
        self.watch_export();
        if self.is_declared("filter") {
            return;
        }
        match self.export {
            Some(export) => self.filter_by_export(export),
            None => {
                self.filter_by_status();
                self.filter_by_kind();
            }
        }
    }

    /// Lets rows be watched that the export is known to have, and that only the caller can decide about.
    fn watch_export(&mut self) {
        for check in self.export.map_or(&[][..], |export| export.checks) {
            let check = match check {
                exports::Check::Repeats(names) => {
                    let places = names.iter().filter_map(|name| self.place_called(name));
                    Some(Check::RepeatsOfExport(places.collect()))
                }
                exports::Check::Negative(name, words) => {
                    self.place_called(name).map(|place| Check::Negative(place, words))
                }
                exports::Check::Subtracted(name) => self.place_called(name).map(Check::Subtracted),
            };
            self.checks.extend(check);
        }
    }

    fn filter_by_export(&mut self, export: &'static Export) {
        let mut done = Vec::new();
        for (name, ..) in export.filter {
            if done.contains(name) {
                continue;
            }
            done.push(name);
            let Some(place) = self.place_called(name) else { continue };
            let list = |is_taken| {
                export
                    .filter
                    .iter()
                    .find(|(of, taken, _)| of == name && *taken == is_taken)
                    .map(|(.., values)| *values)
            };
            let (taken, left) = (list(true), list(false));
            let Some(words) = self.words(place) else {
                self.out.doubt(
                    "filter",
                    format!("{} has too many different values", self.name(place)),
                    Vec::new(),
                );
                continue;
            };
            let is_known = |word: &String| match (taken, left) {
                (Some(taken), Some(left)) => taken.contains(&word.as_str()) || left.contains(&word.as_str()),
                _ => true,
            };
            let unknown: Vec<&String> = words.iter().filter(|word| !is_known(word)).collect();
            self.doubt_values(place, &unknown);
            let (test, values) = match (taken, left) {
                (Some(taken), _) => ("in", taken),
                (None, left) => ("not_in", left.unwrap_or_default()),
            };
            self.used.insert(place);
            self.filter.push(json!({"column": self.name(place), test: values}));
            self.out.note(
                "filter",
                format!("rows of {} count by {}", export.name, self.name(place)),
            );
        }
    }

    /// Leaves out what is pending or was voided, by each column of statuses.
    fn filter_by_status(&mut self) {
        let headers = self.table.headers.iter().enumerate();
        let named = headers.filter(|(place, header)| !self.used.contains(place) && header.is(Role::Status));
        let places: Vec<usize> = named.map(|(place, _)| place).collect();
        for place in places {
            self.filter_by_status_in(place);
        }
        self.doubt_other_statuses();
    }

    fn filter_by_status_in(&mut self, place: usize) {
        let Some(words) = self.words(place) else { return };
        let of = |kinds: &[Word]| -> Vec<String> {
            words
                .iter()
                .filter(|word| kinds.iter().any(|kind| means(word, *kind)))
                .cloned()
                .collect()
        };
        let (out, counted) = (of(&[Word::Pending, Word::Voided]), of(&[Word::Completed]));
        // Customers have statuses that say nothing of whether they are any.
        if out.is_empty() && (counted.len() == words.len() || !self.table.dataset.has_money()) {
            return;
        }
        let unknown: Vec<&String> = words
            .iter()
            .filter(|word| !out.contains(word) && !counted.contains(word) && !word.is_empty())
            .collect();
        self.doubt_values(place, &unknown);
        if out.is_empty() {
            return;
        }
        self.used.insert(place);
        self.out.note(
            "filter",
            format!("rows with {out:?} in {} are pending or void", self.name(place)),
        );
        self.filter.push(json!({"column": self.name(place), "not_in": out}));
    }

    /// Asks about voided rows in columns of statuses that the dictionary does not have, such as `Fulfillment status`.
    fn doubt_other_statuses(&mut self) {
        if !self.table.dataset.has_money() {
            return;
        }
        let headers = self.table.headers.iter().enumerate();
        let named = headers.filter(|(_, header)| !header.is(Role::Status) && header.name.contains("status"));
        let places: Vec<usize> = named.map(|(place, _)| place).collect();
        for place in places {
            let words = self.words(place).unwrap_or_default();
            let voided: Vec<&String> = words.iter().filter(|word| means(word, Word::Voided)).collect();
            if !voided.is_empty() {
                self.doubt_values(place, &voided);
            }
        }
    }

    /// Of income and expenses in one table, takes those that the dataset is about.
    fn filter_by_kind(&mut self) {
        let wanted = match self.table.dataset.name {
            "sales" => Word::Income,
            "expenses" => Word::Expense,
            _ => return,
        };
        let headers = self.table.headers.iter().enumerate();
        let roles = headers
            .filter(|(place, header)| !self.used.contains(place) && (header.is(Role::Kind) || header.is(Role::Sign)));
        let places: Vec<usize> = roles.map(|(place, _)| place).collect();
        for place in places {
            let Some(words) = self.words(place) else { continue };
            let of = |kind: Word| -> Vec<String> { words.iter().filter(|word| means(word, kind)).cloned().collect() };
            let (income, expenses) = (of(Word::Income), of(Word::Expense));
            let (taken, other) = if wanted == Word::Income {
                (income, expenses)
            } else {
                (expenses, income)
            };
            if other.is_empty() {
                self.doubt_kinds(place, &words, &taken);
                continue;
            }
            let unknown: Vec<&String> = words
                .iter()
                .filter(|word| !taken.contains(word) && !other.contains(word))
                .collect();
            if !unknown.is_empty() || taken.is_empty() {
                let message = format!(
                    "{} tells income from expenses, and has other values: {unknown:?}",
                    self.name(place)
                );
                self.out.doubt("filter", message, Vec::new());
            }
            self.used.insert(place);
            self.out
                .note("filter", format!("{} tells income from expenses", self.name(place)));
            self.filter.push(json!({"column": self.name(place), "in": taken}));
        }
    }

    /// Notes a doubt if a column of kinds has some that may not be those that the dataset is about, such as `Refund` and `Payout`.
    fn doubt_kinds(&mut self, place: usize, words: &[String], taken: &[String]) {
        let is_known = |word: &String| taken.contains(word) || is_negative_sign(word).is_some();
        let unknown: Vec<&String> = words.iter().filter(|word| !is_known(word)).collect();
        let takes_back = |word: &&String| means(word, Word::TakenBack);
        if (words.len() > 1 || words.iter().any(|word| takes_back(&word))) && self.table.headers[place].is(Role::Kind) {
            self.doubt_values(place, &unknown);
        }
    }

    /// Notes of which values of a column it is not known whether their rows count. Of the others it is known.
    fn doubt_values(&mut self, place: usize, unknown: &[&String]) {
        let unknown = unknown.iter().map(|word| (*word).clone()).collect();
        self.unknown.push((place, unknown));
    }
}
