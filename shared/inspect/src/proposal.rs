//! From what a file has to the upload fields that read it.
//!
//! The order of the decisions: the export → the day → the money → the id → the currency → the other columns → which rows count → signs → the
//! decimal mark → texts that mean nothing. Each subject has a file below `proposal/`.
//!
//! What the caller has declared is taken as it is. What was confirmed for another file with this header (`remembered`) says which column is
//! which, because the headers are the same. How cells are written, and which rows count, is decided by the file first; memory decides only what
//! the file leaves open, and a file that contradicts it is asked about.

mod cells;
mod columns;
mod currency;
mod days;
mod filter;
mod headings;
mod memory;
mod money;
mod pieces;
mod signs;

use std::collections::HashSet;

use annals_csv::{Column, Dataset, field_text};
use serde_json::{Map, Value};

use crate::check::Check;
use crate::choice::Proposal;
use crate::currency_words::Preamble;
use crate::exports::{EXPORTS, Export};
use crate::lookup::Header;
use crate::profile::{Profile, Profiles};

/// Most values of a column that a message lists.
const MAX_SHOWN: usize = 5;

/// A file whose columns are known.
pub struct Table<'a> {
    /// What its rows become.
    pub dataset: &'static Dataset,
    /// Its headers; numbers if it has none.
    pub headers: Vec<Header>,
    /// Whether it has a header.
    pub has_header: bool,
    /// The ASCII character that separates its fields.
    pub delimiter: u8,
    /// What its columns have.
    pub profiles: &'a Profiles,
    /// What the lines before the header say.
    pub preamble: Preamble,
    /// Upload fields that the caller has declared.
    pub declared: &'a Map<String, Value>,
    /// Upload fields that were confirmed for another file with this header.
    pub remembered: &'a Map<String, Value>,
}

/// How money is written in a table.
#[derive(Debug, Clone, Copy)]
enum Money {
    /// In one column.
    One(usize),
    /// What was paid and what came in.
    Two(usize, usize),
    /// A price, which is multiplied by a quantity.
    Product(usize),
}

impl Money {
    /// The columns with money.
    fn places(self) -> Vec<usize> {
        match self {
            Self::One(place) | Self::Product(place) => vec![place],
            Self::Two(debit, credit) => vec![debit, credit],
        }
    }
}

/// Proposes the upload fields of a table, and what has to be looked at row by row.
pub fn propose(table: &Table<'_>) -> (Proposal, Vec<Check>) {
    let mut proposer = Proposer {
        table,
        export: None,
        used: HashSet::new(),
        mapping: Map::new(),
        filter: Vec::new(),
        unknown: Vec::new(),
        sign: None,
        checks: Vec::new(),
        out: Proposal::default(),
    };
    proposer.run();
    (proposer.out, proposer.checks)
}

struct Proposer<'a> {
    table: &'a Table<'a>,
    export: Option<&'static Export>,
    used: HashSet<usize>,
    mapping: Map<String, Value>,
    /// Conditions on rows that the file suggests.
    filter: Vec<Value>,
    /// Values of which it is not known whether their rows count, with their columns.
    unknown: Vec<(usize, Vec<String>)>,
    /// The column of signs.
    sign: Option<usize>,
    checks: Vec<Check>,
    out: Proposal,
}

impl Proposer<'_> {
    fn run(&mut self) {
        self.find_export();
        self.take_sign_column();
        let day = self.choose_day();
        let money = self.table.dataset.has_money().then(|| self.choose_money()).flatten();
        self.choose_id();
        if let Some(money) = money {
            self.choose_currency(money);
            self.watch_amounts();
        }
        self.choose_names();
        self.choose_others();
        self.filter_rows();
        self.recall_filter();
        self.leave_out_headings(day, money);
        if let Some(money) = money {
            self.choose_sign_column(money);
            self.decide_signs(money);
        }
        self.decide_decimal(money);
        self.decide_empty();
        self.recall_others();
        self.finish();
    }

    fn is_declared(&self, field: &str) -> bool {
        self.table.declared.contains_key(field)
    }

    /// What was confirmed of a field for another file with this header, unless the caller has declared it.
    fn remembered(&self, field: &str) -> Option<Value> {
        let value = self.table.remembered.get(field).filter(|_| !self.is_declared(field))?;
        parsed(value)
    }

    /// What the caller has declared of a field that says which column is which, or else what was confirmed for this header.
    fn said(&self, field: &str) -> Option<Value> {
        match self.table.declared.get(field) {
            Some(value) => parsed(value),
            None => self.remembered(field),
        }
    }

    /// Proposes what was confirmed for another file with this header.
    fn recall(&mut self, field: &'static str, value: Value) {
        self.out.recall(field, value);
    }

    // Columns by place and by name.

    fn profile(&self, place: usize) -> Option<&Profile> {
        self.table.profiles.columns.get(place)
    }

    /// How upload fields name a column.
    fn name(&self, place: usize) -> String {
        let headers = &self.table.headers;
        let is_same = |other: &&Header| other.text.to_lowercase() == headers[place].text.to_lowercase();
        match headers.iter().filter(is_same).count() {
            1 => headers[place].text.clone(),
            _ => format!("#{}", place + 1),
        }
    }

    /// The column that an upload field names.
    fn place_named(&self, name: &str) -> Option<usize> {
        let (name, headers) = (name.trim(), &self.table.headers);
        let number = || name.strip_prefix('#')?.parse::<usize>().ok()?.checked_sub(1);
        let exactly = headers.iter().position(|header| header.text == name);
        let lower = name.to_lowercase();
        let alike = || headers.iter().position(|header| header.text.to_lowercase() == lower);
        exactly
            .or_else(alike)
            .or_else(|| number().filter(|place| *place < headers.len()))
    }

    /// The column with this name in the dictionary's form.
    fn place_called(&self, name: &str) -> Option<usize> {
        self.table.headers.iter().position(|header| header.name == name)
    }

    /// The place that a column of ours is mapped to so far.
    fn place_of(&self, column: Column) -> Option<usize> {
        let own = || self.place_named(self.mapping.get(column.name())?.as_str()?);
        match self.said_source(column) {
            Some(source) => self.place_named(source.as_str()?),
            None => own(),
        }
    }

    /// The different words of a column in lower case, with an empty one if it has empty cells; `None` if there are too many.
    fn words(&self, place: usize) -> Option<Vec<String>> {
        let profile = self.profile(place)?;
        let words = profile.words.as_ref()?.keys().cloned();
        Some(words.chain((profile.blank > 0).then(String::new)).collect())
    }

    // Exports.

    fn find_export(&mut self) {
        let has = |export: &&Export| export.signature.iter().all(|name| self.place_called(name).is_some());
        // The one with the most headers, if several fit.
        let found = EXPORTS.iter().filter(has).max_by_key(|export| export.signature.len());
        let Some(export) = found else { return };
        if export.dataset == self.table.dataset.name {
            self.export = Some(export);
            self.out.note(
                "mapping",
                format!("the headers are those of {}. {}", export.name, export.note),
            );
        } else if self.said("mapping").is_none() {
            let message = format!(
                "the headers are those of {}, which are {}: say which column is what",
                export.name, export.dataset
            );
            self.out.doubt("mapping", message, Vec::new());
        }
    }

    fn of_export(&self, column: &str) -> Option<usize> {
        let (_, name) = self.export?.columns.iter().find(|(of, _)| *of == column)?;
        self.place_called(name)
    }
}

/// The value of an upload field, which may be JSON in a text.
fn parsed(value: &Value) -> Option<Value> {
    let Value::String(text) = value else {
        return Some(value.clone());
    };
    let json = text.trim_start().starts_with(['{', '[']);
    match json {
        true => annals_domain::json::parse(text.as_bytes()).ok(),
        false => Some(value.clone()),
    }
}

/// The conditions of a filter, of which one may be written without an array.
fn conditions(filter: &Value) -> Vec<Value> {
    match filter {
        Value::Array(several) => several.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// The fields that the caller has declared, with those that are proposed beside them. A proposal never replaces what is declared: it adds columns to
/// a mapping and conditions to a filter.
pub fn beside(declared: &Map<String, Value>, proposed: Map<String, Value>) -> Map<String, Value> {
    let mut options = declared.clone();
    for (field, value) in proposed {
        let together = match (options.get(&field), field.as_str()) {
            (None, _) => value,
            (Some(own), "filter") => {
                let mut all = parsed(own).as_ref().map(conditions).unwrap_or_default();
                all.extend(conditions(&value));
                Value::Array(all)
            }
            (Some(own), "mapping") => match (value, parsed(own)) {
                (Value::Object(mut members), Some(Value::Object(own))) => {
                    members.extend(own);
                    Value::Object(members)
                }
                _ => continue,
            },
            (Some(own), _) => {
                debug_assert_eq!(field_text(own), field_text(&value), "{field} is declared and proposed");
                continue;
            }
        };
        options.insert(field, together);
    }
    options
}
