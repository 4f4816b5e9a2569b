//! Totals and balances that look like rows, because they have a day and an amount: their amount is the sum of those before, or a text says so.

use annals_csv::{AMOUNT_FIELD, Facts, Record};

use crate::choice::Proposal;
use crate::structure::filled;
use crate::total_words::names_total;

/// Least number of amounts that make a sum. One amount after an equal one is no total.
const LEAST_ITEMS: u64 = 2;

/// What the rows that count add up to so far.
#[derive(Debug, Default)]
pub struct Totals {
    /// The amounts of all rows that are no sums.
    all: Sum,
    /// The amounts since the last sum.
    group: Sum,
    /// Rows whose amount is the sum of those before.
    sums: Found,
    /// Whether one of them has fewer cells than the row before it, as totals have, or is the last row.
    has_clear_sum: bool,
    /// Rows with a text that says that they are totals or balances.
    texts: Found,
    text: String,
    filled_before: usize,
}

#[derive(Debug, Default)]
struct Sum {
    units: i128,
    items: u64,
}

impl Sum {
    fn add(&mut self, units: i128) {
        self.units += units;
        self.items += 1;
    }

    fn is(&self, units: i128) -> bool {
        self.items >= LEAST_ITEMS && self.units == units
    }
}

#[derive(Debug, Default)]
struct Found {
    rows: u64,
    /// Physical line of the first.
    line: u64,
    /// Whether the row that was read last is one.
    is_last: bool,
}

impl Found {
    fn read(&mut self, is_one: bool, line: u64) {
        self.is_last = is_one;
        if is_one && self.rows == 0 {
            self.line = line;
        }
        self.rows += u64::from(is_one);
    }
}

impl Totals {
    /// Reads a row that counts. Rows without an amount are none of this.
    pub fn read(&mut self, record: &Record, facts: &Facts) {
        let amount = facts.data.get(AMOUNT_FIELD).and_then(|units| units.as_i64());
        let Some(units) = amount.map(i128::from) else { return };
        let text = record.fields().map(str::trim).find(|text| names_total(text));
        if let (Some(text), 0) = (text, self.texts.rows) {
            text.clone_into(&mut self.text);
        }
        self.texts.read(text.is_some(), record.line());
        let is_sum = units != 0 && (self.group.is(units) || self.all.is(units));
        self.sums.read(is_sum, record.line());
        let filled = filled(record);
        self.has_clear_sum |= is_sum && filled < self.filled_before;
        if is_sum || text.is_some() {
            self.group = Sum::default();
        } else {
            self.group.add(units);
            self.all.add(units);
        }
        self.filled_before = filled;
    }

    /// Notes a doubt if rows may be totals. A single sum among other rows may be chance.
    pub fn finish(self, proposal: &mut Proposal) {
        if self.texts.rows > 0 {
            let message = format!(
                "{} rows, the first on line {}, have a text of totals or balances, such as {:?}: they may be no rows of their own",
                self.texts.rows, self.texts.line, self.text
            );
            proposal.doubt("filter", message, Vec::new());
        } else if self.sums.rows > 1 || self.has_clear_sum || self.sums.is_last {
            let message = format!(
                "{} rows, the first on line {}, have the sum of the rows before as their amount: they may be totals",
                self.sums.rows, self.sums.line
            );
            proposal.doubt("filter", message, Vec::new());
        }
    }
}
