//! The money of a row: its amount, or its price times its quantity, in minor units of its currency.

use annals::domain::money;
use iso_currency::Currency;
use rust_decimal::Decimal;

use crate::amount::{self, Amount, UnitsFault};
use crate::columns::Column;
use crate::facts::read_amount;
use crate::number;
use crate::options::{Rounding, Values};
use crate::row::{Cell, Row, RowFault};

/// What other cells of the row say that bears on its money.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stated {
    pub(crate) quantity: Option<Decimal>,
    pub(crate) price: Option<Amount>,
    pub(crate) currency: Option<Currency>,
}

/// An amount in minor units.
pub(crate) struct Money {
    pub(crate) units: i64,
    pub(crate) currency: Currency,
    /// Whether it was finer than a minor unit.
    pub(crate) rounded: bool,
}

/// What was paid, and the cell that it is to be blamed on.
struct Total<'a> {
    cell: Cell<'a>,
    amount: Amount,
}

/// Reads the row's money.
///
/// # Errors
/// No amount, none that can be kept exactly, or one of another currency than is declared.
pub(crate) fn read(row: &Row<'_>, values: &Values, stated: &Stated) -> Result<Money, RowFault> {
    let Total { cell, amount } = read_total(row, values, stated)?;
    let mismatch = |cell: &Cell<'_>, assumed: Currency| {
        cell.fault(
            "currency_mismatch",
            format!(
                "is not written in {}: say currency=, or fill the column",
                assumed.code()
            ),
        )
    };
    let declared = stated.currency.or(values.currency);
    let currency = amount.currency(declared).map_err(|assumed| mismatch(&cell, assumed))?;
    if let (Some(price), Some(cell)) = (stated.price, row.cell(Column::UnitPrice)) {
        price
            .currency(Some(currency))
            .map_err(|assumed| mismatch(&cell, assumed))?;
    }
    let units = amount::minor_units(amount.number, currency).map_err(|fault| match fault {
        UnitsFault::Digits => cell.fault("too_many_digits", "has more digits than can be rounded exactly"),
        UnitsFault::Range => cell.fault("amount_out_of_range", "is too large"),
    })?;
    if units.rounded && values.rounding == Rounding::Reject {
        return Err(cell.fault(
            "amount_too_fine",
            format!("is finer than a minor unit of {}", currency.code()),
        ));
    }
    Ok(Money {
        units: units.units,
        currency,
        rounded: units.rounded,
    })
}

/// A currency's code, in whatever case.
pub(crate) fn read_currency(cell: &Cell<'_>) -> Result<Currency, RowFault> {
    money::currency(&cell.text.to_ascii_uppercase())
        .ok_or_else(|| cell.fault("unknown_currency", "is no ISO 4217 code"))
}

fn read_total<'a>(row: &Row<'a>, values: &Values, stated: &Stated) -> Result<Total<'a>, RowFault> {
    if row.layout.has(Column::Amount) {
        let cell = row.required(Column::Amount)?;
        return Ok(Total {
            cell,
            amount: read_amount(&cell, values)?,
        });
    }
    row.required(Column::Quantity)?;
    let cell = row.required(Column::UnitPrice)?;
    let (Some(quantity), Some(price)) = (stated.quantity, stated.price) else {
        return Err(cell.fault("required", "is required"));
    };
    let product = number::multiply(price.number, quantity).ok_or_else(|| {
        cell.fault(
            "too_many_digits",
            "times quantity has more digits than can be kept exactly",
        )
    })?;
    Ok(Total {
        cell,
        amount: Amount {
            number: product,
            symbol: price.symbol,
        },
    })
}
