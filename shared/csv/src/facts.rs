//! Facts: the typed values of a row. Each cell is read by its column's kind. All faults of a row are collected, so that the sender can
//! correct them together.

use std::borrow::Cow;

use annals_domain::AggregateId;
use annals_domain::event::MAX_DATA_BYTES;
use annals_domain::money::currency;
use chrono::NaiveDate;
use serde_json::{Map, Value};

use crate::cells::{
    AMBIGUOUS_AMOUNT, json_number, named_id, read_amount, read_currency, read_date, read_email, read_id, read_quantity,
};
use crate::columns::{Column, Kind};
use crate::dataset::{AMOUNT_FIELD, CURRENCY_FIELD, Dataset};
use crate::date::AMBIGUOUS_DATE;
use crate::fault::RowFault;
use crate::layout::Layout;
use crate::money::{self, Money, Stated, Unstated};
use crate::options::ValueOptions;
use crate::records::{DELIMITERS, Record, Splitter};
use crate::row::Row;

/// The typed values of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The entity's id, if the file has a column for it or for what names it.
    pub id: Option<AggregateId>,
    /// The data of the event that creates the entity.
    pub data: Map<String, Value>,
    /// The day of the sale or expense, or the day from which the customer is known.
    pub day: Option<NaiveDate>,
    /// Whether an amount had fractions of a minor unit and was rounded.
    pub rounded: bool,
    /// The amount, if nothing states its currency, so that `data` has it in USD.
    pub unstated: Option<Unstated>,
}

impl Facts {
    /// The facts with their amount in the currency that their entity is known in, if nothing states another one: a file that lacks the
    /// currency does not change it.
    ///
    /// # Errors
    /// The amount cannot be stored exactly in that currency.
    pub fn in_currency_of(&self, known: &Map<String, Value>) -> Result<Cow<'_, Self>, RowFault> {
        let currency = known.get(CURRENCY_FIELD).and_then(Value::as_str).and_then(currency);
        let stated = || self.unstated.as_ref()?.in_currency(currency?);
        let Some(money) = stated() else {
            return Ok(Cow::Borrowed(self));
        };
        let mut facts = self.clone();
        let money = money?;
        set_money(&mut facts.data, &money);
        facts.rounded = money.rounded;
        Ok(Cow::Owned(facts))
    }
}

fn set_money(data: &mut Map<String, Value>, money: &Money) {
    data.insert(AMOUNT_FIELD.to_owned(), Value::from(money.units));
    data.insert(CURRENCY_FIELD.to_owned(), Value::from(money.currency.code()));
}

/// Reads a row of a dataset.
///
/// # Errors
/// All faults of the row. If the record as a whole is wrong, for example because it has too many fields, only that fault.
pub fn read(dataset: &Dataset, row: &Row<'_>, values: &ValueOptions) -> Result<Facts, Vec<RowFault>> {
    row.check().map_err(|fault| vec![fault])?;
    refuse_swallowed(dataset, row, values).map_err(|fault| vec![fault])?;
    read_cells(dataset, row, values)
}

/// Reads the cells of a row that is right as a whole.
fn read_cells(dataset: &Dataset, row: &Row<'_>, values: &ValueOptions) -> Result<Facts, Vec<RowFault>> {
    let mut reading = Reading::default();
    if let Some(column) = row.layout.identity(dataset) {
        let cell = row.required(column);
        let id = match column == dataset.id {
            true => cell.and_then(|cell| read_id(&cell)),
            false => cell.and_then(|cell| named_id(&cell)),
        };
        reading.id = reading.keep(id);
    }
    for column in dataset.columns.iter().filter(|column| **column != dataset.id) {
        reading.read_cell(dataset, row, *column, values);
    }
    if dataset.has_money() {
        reading.read_money(row, values);
    }
    reading.finish(row)
}

/// Refuses a row with a field over several lines of which one reads as a row of its own: a quote was opened by mistake, and the rows up to the
/// next quote have become text.
fn refuse_swallowed(dataset: &Dataset, row: &Row<'_>, values: &ValueOptions) -> Result<(), RowFault> {
    let (fields, mut line) = (row.record.fields().collect::<Vec<&str>>(), row.record.line());
    for (place, field) in fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.contains(['\r', '\n']))
    {
        let lines: Vec<&str> = field.split("\r\n").flat_map(|text| text.split(['\r', '\n'])).collect();
        let last = lines.len() - 1;
        for (below, text) in lines.iter().enumerate().skip(1) {
            let is_row = DELIMITERS.iter().any(|delimiter| {
                // The line on which the quote is closed goes on with the fields after this one.
                let rest = if below == last { &fields[place + 1..] } else { &[] };
                reads_as_row(dataset, row.layout, values, text, rest, *delimiter)
            });
            if is_row {
                let swallowed = line + u64::try_from(below).unwrap_or_default();
                let message = format!(
                    "the quote that is opened on line {line} is not closed before line {swallowed}, which reads as a row of its own: \
                     close the quote, or write a quote inside a field twice"
                );
                return Err(RowFault::of_row("swallowed_row", message));
            }
        }
        line += u64::try_from(last).unwrap_or_default();
    }
    Ok(())
}

/// Whether a line and the fields after it read as a row. Text has commas, too: without a day, an amount or an email address, it must have as many
/// fields as the header, and at least three.
fn reads_as_row(
    dataset: &Dataset,
    layout: &Layout,
    values: &ValueOptions,
    line: &str,
    rest: &[&str],
    delimiter: u8,
) -> bool {
    // Most lines are text, and are found to be so at once.
    let most = line.bytes().filter(|byte| *byte == delimiter).count() + 1 + rest.len();
    if most < 2 {
        return false;
    }
    let mut splitter = Splitter::new(delimiter);
    let text = format!("{line}\n");
    let is_complete = splitter
        .split(text.as_bytes())
        .is_ok_and(|(_, is_complete)| is_complete);
    let fields: Vec<String> = splitter
        .record()
        .fields()
        .chain(rest.iter().copied())
        .map(str::to_owned)
        .collect();
    let (record, width) = (&Record::of(&fields), layout.width());
    let row = &Row { record, layout };
    let is_value = |column: &&Column| matches!(column.kind(), Kind::Day | Kind::Amount | Kind::Email);
    let has_value = || {
        dataset
            .columns
            .iter()
            .filter(is_value)
            .any(|column| row.cell(*column).is_some())
    };
    is_complete
        && record.width() <= width
        && ((width >= 3 && record.width() == width) || has_value())
        && could_be_row(dataset, row, values)
}

/// Whether a record can be read as a row, or could be if it were known how its dates and numbers are written.
pub fn could_be_row(dataset: &Dataset, row: &Row<'_>, values: &ValueOptions) -> bool {
    let is_doubt = |fault: &RowFault| [AMBIGUOUS_AMOUNT, AMBIGUOUS_DATE].contains(&fault.code);
    let reads = || read_cells(dataset, row, values).map_or_else(|faults| faults.iter().all(is_doubt), |_| true);
    row.check().is_ok() && reads()
}

#[derive(Default)]
struct Reading {
    id: Option<AggregateId>,
    data: Map<String, Value>,
    day: Option<NaiveDate>,
    stated: Stated,
    rounded: bool,
    unstated: Option<Unstated>,
    faults: Vec<RowFault>,
}

impl Reading {
    fn keep<T>(&mut self, read: Result<T, RowFault>) -> Option<T> {
        read.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn read_cell(&mut self, dataset: &Dataset, row: &Row<'_>, column: Column, values: &ValueOptions) {
        // `read_money` checks a required amount, because that depends on other cells.
        if column == Column::Name && !row.layout.names().is_empty() {
            return self.read_name(row);
        }
        let required = dataset.requires(column) && column.kind() != Kind::Amount;
        let cell = if required {
            row.required(column).map(Some)
        } else {
            Ok(row.cell(column))
        };
        let Some(Some(cell)) = self.keep(cell) else { return };
        let value = match column.kind() {
            Kind::Id => read_id(&cell).map(|id| Some(Value::from(id.as_str()))),
            Kind::Text => Ok(Some(Value::from(cell.text))),
            Kind::Email => read_email(&cell).map(Some),
            Kind::Day => read_date(&cell, values).map(|day| {
                self.day = Some(day);
                Some(Value::String(day.to_string()))
            }),
            Kind::Quantity => read_quantity(&cell, values).map(|quantity| {
                self.stated.quantity = Some(quantity);
                Some(json_number(quantity))
            }),
            Kind::Price => read_amount(&cell, values).map(|price| {
                self.stated.price = Some(price);
                Some(json_number(price.number))
            }),
            Kind::Currency => read_currency(&cell).map(|currency| {
                self.stated.currency = Some(currency);
                None
            }),
            Kind::Amount => Ok(None),
        };
        if let Some(Some(value)) = self.keep(value) {
            self.data.insert(column.name().to_owned(), value);
        }
    }

    /// A name whose parts are in columns of their own.
    fn read_name(&mut self, row: &Row<'_>) {
        let parts = row.layout.names().iter();
        let parts: Vec<&str> = parts.filter_map(|place| row.layout.text(row.record, *place)).collect();
        if parts.is_empty() {
            let fault = |message: &str| RowFault::of_value(Column::Name, "required", message, "");
            self.faults.push(fault("name is required in one of its columns"));
        } else {
            self.data
                .insert(Column::Name.name().to_owned(), Value::from(parts.join(" ")));
        }
    }

    fn read_money(&mut self, row: &Row<'_>, values: &ValueOptions) {
        // If the quantity or the price is faulty, their product cannot be checked.
        if !self.faults.is_empty() && !row.layout.has(Column::Amount) && row.layout.amounts().is_none() {
            return;
        }
        let money = money::read(row, values, &self.stated);
        if let Some(money) = self.keep(money) {
            set_money(&mut self.data, &money);
            self.rounded = money.rounded;
            self.unstated = money.unstated;
        }
    }

    fn finish(self, row: &Row<'_>) -> Result<Facts, Vec<RowFault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let is_large = || serde_json::to_vec(&self.data).is_ok_and(|text| text.len() > MAX_DATA_BYTES);
        if row.record.size() > MAX_DATA_BYTES / 8 && is_large() {
            let message = format!("the row's data are larger than {MAX_DATA_BYTES} bytes");
            return Err(vec![RowFault::of_row("row_too_large", message)]);
        }
        Ok(Facts {
            id: self.id,
            data: self.data,
            day: self.day,
            rounded: self.rounded,
            unstated: self.unstated,
        })
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
