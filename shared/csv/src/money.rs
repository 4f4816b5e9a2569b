//! The money of a row: its amount, or its price times its quantity, in minor units of its currency.

use iso_currency::Currency;
use rust_decimal::Decimal;

use crate::amount::{self, Amount, UnitsFault};
use crate::cells::read_amount;
use crate::columns::Column;
use crate::fault::RowFault;
use crate::number;
use crate::options::{Rounding, ValueOptions};
use crate::row::{Cell, Row};

/// Values of the row's other cells, on which its money depends. A value is absent if the cell is empty or cannot be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stated {
    /// The quantity, by which the price is multiplied.
    pub quantity: Option<Decimal>,
    /// The price of one unit.
    pub price: Option<Amount>,
    /// The row's own currency.
    pub currency: Option<Currency>,
}

/// An amount in minor units.
pub struct Money {
    /// Minor units, e.g. cents.
    pub units: i64,
    /// The currency of the row, of the upload, or USD.
    pub currency: Currency,
    /// Whether the amount had fractions of a minor unit and was rounded.
    pub rounded: bool,
}

/// The amount that was paid, and the cell that faults of it name.
struct Total<'a> {
    cell: Cell<'a>,
    amount: Amount,
}

/// Reads the row's money.
///
/// # Errors
/// There is no amount; it cannot be stored exactly; or its symbol is that of another currency than the declared one.
pub fn read(row: &Row<'_>, values: &ValueOptions, stated: &Stated) -> Result<Money, RowFault> {
    let Total { cell, amount } = read_total(row, values, stated)?;
    let mismatch = |cell: &Cell<'_>, assumed: Currency| {
        cell.fault(
            "currency_mismatch",
            format!(
                "has the sign of another currency than {}: set currency=, or fill in the column currency",
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
            format!("has more decimals than {} allows", currency.code()),
        ));
    }
    Ok(Money {
        units: units.units,
        currency,
        rounded: units.rounded,
    })
}

fn read_total<'a>(row: &Row<'a>, values: &ValueOptions, stated: &Stated) -> Result<Total<'a>, RowFault> {
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
            "times quantity has more digits than can be stored exactly",
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
