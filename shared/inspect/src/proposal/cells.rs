//! Texts that mean nothing, and the proposal as upload fields.

use annals_csv::{Column, Kind};
use serde_json::{Value, json};

use super::{MAX_SHOWN, Proposer};

impl Proposer<'_> {
    /// Decides which texts of cells are as good as none. A dash says nothing else; a word may be a value, as `NA` is the code of Namibia.
    pub(super) fn decide_empty(&mut self) {
        if self.is_declared("empty_values") {
            return;
        }
        let confirmed = self.confirmed_texts();
        self.doubt_needed(&confirmed);
        let (mut dashes, mut words) = (Vec::new(), Vec::new());
        let needed = self.needed_places();
        for place in self.read_places().into_iter().filter(|place| !needed.contains(place)) {
            for text in self.nothing(place) {
                match () {
                    () if confirmed.contains(&text.to_lowercase()) => {}
                    () if is_dash(&text) => dashes.push(text),
                    () => words.push((text, place)),
                }
            }
        }
        self.doubt_words(&words);
        self.doubt_names(&confirmed);
        self.set_empty(dashes);
    }

    /// The columns with parts of names.
    fn name_places(&self) -> Vec<usize> {
        let names = self
            .out
            .fields
            .get("name_columns")
            .or(self.table.declared.get("name_columns"));
        let names = names.and_then(super::parsed).unwrap_or_default();
        let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.filter_map(|name| self.place_named(name)).collect()
    }

    /// A part of a name that one of these texts in lower case would drop, and its column. Texts that mean nothing do so in all columns.
    fn dropped_name(&self, texts: &[String]) -> Option<(String, usize)> {
        let parts = self.name_places().into_iter();
        let mut parts = parts.flat_map(|place| self.nothing(place).into_iter().map(move |text| (text, place)));
        parts.find(|(text, _)| !is_dash(text) && texts.contains(&text.to_lowercase()))
    }

    /// Asks about names that would be dropped because of what was confirmed for another file.
    fn doubt_names(&mut self, confirmed: &[String]) {
        let Some((text, place)) = self.dropped_name(confirmed) else {
            return;
        };
        let message = format!(
            "{text:?} in {} may be a name, and was confirmed to mean nothing in a file with this header",
            self.name(place)
        );
        self.out.doubt("empty_values", message, vec![json!([])]);
    }

    /// Texts whose meaning was confirmed for another file with this header, in lower case.
    fn confirmed_texts(&self) -> Vec<String> {
        let lists = [self.remembered("empty_values"), self.remembered("zero_values")];
        let texts = lists.iter().flatten().filter_map(Value::as_array).flatten();
        let texts = texts.filter_map(Value::as_str);
        texts.map(str::to_lowercase).collect()
    }

    /// The columns that are read.
    fn read_places(&self) -> Vec<usize> {
        let columns = self.table.dataset.columns.iter();
        let mut places: Vec<usize> = columns.filter_map(|column| self.place_of(*column)).collect();
        let amounts = self
            .out
            .fields
            .get("amount_columns")
            .or(self.table.declared.get("amount_columns"));
        let amounts = amounts.and_then(super::parsed).unwrap_or_default();
        let of = |name: &str| self.place_named(amounts[name].as_str()?);
        places.extend([of("debit"), of("credit")].into_iter().flatten());
        places
    }

    /// The texts by which a column says that there is nothing.
    fn nothing(&self, place: usize) -> Vec<String> {
        let profile = self.profile(place);
        profile
            .into_iter()
            .flat_map(|profile| profile.nothing.keys().cloned())
            .collect()
    }

    /// The columns that every row must fill.
    fn needed_places(&self) -> Vec<usize> {
        let dataset = self.table.dataset;
        let is_needed =
            |column: &Column| dataset.requires(*column) || column.kind() == Kind::Amount || *column == dataset.id;
        let needed = dataset.columns.iter().copied().filter(is_needed);
        needed.filter_map(|column| self.place_of(column)).collect()
    }

    /// Asks about cells without a value in columns that every row must fill.
    fn doubt_needed(&mut self, confirmed: &[String]) {
        for place in self.needed_places() {
            let Some(profile) = self.profile(place) else { continue };
            let mut open = profile.nothing.iter();
            let Some((text, count)) = open.find(|(text, _)| !confirmed.contains(&text.to_lowercase())) else {
                continue;
            };
            let message = format!(
                "{count} cells of {} are {text:?}: nothing, so that the rows are refused, or zero",
                self.name(place)
            );
            let choices = vec![json!({"empty_values": [text]}), json!({"zero_values": [text]})];
            self.out.doubt("empty_values", message, choices);
        }
    }

    fn doubt_words(&mut self, words: &[(String, usize)]) {
        let Some((_, place)) = words.first() else { return };
        if self.out.doubts_about("empty_values") {
            return;
        }
        let mut texts: Vec<&String> = words.iter().map(|(text, _)| text).collect();
        texts.sort_unstable();
        texts.dedup();
        let shown = &texts[..texts.len().min(MAX_SHOWN)];
        let mut message = format!(
            "{shown:?} in {} could mean that there is nothing, or be a value",
            self.name(*place)
        );
        let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
        if let Some((text, place)) = self.dropped_name(&lower) {
            message += &format!(
                ". {text:?} in {}, which may be a name, would then mean nothing, too",
                self.name(place)
            );
        }
        let choices = vec![json!({"empty_values": texts}), json!({"empty_values": []})];
        self.out.doubt("empty_values", message, choices);
    }

    fn set_empty(&mut self, mut texts: Vec<String>) {
        for field in ["empty_values", "zero_values"] {
            if let Some(value) = self.remembered(field) {
                self.recall(field, value);
            }
        }
        let before = self.remembered("empty_values");
        let before = before.iter().filter_map(Value::as_array).flatten();
        texts.extend(before.filter_map(Value::as_str).map(str::to_owned));
        texts.sort_unstable();
        texts.dedup();
        if !texts.is_empty() {
            let reason = "cells with these texts have no value";
            self.out.set("empty_values", json!(texts), reason);
        }
    }

    /// Writes mapping and filter as upload fields.
    pub(super) fn finish(&mut self) {
        // A column that is called as ours is found without a mapping, so it needs one only if it is another, or not to be read.
        let is_ours = |header: &str, name: &str| header.to_lowercase().replace(' ', "_") == name;
        let headers = &self.table.headers;
        let mut mapping = std::mem::take(&mut self.mapping);
        mapping.retain(|name, source| match source.as_str() {
            Some(source) => !is_ours(source, name),
            None => headers.iter().any(|header| is_ours(&header.text, name)),
        });
        if !self.said_mapping().is_empty() {
            mapping.extend(self.said_mapping());
        }
        if self.remembered("mapping").is_some() {
            self.out
                .note("mapping", "mapping was confirmed for a file with this header");
        }
        if !mapping.is_empty() {
            self.out.fields.insert("mapping".to_owned(), Value::Object(mapping));
        }
        let filter = match self.filter.as_slice() {
            [] => return,
            [one] => one.clone(),
            several => json!(several),
        };
        self.out.fields.insert("filter".to_owned(), filter);
    }
}

fn is_dash(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '-' | '–' | '—'))
}
