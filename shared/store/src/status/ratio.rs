//! Rates and shares as exact decimals, so that JSON shows `0.0167` and not a long binary fraction.

use rust_decimal::Decimal;
use serde::ser::Error;
use serde::{Serialize, Serializer};

/// The quotient of two counts, rounded to four decimal places. In JSON: a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(Decimal);

impl Ratio {
    /// The quotient; `None` if `whole` is 0.
    pub(crate) fn of(part: i64, whole: i64) -> Option<Self> {
        let quotient = Decimal::from(part).checked_div(Decimal::from(whole))?;
        Some(Self(quotient.round_dp(4).normalize()))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: serde_json::Number = self.0.to_string().parse().map_err(S::Error::custom)?;
        number.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_written_as_people_write_them() {
        let written = |part, whole| serde_json::to_string(&Ratio::of(part, whole)).expect("JSON");
        assert_eq!(written(1, 60), "0.0167");
        assert_eq!(written(3, 3), "1");
        assert_eq!(written(0, 7), "0");
        assert_eq!(written(120_000, 60), "2000");
        assert_eq!(written(9_999, 10_000), "0.9999");
        assert_eq!(written(0, 0), "null");
    }
}
