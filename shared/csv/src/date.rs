//! Dates: ISO 8601, or the format that the upload declares. A date that could mean two days is an error; no order is guessed.

use std::fmt::{self, Write};

use chrono::format::{Fixed, Item, Numeric, Parsed, StrftimeItems, parse_and_remainder};
use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, NaiveDateTime};

use crate::zone::Zone;

/// What declares the numbers of a spreadsheet.
const SERIAL: &str = "excel";

/// What a text is that is not of the form without a declaration.
const NOT_ISO: &str = "is not a date of the form YYYY-MM-DD";

/// What is wrong with a time whose offset is not known, if days are those of a zone.
const NAMED_ZONE: &str = "names its time zone, which says no offset, so timezone= cannot be used: leave it out, and the day is the one written";

/// Code of a text that is no date.
const INVALID_DATE: &str = "invalid_date";

/// Code of a date that could be two days.
pub const AMBIGUOUS_DATE: &str = "ambiguous_date";

/// The format of dates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DateFormat {
    /// `2018-11-08`, also with a time after it, as in RFC 3339. The day is the one that is written, whatever the offset.
    #[default]
    Iso,
    /// By a strftime pattern.
    Pattern(Pattern),
    /// A spreadsheet's number of a day, counted from 1900.
    Serial,
}

/// A strftime pattern that determines a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    items: Vec<Item<'static>>,
}

/// Why a text is not a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFault {
    /// `invalid_date` or `ambiguous_date`.
    pub code: &'static str,
    /// The end of a sentence that begins with the column's name.
    pub message: String,
}

impl DateFormat {
    /// The format of a strftime pattern; `None` if the pattern does not determine a day.
    pub fn from_pattern(pattern: &str) -> Option<Self> {
        if pattern == SERIAL {
            return Some(Self::Serial);
        }
        let items = StrftimeItems::new(pattern).parse_to_owned().ok()?;
        let read = Pattern {
            text: pattern.to_owned(),
            items,
        };
        let days = [(2017, 3, 28), (1998, 12, 5)];
        let tells = |(year, month, day)| {
            let date = NaiveDate::from_ymd_opt(year, month, day)?;
            let mut text = String::new();
            write!(text, "{}", date.and_hms_opt(0, 0, 0)?.and_utc().format(pattern)).ok()?;
            (read.parse(&text)?.day == date).then_some(())
        };
        days.into_iter()
            .all(|day| tells(day).is_some())
            .then_some(Self::Pattern(read))
    }

    /// Whether its dates have a zone by its name, such as `PST`, which says no offset: the same name means several.
    fn has_zone_name(&self) -> bool {
        let Self::Pattern(pattern) = self else { return false };
        pattern.items.contains(&Item::Fixed(Fixed::TimezoneName))
    }

    /// The format with day and month in the other order; `None` if it does not have both as numbers.
    pub fn swapped(&self) -> Option<Self> {
        let Self::Pattern(Pattern { text, .. }) = self else {
            return None;
        };
        let (mut swapped, mut days, mut months) = (String::new(), 0, 0);
        let mut is_specifier = false;
        for c in text.chars() {
            swapped.push(match c {
                'd' | 'e' if is_specifier => {
                    days += 1;
                    'm'
                }
                'm' if is_specifier => {
                    months += 1;
                    'd'
                }
                other => other,
            });
            // `%-d` is a specifier with a flag, and `%%` a percent sign.
            is_specifier = (c == '%' && !is_specifier) || (is_specifier && matches!(c, '-' | '_' | '0'));
        }
        ((days, months) == (1, 1)).then(|| Self::from_pattern(&swapped))?
    }

    /// Reads a date: the day that is written. The fault says which other formats would read it.
    pub fn parse(&self, text: &str) -> Result<NaiveDate, DateFault> {
        self.parse_in(text, None)
    }

    /// Reads a date. In a zone, a time with an offset belongs to its day there, and the day is the one that is written otherwise.
    pub fn parse_in(&self, text: &str, zone: Option<&Zone>) -> Result<NaiveDate, DateFault> {
        let read = self.read_in(text, zone);
        read.map_err(|fault| match what_reads(text) {
            Some(hint) if fault.code == INVALID_DATE && fault.message != NAMED_ZONE => {
                invalid(format!("{}: {hint}", fault.message))
            }
            None if *self == Self::Iso && fault.message == NOT_ISO => {
                invalid(format!("{NOT_ISO}: if the file uses another form, set date_format="))
            }
            _ => fault,
        })
    }

    /// Whether a text is a date of this format.
    pub(crate) fn reads(&self, text: &str) -> bool {
        self.read_in(text, None).is_ok()
    }

    fn read_in(&self, text: &str, zone: Option<&Zone>) -> Result<NaiveDate, DateFault> {
        let written = match self {
            Self::Iso => {
                let day = parse_iso(text)?;
                let instant = zone.and_then(|_| instant_of(text.get(..10)?, &text[10..]));
                Written { day, instant }
            }
            Self::Pattern(pattern) => pattern
                .parse(text)
                .ok_or_else(|| invalid(format!("is not a date of the form {}", pattern.text)))?,
            Self::Serial => {
                let day = parse_serial(text).ok_or_else(|| invalid("is not a spreadsheet's number of a day"))?;
                Written { day, instant: None }
            }
        };
        let date = match (zone, &written.instant) {
            (Some(zone), Some(instant)) => zone.day_of(instant).unwrap_or(written.day),
            (Some(_), None) if self.has_zone_name() => return Err(invalid(NAMED_ZONE)),
            _ => written.day,
        };
        // A date in JSON has a year of four digits.
        if (1000..=9999).contains(&date.year()) {
            Ok(date)
        } else {
            Err(invalid("is not between the years 1000 and 9999"))
        }
    }
}

/// What a date says.
struct Written {
    day: NaiveDate,
    /// If it has a time and an offset.
    instant: Option<DateTime<FixedOffset>>,
}

impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iso => f.write_str("%Y-%m-%d"),
            Self::Pattern(pattern) => f.write_str(&pattern.text),
            Self::Serial => f.write_str(SERIAL),
        }
    }
}

impl Pattern {
    /// Reads a date. Numbers may lack leading zeros if a character separates them: `11/8/2018`. Numbers without a character between them
    /// need all their digits, so `2018111` is no date of `%Y%m%d`. A year of a century always has two digits.
    fn parse(&self, text: &str) -> Option<Written> {
        let (mut parsed, mut rest) = (Parsed::new(), text);
        for (place, item) in self.items.iter().enumerate() {
            let after = parse_and_remainder(&mut parsed, rest, std::iter::once(item)).ok()?;
            let is_fixed = matches!(item, Item::Numeric(Numeric::YearMod100, _)) || self.touches_number(place);
            if is_fixed && width(item).is_some_and(|width| rest.trim_start().len() - after.len() != width) {
                return None;
            }
            rest = after;
        }
        let day = rest.is_empty().then(|| parsed.to_naive_date().ok())??;
        let instant = parsed.offset().and_then(|_| parsed.to_datetime().ok());
        Some(Written { day, instant })
    }

    /// Whether the item directly before or after this one is a number.
    fn touches_number(&self, place: usize) -> bool {
        let is_number = |item: Option<&Item<'_>>| matches!(item, Some(Item::Numeric(..)));
        is_number(self.items.get(place + 1))
            || is_number(place.checked_sub(1).and_then(|before| self.items.get(before)))
    }
}

/// The day of a spreadsheet's number, which may have a time as its fraction. Day 60 is one that never was, so days before March 1900 are not read.
fn parse_serial(text: &str) -> Option<NaiveDate> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    let day: u64 = whole
        .parse()
        .ok()
        .filter(|day| *day > 60 && is_number(whole) && is_number(fraction))?;
    NaiveDate::from_ymd_opt(1899, 12, 30)?.checked_add_days(Days::new(day))
}

/// How many digits a number has with its leading zeros; `None` if that varies.
fn width(item: &Item<'_>) -> Option<usize> {
    match item {
        Item::Numeric(Numeric::Year | Numeric::IsoYear, _) => Some(4),
        Item::Numeric(Numeric::Ordinal, _) => Some(3),
        Item::Numeric(Numeric::Quarter | Numeric::NumDaysFromSun | Numeric::WeekdayFromMon, _) => Some(1),
        Item::Numeric(Numeric::Nanosecond, _) => Some(9),
        Item::Numeric(Numeric::Timestamp, _) => None,
        Item::Numeric(..) => Some(2),
        _ => None,
    }
}

fn parse_iso(text: &str) -> Result<NaiveDate, DateFault> {
    let shape = |(place, b): (usize, u8)| {
        if place == 4 || place == 7 {
            b == b'-'
        } else {
            b.is_ascii_digit()
        }
    };
    let (day, time) = text.split_at_checked(10).unwrap_or((text, ""));
    if day.len() == 10 && day.bytes().enumerate().all(shape) && (time.is_empty() || is_time(time)) {
        return NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| invalid("is not a day of the calendar"));
    }
    if is_ambiguous(text) {
        let message = "is ambiguous: set date_format, for example to %m/%d/%Y or %d/%m/%Y".to_owned();
        return Err(DateFault {
            code: AMBIGUOUS_DATE,
            message,
        });
    }
    Err(invalid(NOT_ISO))
}

/// Which values of `date_format` would read a text; `None` if none would.
fn what_reads(text: &str) -> Option<String> {
    let formats: Vec<String> = DateFormat::candidates(text).iter().map(ToString::to_string).collect();
    (!formats.is_empty()).then(|| format!("date_format={} would read it", formats.join(" or ")))
}

/// Whether the text, which follows a day, is a time: `T10:30:00.25+01:00`, `T10:30` or ` 10:30:00 Z`.
fn is_time(text: &str) -> bool {
    let day = NaiveDate::default().to_string();
    let Some(local) = text.strip_prefix(['T', 't', ' ']).map(|time| format!("{day}T{time}")) else {
        return false;
    };
    instant_of(&day, text).is_some()
        || ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .any(|form| NaiveDateTime::parse_from_str(&local, form).is_ok())
}

/// The instant of a day and of the time after it, if that has an offset.
fn instant_of(day: &str, time: &str) -> Option<DateTime<FixedOffset>> {
    let time = time.strip_prefix(['T', 't', ' '])?;
    let text = format!("{day}T{time}");
    ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f %#z"]
        .iter()
        .find_map(|form| DateTime::parse_from_str(&text, form).ok())
}

/// Whether the text is a date whose first two numbers could both be the month.
fn is_ambiguous(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['/', '-', '.', ' ']).collect();
    let number = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let could_be_month = |part: &str| part.len() <= 2 && part.parse().is_ok_and(|n: u32| (1..=12).contains(&n));
    parts.len() == 3 && parts.iter().all(number) && could_be_month(parts[0]) && could_be_month(parts[1])
}

fn invalid(message: impl Into<String>) -> DateFault {
    DateFault {
        code: INVALID_DATE,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(text: &str) -> Result<String, &'static str> {
        DateFormat::Iso
            .parse(text)
            .map(|date| date.to_string())
            .map_err(|fault| fault.code)
    }

    #[test]
    fn iso_dates_need_no_declaration() {
        assert_eq!(iso("2018-11-08").as_deref(), Ok("2018-11-08"));
        assert_eq!(iso("2024-02-29").as_deref(), Ok("2024-02-29"));
        for text in [
            "2024-02-30",
            "2023-02-29",
            "2024-13-01",
            "13/25/2018",
            "",
            "yesterday",
            "2018-11-8",
            "+2018-11-08",
            "20181108",
            "2018-11-08T",
            "2018-11-08T25:00:00",
            "2018-11-08x10:00:00",
            "2018-11-08 10",
            "٢٠١٨-١١-٠٨",
            "0999-01-01",
            "0000-01-01",
        ] {
            assert_eq!(iso(text), Err("invalid_date"), "{text}");
        }
    }

    #[test]
    fn a_time_after_the_day_changes_nothing() {
        for time in [
            "T00:00:00",
            "T23:59:59.999",
            "T23:30:00Z",
            "T23:30:00+05:30",
            "T01:00:00-0800",
            " 10:30",
            " 10:30:00 +0200",
        ] {
            assert_eq!(iso(&format!("2018-11-08{time}")).as_deref(), Ok("2018-11-08"), "{time}");
        }
    }

    #[test]
    fn in_a_zone_times_with_an_offset_belong_to_their_day_there() {
        let berlin = Zone::named("Europe/Berlin").expect("a zone");
        for (pattern, text, day) in [
            ("%Y-%m-%d", "2026-01-31T23:30:00Z", Ok("2026-02-01")),
            ("%Y-%m-%d", "2026-01-31 23:30:00 -0500", Ok("2026-02-01")),
            ("%Y-%m-%d", "2026-01-31T23:30:00", Ok("2026-01-31")),
            ("%Y-%m-%d", "2026-01-31", Ok("2026-01-31")),
            ("%d.%m.%Y %H:%M %z", "31.01.2026 23:30 +0000", Ok("2026-02-01")),
            ("%d.%m.%Y %H:%M", "31.01.2026 23:30", Ok("2026-01-31")),
            ("%d.%m.%Y %H:%M %Z", "31.01.2026 23:30 PST", Err(NAMED_ZONE)),
            ("excel", "46053.99", Ok("2026-01-31")),
        ] {
            let format = match pattern {
                "%Y-%m-%d" => DateFormat::Iso,
                other => DateFormat::from_pattern(other).expect("a format"),
            };
            let found = format.parse_in(text, Some(&berlin)).map(|day| day.to_string());
            let found = found.as_deref().map_err(|fault| fault.message.as_str());
            assert_eq!(found, day, "{text}");
        }
    }

    #[test]
    fn a_pattern_may_have_an_offset() {
        for (pattern, text) in [
            ("%Y-%m-%d %H:%M:%S %z", "2021-03-27 23:30:00 +0100"),
            ("%Y-%m-%dT%H:%M:%S%:z", "2021-03-27T23:30:00-08:00"),
            ("%d.%m.%Y %H:%M %Z", "27.03.2021 23:30 CET"),
            ("%+", "2021-03-27T23:30:00.5+05:30"),
        ] {
            let format = DateFormat::from_pattern(pattern).expect(pattern);
            assert_eq!(
                format.parse(text).map(|d| d.to_string()).as_deref(),
                Ok("2021-03-27"),
                "{pattern}"
            );
        }
    }

    #[test]
    fn ambiguous_dates_are_never_guessed() {
        for text in ["11/8/2018", "8.11.18", "08-11-2018", "1 2 2018", "12/12/2018"] {
            assert_eq!(iso(text), Err("ambiguous_date"), "{text}");
        }
    }

    #[test]
    fn a_fault_says_what_would_read_the_date() {
        let hint = |pattern: &str, text: &str| {
            let format = DateFormat::from_pattern(pattern).expect(pattern);
            format.parse(text).map_err(|fault| fault.message)
        };
        for (pattern, text, said) in [
            (
                "%d/%m/%Y",
                "31/01/26",
                "is not between the years 1000 and 9999: date_format=%d/%m/%y or %y/%m/%d would read it",
            ),
            (
                "%d.%m.%Y",
                "2026-01-31",
                "is not a date of the form %d.%m.%Y: date_format=%Y-%m-%d would read it",
            ),
            ("%d.%m.%Y", "31.02.2026", "is not a date of the form %d.%m.%Y"),
        ] {
            assert_eq!(hint(pattern, text), Err(said.to_owned()));
        }
        let iso = DateFormat::Iso.parse("31/01/2026").map_err(|fault| fault.message);
        assert_eq!(
            iso,
            Err("is not a date of the form YYYY-MM-DD: date_format=%d/%m/%Y would read it".to_owned())
        );
    }

    #[test]
    fn patterns_decide() {
        let american = DateFormat::from_pattern("%m/%d/%Y").expect("a pattern");
        assert_eq!(
            american.parse("11/8/2018").map(|d| d.to_string()).as_deref(),
            Ok("2018-11-08")
        );
        assert!(american.parse("13/8/2018").is_err());
        assert!(american.parse("11/8/20018").is_err());
        assert!(american.parse("2018-11-08").is_err());
        let with_time = DateFormat::from_pattern("%d.%m.%y %H:%M").expect("a pattern");
        assert_eq!(
            with_time.parse("08.11.18 14:30").map(|d| d.to_string()).as_deref(),
            Ok("2018-11-08")
        );
        assert!(DateFormat::from_pattern("%b %e, %Y").is_some());
    }

    #[test]
    fn numbers_that_touch_are_told_apart_by_their_widths_alone() {
        for (pattern, right, wrong) in [
            (
                "%Y%m%d",
                "20181108",
                &["2018111", "201811", "2018118", "20181 8", "2018110", "020181108"][..],
            ),
            ("%d%m%y", "081118", &["11118", "81118", " 81118", "08111", "0811018"]),
            ("%d%m%Y", "08112018", &["8112018", "0811201", "0811018"]),
            ("%Y%j", "2018312", &["201831", "20183 12"]),
            ("%d.%m.%y", "8.11.18", &["8.11.8", "8.11. 8", "08.11.2018"]),
            ("%Y%m%d %H:%M", "20181108 9:30", &["2018118 9:30", "2018111 09:30"]),
        ] {
            let format = DateFormat::from_pattern(pattern).expect(pattern);
            assert_eq!(
                format.parse(right).map(|d| d.to_string()).as_deref(),
                Ok("2018-11-08"),
                "{pattern}"
            );
            for text in wrong {
                let code = format.parse(text).map_err(|fault| fault.code);
                assert_eq!(code, Err("invalid_date"), "{pattern} {text:?}");
            }
        }
        assert_eq!(DateFormat::from_pattern("%-d%-m%Y"), None);
    }

    #[test]
    fn numbers_of_spreadsheets_are_days() {
        let format = DateFormat::from_pattern("excel").expect("a format");
        for (text, day) in [
            ("46053", Some("2026-01-31")),
            ("46053.75", Some("2026-01-31")),
            ("61", Some("1900-03-01")),
        ] {
            assert_eq!(
                format.parse(text).ok().map(|day| day.to_string()).as_deref(),
                day,
                "{text}"
            );
        }
        for text in ["60", "-1", "1e5", "46053.x", "99999999", "", "2026-01-31"] {
            assert!(format.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn day_and_month_can_be_swapped() {
        for (pattern, swapped) in [
            ("%d.%m.%Y", Some("%m.%d.%Y")),
            ("%-m/%e/%y %H:%M", Some("%-d/%m/%y %H:%M")),
            ("day %d, %m %Y", Some("day %m, %d %Y")),
            ("%Y-%m-%d", Some("%Y-%d-%m")),
            ("%d %b %Y", None),
            ("%F", None),
        ] {
            let format = DateFormat::from_pattern(pattern).expect(pattern);
            let found = format.swapped().map(|format| format.to_string());
            assert_eq!(found.as_deref(), swapped, "{pattern}");
        }
        assert_eq!(DateFormat::Iso.swapped(), None);
    }

    #[test]
    fn patterns_must_tell_a_day() {
        for pattern in ["", "%Y", "%m/%d", "%Q", "%", "%H:%M", "%Y-%m", "date", "%H:%M %z"] {
            assert_eq!(DateFormat::from_pattern(pattern), None, "{pattern}");
        }
    }
}
