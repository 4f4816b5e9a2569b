//! From a row to what it says: each cell by its column's kind, and everything that is wrong at once, so that a row is sent back
//! once and not once per cell.

use annals::domain::AggregateId;
use annals::domain::event::MAX_DATA_BYTES;
use annals::domain::text::TextFault;
use chrono::NaiveDate;
use email_address::EmailAddress;
use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};

use crate::amount::Amount;
use crate::columns::{Column, Kind};
use crate::dataset::{AMOUNT_FIELD, Dataset};
use crate::money::{self, Stated};
use crate::number::{self, NumberFault};
use crate::options::Values;
use crate::row::{Cell, Row, RowFault};

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    /// The entity's id, where the file has a column for it.
    pub(crate) id: Option<AggregateId>,
    /// The data of the event that creates the entity.
    pub(crate) data: Map<String, Value>,
    /// The day that it happened on.
    pub(crate) day: Option<NaiveDate>,
    /// Whether an amount was finer than a minor unit.
    pub(crate) rounded: bool,
}

/// Reads a row of a dataset.
///
/// # Errors
/// That it is none, or everything that is wrong with it.
pub(crate) fn read(dataset: &Dataset, row: &Row<'_>, values: &Values) -> Result<Facts, Vec<RowFault>> {
    row.check().map_err(|fault| vec![fault])?;
    let mut reading = Reading::default();
    if row.layout.has(dataset.id) {
        let id = row.required(dataset.id).and_then(|cell| read_id(&cell));
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

#[derive(Default)]
struct Reading {
    id: Option<AggregateId>,
    data: Map<String, Value>,
    day: Option<NaiveDate>,
    stated: Stated,
    rounded: bool,
    faults: Vec<RowFault>,
}

impl Reading {
    fn keep<T>(&mut self, read: Result<T, RowFault>) -> Option<T> {
        read.map_err(|fault| self.faults.push(fault)).ok()
    }

    fn read_cell(&mut self, dataset: &Dataset, row: &Row<'_>, column: Column, values: &Values) {
        // What an amount needs is found out together with its currency.
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
            Kind::Currency => money::read_currency(&cell).map(|currency| {
                self.stated.currency = Some(currency);
                None
            }),
            Kind::Amount => Ok(None),
        };
        if let Some(Some(value)) = self.keep(value) {
            self.data.insert(column.name().to_owned(), value);
        }
    }

    fn read_money(&mut self, row: &Row<'_>, values: &Values) {
        // Without a quantity or price that could be read there is nothing to be said about the amount that they make.
        if !self.faults.is_empty() && !row.layout.has(Column::Amount) {
            return;
        }
        let money = money::read(row, values, &self.stated);
        if let Some(money) = self.keep(money) {
            self.data.insert(AMOUNT_FIELD.to_owned(), Value::from(money.units));
            self.data
                .insert("currency".to_owned(), Value::String(money.currency.code().to_owned()));
            self.rounded = money.rounded;
        }
    }

    fn finish(self, row: &Row<'_>) -> Result<Facts, Vec<RowFault>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let is_large = || serde_json::to_vec(&self.data).is_ok_and(|text| text.len() > MAX_DATA_BYTES);
        if row.record.size() > MAX_DATA_BYTES / 8 && is_large() {
            let message = format!("the row's data have over {MAX_DATA_BYTES} bytes");
            return Err(vec![RowFault::of_row("row_too_large", message)]);
        }
        Ok(Facts {
            id: self.id,
            data: self.data,
            day: self.day,
            rounded: self.rounded,
        })
    }
}

/// The row's own id, or one of something else: that must be one which that thing can have.
fn read_id(cell: &Cell<'_>) -> Result<AggregateId, RowFault> {
    AggregateId::try_from(cell.text.to_owned()).map_err(|fault| {
        let code = match fault {
            TextFault::NotNormal => fault.code(),
            _ => "invalid_id",
        };
        cell.fault(code, fault.to_string())
    })
}

fn read_email(cell: &Cell<'_>) -> Result<Value, RowFault> {
    if EmailAddress::is_valid(cell.text) {
        Ok(Value::from(cell.text))
    } else {
        Err(cell.fault("invalid_email", "is no email address"))
    }
}

fn read_date(cell: &Cell<'_>, values: &Values) -> Result<NaiveDate, RowFault> {
    values
        .date_format
        .parse(cell.text)
        .map_err(|fault| cell.fault(fault.code, fault.message))
}

fn read_quantity(cell: &Cell<'_>, values: &Values) -> Result<Decimal, RowFault> {
    number::parse(cell.text, values.decimal).map_err(|fault| unusable_number(cell, fault, "invalid_quantity"))
}

/// An amount of money, in whatever currency.
pub(crate) fn read_amount(cell: &Cell<'_>, values: &Values) -> Result<Amount, RowFault> {
    Amount::parse(cell.text, values.decimal).map_err(|fault| unusable_number(cell, fault, "invalid_amount"))
}

fn unusable_number(cell: &Cell<'_>, fault: NumberFault, form: &'static str) -> RowFault {
    match fault {
        NumberFault::Form => cell.fault(
            form,
            "is no number that can be read; say decimal= where a comma is the decimal mark",
        ),
        NumberFault::Digits => cell.fault("too_many_digits", "has more digits than can be kept exactly"),
    }
}

/// Without a float in between: the digits are the number.
fn json_number(number: Decimal) -> Value {
    number
        .normalize()
        .to_string()
        .parse::<Number>()
        .map_or(Value::Null, Value::Number)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
