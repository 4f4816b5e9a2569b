//! The trial: all rows are read by the proposed fields, as an upload would read them, and added up.

use std::collections::BTreeMap;

use annals_csv::{
    AMOUNT_FIELD, CURRENCY_FIELD, Column, Dataset, DateFormat, Facts, FileFault, Kind, Layout, ReadOptions, Record,
    Row, RowFault, facts,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::check::{Check, Ids, Watch};
use crate::choice::Proposal;
use crate::future::Future;
use crate::profile::has_value;
use crate::totals::Totals;

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
    watches: Vec<Watch>,
    ids: Ids,
    totals: Totals,
    future: Future,
    /// Rows whose currency nothing states.
    unstated: u64,
    /// Physical line of the first record before the header, and at the end, that may be a row.
    row_before: Option<u64>,
    row_at_end: Option<u64>,
}

impl<'a> Trying<'a> {
    /// A trial of a file with this header.
    ///
    /// # Errors
    /// The options do not fit the header.
    pub fn new(
        dataset: &'static Dataset,
        options: &'a ReadOptions,
        header: &Record,
        checks: Vec<Check>,
    ) -> Result<Self, FileFault> {
        Ok(Self {
            dataset,
            options,
            layout: Layout::find(dataset, options, header)?,
            sums: BTreeMap::new(),
            refusals: BTreeMap::new(),
            trial: Trial::default(),
            watches: checks.into_iter().map(Watch::new).collect(),
            ids: Ids::default(),
            totals: Totals::default(),
            future: Future::from_today(),
            unstated: 0,
            row_before: None,
            row_at_end: None,
        })
    }

    /// Reads a record.
    pub fn read(&mut self, record: &Record) {
        if !self.layout.takes(record) {
            self.trial.rows_left_out += 1;
            return;
        }
        let record = &*self.layout.bare(record);
        let row = Row {
            record,
            layout: &self.layout,
        };
        match facts::read(self.dataset, &row, &self.options.values) {
            Ok(facts) => self.accept(record, facts),
            Err(faults) => {
                self.trial.rows_refused += 1;
                faults.iter().for_each(|fault| self.refuse(record, fault));
            }
        }
    }

    fn accept(&mut self, record: &Record, facts: Facts) {
        self.trial.rows_accepted += 1;
        self.watches.iter_mut().for_each(|watch| watch.read(record, &facts));
        self.totals.read(record, &facts);
        if let Some(id) = &facts.id {
            let shown = self.identity().map_or(id.as_str(), |place| record.field(place).trim());
            self.ids.read(id.as_str(), shown, record.line());
        }
        self.unstated += u64::from(facts.unstated.is_some());
        if let (Some(units), Some(currency)) = (facts.data.get(AMOUNT_FIELD), facts.data.get(CURRENCY_FIELD)) {
            let currency = currency.as_str().unwrap_or_default().to_owned();
            let sum = self.sums.entry(currency).or_default();
            sum.0 += i128::from(units.as_i64().unwrap_or_default());
            sum.1 += 1;
        }
        if let Some(day) = facts.day {
            self.future.read(day, record.line());
            let day = day.to_string();
            let (first, last) = (&mut self.trial.first_day, &mut self.trial.last_day);
            if first.as_ref().is_none_or(|first| day < *first) {
                *first = Some(day.clone());
            }
            if last.as_ref().is_none_or(|last| day > *last) {
                *last = Some(day);
            }
        }
        if self.trial.first_rows.len() < MAX_SHOWN {
            self.trial.first_rows.push(ShownRow {
                line: record.line(),
                id: facts.id.map(|id| id.as_str().to_owned()),
                data: facts.data,
            });
        }
    }

    fn refuse(&mut self, record: &Record, fault: &RowFault) {
        if self.refusals.len() >= MAX_CODES && !self.refusals.contains_key(fault.code) {
            return;
        }
        let layout = &self.layout;
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

    /// Looks for rows among the records before the header.
    pub fn read_before(&mut self, records: &[Record]) {
        let is_row = |record: &&Record| {
            let has_amount = self.money().iter().any(|place| has_value(record, *place));
            self.reads(record) || (self.has_day(record) && has_amount)
        };
        self.row_before = records.iter().find(is_row).map(Record::line);
    }

    /// Leaves out a record of the footer, and looks whether it may be a row.
    pub fn leave_out(&mut self, record: &Record) {
        self.trial.rows_left_out += 1;
        let mut places = self.money().into_iter().chain(self.identity());
        let has_value = places.any(|place| has_value(record, place));
        let is_row = self.reads(record) || self.has_day(record) || has_value;
        if self.row_at_end.is_none() && self.layout.takes(record) && is_row {
            self.row_at_end = Some(record.line());
        }
    }

    /// Whether a record reads as a row.
    fn reads(&self, record: &Record) -> bool {
        let layout = &self.layout;
        let record = &*layout.bare(record);
        facts::could_be_row(self.dataset, &Row { record, layout }, &self.options.values)
    }

    fn has_day(&self, record: &Record) -> bool {
        let mut columns = self.dataset.columns.iter();
        let day = columns.find(|column| column.kind() == Kind::Day);
        let place = day.and_then(|column| self.layout.place_of(*column));
        place.is_some_and(|place| !DateFormat::candidates(record.field(place).trim()).is_empty())
    }

    /// The columns with amounts.
    fn money(&self) -> Vec<usize> {
        let two = self.layout.amounts().map(|(debit, credit)| [debit, credit]);
        let one = self.layout.place_of(Column::Amount);
        two.into_iter().flatten().chain(one).collect()
    }

    fn identity(&self) -> Option<usize> {
        self.layout.place_of(self.layout.identity(self.dataset)?)
    }

    /// Notes what only the rows could show as doubts. What the caller has `declared` is none.
    pub fn note_doubts(&mut self, proposal: &mut Proposal, declared: &Map<String, Value>) {
        let headers = self.layout.headers();
        let name = |place: usize| match headers.get(place) {
            Some(header) if !header.is_empty() => header.clone(),
            _ => format!("#{}", place + 1),
        };
        for watch in std::mem::take(&mut self.watches) {
            watch.finish(proposal, name);
        }
        if let Some(column) = self.layout.identity(self.dataset) {
            std::mem::take(&mut self.ids).finish(proposal, column.name());
        }
        if !declared.contains_key("filter") {
            std::mem::take(&mut self.totals).finish(proposal);
        }
        if !declared.contains_key("date_format") {
            self.future.finish(proposal);
        }
        if self.unstated > 0 && !proposal.doubts_about("currency") {
            let message = format!("nothing states the currency of {} rows", self.unstated);
            proposal.doubt("currency", message, Vec::new());
        }
        if let Some(line) = self.row_before.filter(|_| !proposal.doubts_about("skip_rows")) {
            let message = format!("line {line}, before the header, may be a row");
            proposal.doubt("skip_rows", message, Vec::new());
        }
        let is_open = !declared.contains_key("skip_footer") && !proposal.doubts_about("skip_footer");
        if let Some(line) = self.row_at_end.filter(|_| is_open) {
            let message = format!("the last lines look like totals or remarks, but line {line} may be a row");
            proposal.doubt("skip_footer", message, vec![json!(0)]);
        }
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
