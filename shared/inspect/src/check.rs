//! What can be seen only when the rows are read by the proposal: amounts that are repeated, ids that come twice, rows that a footer or the lines
//! before the header may have.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use annals_csv::{AMOUNT_FIELD, Facts, Record};
use serde_json::{Value, json};

use crate::choice::Proposal;

/// Most values that are compared with each other.
const MAX_COMPARED: usize = 200_000;

/// Cells by which a row was not cancelled.
const NOT_CANCELLED: [&str; 12] = [
    "", "no", "n", "false", "0", "nein", "non", "não", "nee", "nahi", "-", "n/a",
];

/// What the rows are watched for.
#[derive(Debug, Clone)]
pub enum Check {
    /// Rows with the same values in these columns have the same amount: it may be that of all of them together.
    Repeats(Vec<usize>),
    /// As `Repeats`, of a system that is known to repeat the amount.
    RepeatsOfExport(Vec<usize>),
    /// Only rows with one of these words in the column may have an amount below zero.
    Negative(usize, &'static [&'static str]),
    /// The column has amounts that would have to be subtracted.
    Subtracted(usize),
    /// The column says which rows were cancelled, or when.
    Cancelled(usize),
    /// The rows that count have money in one direction only. Otherwise this is asked.
    Directions {
        /// What is asked.
        message: String,
        /// Upload fields that fit.
        choices: Vec<Value>,
    },
}

/// A check with what was seen so far.
#[derive(Debug)]
pub struct Watch {
    check: Check,
    /// The amounts of rows that were seen, by a hash of their values.
    seen: HashMap<u64, i64>,
    /// Rows that the check is about.
    alike: u64,
    /// Rows that show that it is otherwise.
    unlike: u64,
    /// Physical line of the first of those that it is about.
    line: u64,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(check: Check) -> Self {
        Self {
            check,
            seen: HashMap::new(),
            alike: 0,
            unlike: 0,
            line: 0,
        }
    }

    /// Looks at a row that counts.
    pub fn read(&mut self, record: &Record, facts: &Facts) {
        let amount = facts.data.get(AMOUNT_FIELD).and_then(Value::as_i64).unwrap_or_default();
        let text = |place: usize| record.field(place).trim();
        let is_about = match &self.check {
            Check::Repeats(places) | Check::RepeatsOfExport(places) => {
                let hash = hash_of(places.iter().map(|place| text(*place)));
                let is_known = self.seen.contains_key(&hash);
                if !is_known && self.seen.len() >= MAX_COMPARED {
                    return;
                }
                let first = *self.seen.entry(hash).or_insert(amount);
                self.unlike += u64::from(is_known && first != amount);
                is_known && first == amount
            }
            Check::Negative(place, words) => amount < 0 && !words.contains(&text(*place).to_lowercase().as_str()),
            Check::Subtracted(place) => text(*place).contains(|c: char| c.is_ascii_digit() && c != '0'),
            Check::Cancelled(place) => !NOT_CANCELLED.contains(&text(*place).to_lowercase().as_str()),
            Check::Directions { .. } => {
                self.unlike += u64::from(amount > 0);
                amount < 0
            }
        };
        if is_about {
            self.alike += 1;
            if self.line == 0 {
                self.line = record.line();
            }
        }
    }

    /// Notes a doubt if there is reason for one. `name` is how upload fields name a column.
    pub fn finish(self, proposal: &mut Proposal, name: impl Fn(usize) -> String) {
        let (rows, line) = (self.alike, self.line);
        match self.check {
            _ if rows == 0 => {}
            Check::Repeats(_) if self.unlike > 0 => {}
            Check::Repeats(places) | Check::RepeatsOfExport(places) => {
                let names: Vec<String> = places.into_iter().map(name).collect();
                let message = format!(
                    "{rows} rows, the first on line {line}, have the {} and the amount of a row before: the amount may be that of all these rows \
                     together, and would be counted several times",
                    names.join(" and ")
                );
                proposal.doubt("mapping", message, Vec::new());
            }
            Check::Negative(place, _) => {
                let message = format!(
                    "{rows} rows, the first on line {line}, have an amount below zero, and no refund in {}: they may be purchases of one's own",
                    name(place)
                );
                proposal.doubt("filter", message, Vec::new());
            }
            Check::Subtracted(place) => {
                let message = format!(
                    "{rows} rows, the first on line {line}, have an amount in {}, which is not subtracted",
                    name(place)
                );
                proposal.doubt("filter", message, Vec::new());
            }
            Check::Cancelled(place) => {
                let message = format!(
                    "{rows} rows, the first on line {line}, have a value in {}: they may not count",
                    name(place)
                );
                proposal.doubt("filter", message, Vec::new());
            }
            Check::Directions { message, choices } if self.unlike > 0 => proposal.doubt("filter", message, choices),
            Check::Directions { .. } => {
                let message = "the amounts of all rows that count are below zero";
                proposal.doubt("negate", message, vec![json!(true), json!(false)]);
            }
        }
    }
}

/// The ids of rows, of which each may come once.
#[derive(Debug, Default)]
pub struct Ids {
    seen: std::collections::HashSet<u64>,
    repeated: u64,
    first: Option<(String, u64)>,
}

impl Ids {
    /// Looks at the id of a row, and at the cell that it is made of.
    pub fn read(&mut self, id: &str, shown: &str, line: u64) {
        let hash = hash_of([id].into_iter());
        if self.seen.contains(&hash) {
            self.repeated += 1;
            self.first.get_or_insert_with(|| (shown.to_owned(), line));
        } else if self.seen.len() < MAX_COMPARED {
            self.seen.insert(hash);
        }
    }

    /// Notes a doubt if an id comes twice.
    pub fn finish(self, proposal: &mut Proposal, column: &str) {
        let Some((id, line)) = self.first else { return };
        let message = format!(
            "{} rows have the {column} of a row before, the first on line {line} {id:?}: of rows with one id, only the first counts",
            self.repeated
        );
        proposal.doubt("mapping", message, vec![json!({column: null})]);
    }
}

fn hash_of<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.for_each(|text| text.hash(&mut hasher));
    hasher.finish()
}
