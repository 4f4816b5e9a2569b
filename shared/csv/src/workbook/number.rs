//! Numbers, dates and times of cells as text. All arithmetic is decimal, on the digits that the file has.

use std::str::FromStr;

use chrono::{Days, NaiveDate};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::format::CellFormat;

/// Digits that a spreadsheet shows of a number. Files have the binary number with up to 17: 12.1 may be written as 12.100000000000001.
const DIGITS: u32 = 15;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// A number in its shortest form: `12.1`, `1200`. A text that is no decimal number stays as it is.
pub(super) fn number_text(written: &str) -> String {
    let written = written.trim();
    let digits = written.strip_prefix('-').unwrap_or(written);
    // A whole number that is written with all its digits may be a long id.
    if !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return written.to_owned();
    }
    let Some(rounded) = decimal(written).and_then(|number| number.round_sf(DIGITS)) else {
        return written.to_owned();
    };
    match rounded.is_zero() {
        true => "0".to_owned(),
        false => rounded.normalize().to_string(),
    }
}

fn decimal(written: &str) -> Option<Decimal> {
    Decimal::from_str(written)
        .or_else(|_| Decimal::from_scientific(written))
        .ok()
}

/// The number of an .xlsx file as what its format says: a day `2026-03-31`, a day with a time `2026-03-31T10:30:00`, a time `10:30:00`, or a
/// number. Days are counted from 1900 or 1904.
pub(super) fn serial_text(written: &str, format: CellFormat, counts_from_1904: bool) -> String {
    let moment = || {
        let number = decimal(written.trim())?;
        let milliseconds = number.checked_mul(Decimal::from(DAY))?;
        let milliseconds = milliseconds.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
        let milliseconds = milliseconds.to_i64().filter(|n| *n >= 0)?;
        match format {
            CellFormat::Number => None,
            CellFormat::Elapsed => Some(time_text(milliseconds)),
            CellFormat::Date | CellFormat::Time => {
                let (day, time) = (milliseconds / DAY, milliseconds % DAY);
                if day == 0 && (format == CellFormat::Time || !counts_from_1904) {
                    return Some(time_text(time));
                }
                let day = day_text(day, counts_from_1904)?;
                Some(match time {
                    0 => day,
                    time => format!("{day}T{}", time_text(time)),
                })
            }
        }
    };
    moment().unwrap_or_else(|| number_text(written))
}

/// The day with a number; `None` if it is after the year 9999.
fn day_text(day: i64, counts_from_1904: bool) -> Option<String> {
    let (year, month, first, day) = match (counts_from_1904, day) {
        (true, day) => (1904, 1, 1, day),
        // Excel counts the 29th of February 1900, which did not exist. Nothing else would show what the cell shows.
        (false, 60) => return Some("1900-02-29".to_owned()),
        (false, 1..60) => (1899, 12, 31, day),
        (false, day) => (1899, 12, 30, day),
    };
    let first = NaiveDate::from_ymd_opt(year, month, first)?;
    let date = first.checked_add_days(Days::new(u64::try_from(day).ok()?))?;
    (date <= NaiveDate::from_ymd_opt(9999, 12, 31)?).then(|| date.to_string())
}

/// Hours, minutes and seconds, and the milliseconds if there are any.
fn time_text(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match rest {
        0 => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        rest => format!("{hours:02}:{minutes:02}:{seconds:02}.{rest:03}"),
    }
}

/// A date that is written as ISO 8601, without a time that is midnight, without fractions of a second that are zero, and without the `Z`,
/// because a cell has no time zone.
pub(super) fn iso_text(written: &str) -> String {
    let written = written.trim();
    let Some((day, time)) = written.split_once('T') else {
        return written.to_owned();
    };
    let time = time.trim_end_matches('Z');
    let time = match time.split_once('.') {
        Some((seconds, fraction)) if fraction.bytes().all(|digit| digit == b'0') => seconds,
        _ => time,
    };
    match time {
        "00:00:00" | "00:00" => day.to_owned(),
        time => format!("{day}T{time}"),
    }
}

/// A duration as .ods files have it, `PT10H30M00S`, as `10:30:00`. Any other text stays as it is.
pub(super) fn duration_text(written: &str) -> String {
    let read = || {
        let (hours, rest) = written.trim().strip_prefix("PT")?.split_once('H')?;
        let (minutes, rest) = rest.split_once('M')?;
        let seconds = Decimal::from_str(rest.strip_suffix('S')?).ok()?;
        let minutes = hours
            .parse::<i64>()
            .ok()?
            .checked_mul(60)?
            .checked_add(minutes.parse().ok()?)?;
        let milliseconds = seconds.checked_mul(Decimal::from(1000))?.round().to_i64()?;
        let milliseconds = minutes.checked_mul(60_000)?.checked_add(milliseconds)?;
        (milliseconds >= 0).then(|| time_text(milliseconds))
    };
    read().unwrap_or_else(|| written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_a_spreadsheet_shows() {
        for (written, text) in [
            ("12.1", "12.1"),
            ("12.100000000000001", "12.1"),
            ("0.30000000000000004", "0.3"),
            ("2999.9999999999995", "3000"),
            ("1200", "1200"),
            ("1200.0", "1200"),
            ("-7.50", "-7.5"),
            ("1.2E3", "1200"),
            ("1.2300000000000001E-2", "0.0123"),
            ("1.23456789012345E+17", "123456789012345000"),
            ("9007199254740993", "9007199254740993"),
            ("0", "0"),
            ("-0", "0"),
            ("0.1", "0.1"),
            ("1E+300", "1E+300"),
            ("", ""),
            ("a", "a"),
        ] {
            assert_eq!(number_text(written), text, "{written}");
        }
    }

    #[test]
    fn serials_are_days_and_times() {
        use CellFormat::{Date, Elapsed, Number, Time};
        for (written, format, text) in [
            ("46112", Date, "2026-03-31"),
            ("46112.4375", Date, "2026-03-31T10:30:00"),
            // 9:36, as a spreadsheet stores it.
            ("46112.400000000001", Date, "2026-03-31T09:36:00"),
            ("46111.999999999999", Date, "2026-03-31"),
            ("46112.0000115741", Date, "2026-03-31T00:00:01"),
            ("0.4375", Time, "10:30:00"),
            ("46112.4375", Time, "2026-03-31T10:30:00"),
            ("1.5", Elapsed, "36:00:00"),
            ("59", Date, "1900-02-28"),
            ("60", Date, "1900-02-29"),
            ("61", Date, "1900-03-01"),
            ("1", Date, "1900-01-01"),
            ("2958465", Date, "9999-12-31"),
            ("2958466", Date, "2958466"),
            ("1E300", Date, "1E300"),
            ("-1", Date, "-1"),
            ("46112", Number, "46112"),
        ] {
            assert_eq!(serial_text(written, format, false), text, "{written}");
        }
        assert_eq!(serial_text("44650", Date, true), "2026-03-31");
        assert_eq!(serial_text("0", Date, true), "1904-01-01");
    }

    #[test]
    fn texts_of_dates_and_times_lose_what_is_zero() {
        for (written, text) in [
            ("2026-03-31", "2026-03-31"),
            ("2026-03-31T00:00:00", "2026-03-31"),
            ("2026-03-31T00:00:00.000Z", "2026-03-31"),
            ("2026-03-31T10:30:00.000000000", "2026-03-31T10:30:00"),
            ("2026-03-31T10:30:00.25", "2026-03-31T10:30:00.25"),
        ] {
            assert_eq!(iso_text(written), text, "{written}");
        }
        assert_eq!(duration_text("PT10H30M00S"), "10:30:00");
        assert_eq!(duration_text("PT26H05M01.500S"), "26:05:01.500");
        assert_eq!(duration_text("P1D"), "P1D");
    }

    #[test]
    fn durations_of_any_length_are_text() {
        for (written, text) in [
            ("PT10H30M00S", "10:30:00"),
            (
                "PT0H0M79228162514264337593543950335S",
                "PT0H0M79228162514264337593543950335S",
            ),
            ("PT9223372036854775807H0M0S", "PT9223372036854775807H0M0S"),
        ] {
            assert_eq!(duration_text(written), text);
        }
    }
}
