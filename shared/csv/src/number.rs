//! Numbers as people write them, to exact decimals: `1,234.50`, `1.234,50`, `1 234,50`, `12,34,567.50`.
//!
//! Group separators are checked and not just removed: if the decimal mark is a point, `12,5` is an error and not 125.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The character before the fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecimalMark {
    /// `1,234.50`
    Point,
    /// `1.234,50`
    Comma,
}

/// Why a text is not a number that can be stored exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberFault {
    /// It is not written like a number.
    Form,
    /// It has more digits than can be stored exactly.
    Digits,
    /// It is one number with a decimal point and another one with a decimal comma.
    Ambiguous,
}

impl DecimalMark {
    fn mark(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    /// Whether the character may separate groups of digits.
    fn groups_with(self, c: char) -> bool {
        match c {
            ',' => self == Self::Point,
            '.' => self == Self::Comma,
            // Space, no-break space, narrow no-break space, and the Swiss apostrophes.
            ' ' | '\u{A0}' | '\u{202F}' | '\'' | '\u{2019}' => true,
            _ => false,
        }
    }
}

/// Splits a leading sign off; returns whether it is a minus, and the rest.
pub fn take_sign(text: &str) -> (Option<bool>, &str) {
    match text.chars().next() {
        Some(sign @ ('-' | '\u{2212}')) => (Some(true), text[sign.len_utf8()..].trim_start()),
        Some('+') => (Some(false), text[1..].trim_start()),
        _ => (None, text),
    }
}

/// Reads a number without a sign, with all its digits.
pub fn parse_unsigned(text: &str, mark: DecimalMark) -> Result<Decimal, NumberFault> {
    let (whole, fraction) = match text.split_once(mark.mark()) {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(NumberFault::Form),
        None if text.is_empty() => return Err(NumberFault::Form),
        None => (text, ""),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberFault::Form);
    }
    let whole = ungroup(whole, mark).ok_or(NumberFault::Form)?;
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let plain = if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    };
    // `from_str` would round a number of more than about 28 digits.
    Decimal::from_str_exact(&plain).map_err(|_| NumberFault::Digits)
}

/// Reads a number with or without a sign.
pub fn parse(text: &str, mark: DecimalMark) -> Result<Decimal, NumberFault> {
    let (negative, digits) = take_sign(text.trim());
    let number = parse_unsigned(digits, mark)?;
    Ok(if negative == Some(true) { negate(number) } else { number })
}

/// The negative number; zero has no sign.
pub fn negate(number: Decimal) -> Decimal {
    if number.is_zero() { number } else { -number }
}

/// The product, if all its digits can be stored.
pub fn multiply(a: Decimal, b: Decimal) -> Option<Decimal> {
    let (a, b) = (a.normalize(), b.normalize());
    let product = a.mantissa().checked_mul(b.mantissa())?;
    Decimal::try_from_i128_with_scale(product, a.scale() + b.scale())
        .ok()
        .map(|product| product.normalize())
}

/// The digits of a whole part, without group separators. Each group after the first must have three digits or, as in India, two and the
/// last one three. A grouped number must not begin with zero: `0,125` is probably one eighth, with a decimal mark that was not declared.
fn ungroup(text: &str, mark: DecimalMark) -> Option<String> {
    let Some(separator) = text.chars().find(|c| !c.is_ascii_digit()) else {
        return Some(text.to_owned());
    };
    if !mark.groups_with(separator) {
        return None;
    }
    let groups: Vec<&str> = text.split(separator).collect();
    let (first, rest) = groups.split_first()?;
    let (last, middle) = rest.split_last()?;
    let digits = groups
        .iter()
        .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    let of = |size: usize| middle.iter().all(|group| group.len() == size);
    let regular = (first.len() <= 3 && of(3)) || (first.len() <= 2 && of(2));
    (digits && last.len() == 3 && regular && !first.starts_with('0')).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(text: &str) -> Result<String, NumberFault> {
        parse(text, DecimalMark::Point).map(|number| number.to_string())
    }

    fn comma(text: &str) -> Result<String, NumberFault> {
        parse(text, DecimalMark::Comma).map(|number| number.to_string())
    }

    #[test]
    fn numbers_are_read_as_written() {
        for (text, number) in [
            ("0", "0"),
            ("-0", "0"),
            ("007", "7"),
            ("957.5775", "957.5775"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("+3", "3"),
            ("1.50", "1.5"),
            ("\u{2212}2", "-2"),
            ("1,234.50", "1234.5"),
            ("1,234,567", "1234567"),
            ("12,34,567.5", "1234567.5"),
            ("1 234.5", "1234.5"),
            ("1'234.5", "1234.5"),
            ("1\u{A0}234", "1234"),
            ("1.0000000000000000000000000000000000", "1"),
            ("7922816251426433759354395033.5", "7922816251426433759354395033.5"),
        ] {
            assert_eq!(point(text).as_deref(), Ok(number), "{text}");
        }
        for (text, number) in [
            ("1.234,50", "1234.5"),
            ("1234,5", "1234.5"),
            ("1.234", "1234"),
            ("1 234 567,25", "1234567.25"),
        ] {
            assert_eq!(comma(text).as_deref(), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "5.",
            "1,5",
            "1,23",
            "12,3456",
            "1,234,56",
            ",123",
            "1,,234",
            "1,234 567",
            "1.2.3",
            "1e3",
            "1e309",
            "NaN",
            "inf",
            "٣",
            "１",
            "0x1",
            "--1",
            "=1+1",
            "1 2",
            "1_000",
            "1234,567",
            "0,125",
            "-0,500",
            "00,125",
            "0 125",
            "0,125.5",
            "012,345",
        ] {
            assert_eq!(point(text), Err(NumberFault::Form), "{text}");
        }
        for text in ["1,234.50", "12.50", "1.2345", "0.125", "-0.500", "0.125,5"] {
            assert_eq!(comma(text), Err(NumberFault::Form), "{text}");
        }
    }

    #[test]
    fn digits_that_cannot_be_kept_are_refused_and_never_rounded() {
        for text in [
            "0.00000000000000000000000000001",
            "99999999999999999999999999999999",
            "79228162514264337593543950335.5",
        ] {
            assert_eq!(point(text), Err(NumberFault::Digits), "{text}");
        }
        let decimal = |text: &str| parse(text, DecimalMark::Point).expect("a number");
        assert_eq!(multiply(decimal("1.25"), decimal("-4")), Some(decimal("-5")));
        assert_eq!(
            multiply(decimal("0.000000000000001"), decimal("0.00000000000001")),
            None
        );
        assert_eq!(multiply(decimal("100000000000000"), decimal("10000000000000000")), None);
    }
}
