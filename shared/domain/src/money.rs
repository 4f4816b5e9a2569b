//! Money: whole minor units of an ISO 4217 currency, computed from decimal text by decimal arithmetic.

use iso_currency::Currency;
use rust_decimal::{Decimal, RoundingStrategy};

/// An amount in minor units of a currency, such as cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinorUnits {
    /// The number of minor units.
    pub units: i64,
    /// Whether the amount was finer than a minor unit and was rounded, half away from zero.
    pub rounded: bool,
}

/// The ISO 4217 currency with this code. The code is in upper case.
pub fn currency(code: &str) -> Option<Currency> {
    Currency::from_code(code)
}

/// The amount in minor units (2 decimals for USD, 0 for JPY, 3 for KWD). `None` if it does not fit into 64 bits. A currency without minor
/// units (gold, test codes) has 0 decimals.
pub fn to_minor_units(amount: Decimal, currency: Currency) -> Option<MinorUnits> {
    let exponent = u32::from(currency.exponent().unwrap_or(0));
    let scaled = amount.checked_mul(Decimal::from(10_u64.checked_pow(exponent)?))?;
    let whole = scaled.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
    Some(MinorUnits {
        units: i64::try_from(whole).ok()?,
        rounded: whole != scaled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(amount: &str, code: &str) -> Option<(i64, bool)> {
        let amount: Decimal = amount.parse().expect("a decimal");
        to_minor_units(amount, currency(code)?).map(|m| (m.units, m.rounded))
    }

    #[test]
    fn amounts_become_whole_minor_units_half_away_from_zero() {
        assert_eq!(minor("261.96", "USD"), Some((26196, false)));
        assert_eq!(minor("957.5775", "USD"), Some((95758, true)));
        assert_eq!(minor("0.005", "USD"), Some((1, true)));
        assert_eq!(minor("-0.005", "USD"), Some((-1, true)));
        assert_eq!(minor("0.0049999999", "USD"), Some((0, true)));
        assert_eq!(minor("12.50", "JPY"), Some((13, true)));
        assert_eq!(minor("1.234", "KWD"), Some((1234, false)));
        assert_eq!(minor("100000000000000000", "USD"), None);
        assert_eq!(minor("1", "XYZ"), None);
    }
}
