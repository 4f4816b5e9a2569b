//! The trial: all rows are read by the proposed fields, as an upload would read them, and added up.

use std::collections::BTreeMap;

use annals_csv::{AMOUNT_FIELD, CURRENCY_FIELD, Dataset, FileFault, Layout, ReadOptions, Record, Row, facts};
use serde::Serialize;
use serde_json::{Map, Value};

/// Rows that are shown as they would be stored.
const MAX_SHOWN: usize = 5;
/// Codes of which an example is shown.
const MAX_CODES: usize = 50;

/// What became of the rows.
#[derive(Debug, Default, Serialize)]
pub struct Trial {
    /// Rows that are read.
    pub rows_accepted: u64,
    /// Rows that would be refused.
    pub rows_refused: u64,
    /// Rows that the filter and the footer leave out.
    pub rows_left_out: u64,
    /// Sums of the amounts, by currency.
    pub totals: Vec<Total>,
    /// The earliest day.
    pub first_day: Option<String>,
    /// The latest day.
    pub last_day: Option<String>,
    /// The first rows as they would be stored.
    pub first_rows: Vec<ShownRow>,
    /// Why rows would be refused, the most frequent reasons first.
    pub refusals: Vec<Refusal>,
}

/// The sum of the amounts in a currency.
#[derive(Debug, Serialize)]
pub struct Total {
    /// Code of the currency.
    pub currency: String,
    /// The sum in its minor units, as a number that may be larger than 64 bits.
    pub amount_cents: serde_json::Number,
    /// How many amounts.
    pub rows: u64,
}

/// A row as it would be stored.
#[derive(Debug, Serialize)]
pub struct ShownRow {
    /// Physical line.
    pub line: u64,
    /// Id of its entity; `None` if rows are known by their content.
    pub id: Option<String>,
    /// The data of its event.
    pub data: Map<String, Value>,
}

/// Why rows would be refused.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// Stable code.
    pub code: &'static str,
    /// How many faults of this kind.
    pub count: u64,
    /// Physical line of the first.
    pub line: u64,
    /// The file's name of the column of the first.
    pub column: Option<String>,
    /// Message of the first.
    pub message: String,
    /// The cell of the first.
    pub value: Option<String>,
}

/// Rows being read.
pub struct Trying<'a> {
    dataset: &'static Dataset,
    options: &'a ReadOptions,
    layout: Layout,
    sums: BTreeMap<String, (i128, u64)>,
    refusals: BTreeMap<&'static str, Refusal>,
    trial: Trial,
}

impl<'a> Trying<'a> {
    /// A trial of a file with this header.
    ///
    /// # Errors
    /// The options do not fit the header.
    pub fn new(dataset: &'static Dataset, options: &'a ReadOptions, header: &Record) -> Result<Self, FileFault> {
        Ok(Self {
            dataset,
            options,
            layout: Layout::find(dataset, options, header)?,
            sums: BTreeMap::new(),
            refusals: BTreeMap::new(),
            trial: Trial::default(),
        })
    }

    /// Reads a record.
    pub fn read(&mut self, record: &Record) {
        if !self.layout.takes(record) {
            self.trial.rows_left_out += 1;
            return;
        }
        let record = &*self.layout.bare(record);
        let layout = &self.layout;
        match facts::read(self.dataset, &Row { record, layout }, &self.options.values) {
            Ok(facts) => {
                self.trial.rows_accepted += 1;
                if let (Some(units), Some(currency)) = (facts.data.get(AMOUNT_FIELD), facts.data.get(CURRENCY_FIELD)) {
                    let sum = self
                        .sums
                        .entry(currency.as_str().unwrap_or_default().to_owned())
                        .or_default();
                    sum.0 += i128::from(units.as_i64().unwrap_or_default());
                    sum.1 += 1;
                }
                if let Some(day) = facts.day.map(|day| day.to_string()) {
                    let (first, last) = (&mut self.trial.first_day, &mut self.trial.last_day);
                    if first.as_ref().is_none_or(|first| day < *first) {
                        *first = Some(day.clone());
                    }
                    if last.as_ref().is_none_or(|last| day > *last) {
                        *last = Some(day);
                    }
                }
                if self.trial.first_rows.len() < MAX_SHOWN {
                    let id = facts.id.map(|id| id.as_str().to_owned());
                    self.trial.first_rows.push(ShownRow {
                        line: record.line(),
                        id,
                        data: facts.data,
                    });
                }
            }
            Err(faults) => {
                self.trial.rows_refused += 1;
                for fault in faults {
                    if self.refusals.len() >= MAX_CODES && !self.refusals.contains_key(fault.code) {
                        continue;
                    }
                    let refusal = self.refusals.entry(fault.code).or_insert_with(|| Refusal {
                        code: fault.code,
                        count: 0,
                        line: record.line(),
                        column: fault.column.map(|column| layout.header(column).to_owned()),
                        message: fault.message.clone(),
                        value: fault.value.clone(),
                    });
                    refusal.count += 1;
                }
            }
        }
    }

    /// Leaves out records of the footer.
    pub fn leave_out(&mut self, records: u64) {
        self.trial.rows_left_out += records;
    }

    /// What became of the rows.
    pub fn finish(self) -> Trial {
        let total = |(currency, (units, rows)): (String, (i128, u64))| Total {
            currency,
            amount_cents: serde_json::Number::from_string_unchecked(units.to_string()),
            rows,
        };
        let mut refusals: Vec<Refusal> = self.refusals.into_values().collect();
        refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
        Trial {
            totals: self.sums.into_iter().map(total).collect(),
            refusals,
            ..self.trial
        }
    }
}
