//! Dates: ISO 8601, or what the upload declares. What could be two days is an error and never a guess.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};

/// How dates are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum DateFormat {
    /// `2018-11-08`
    #[default]
    Iso,
    /// By a strftime pattern.
    Pattern(String),
}

/// Why a text is no date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DateFault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl DateFormat {
    /// The format of a strftime pattern; none where it cannot tell one day from all others.
    pub(crate) fn from_pattern(pattern: &str) -> Option<Self> {
        let days = [(2017, 3, 28), (1998, 12, 5)];
        let tells = |(year, month, day)| {
            let date = NaiveDate::from_ymd_opt(year, month, day)?;
            let mut text = String::new();
            write!(text, "{}", date.and_hms_opt(0, 0, 0)?.format(pattern)).ok()?;
            (NaiveDate::parse_from_str(&text, pattern).ok()? == date).then_some(())
        };
        days.into_iter()
            .all(|day| tells(day).is_some())
            .then(|| Self::Pattern(pattern.to_owned()))
    }

    /// Reads a date.
    pub(crate) fn parse(&self, text: &str) -> Result<NaiveDate, DateFault> {
        let date = match self {
            Self::Iso => parse_iso(text)?,
            Self::Pattern(pattern) => NaiveDate::parse_from_str(text, pattern)
                .map_err(|_| invalid(format!("is no date of the form {pattern}")))?,
        };
        // Years of four digits are what a date in JSON can say.
        if (1000..=9999).contains(&date.year()) {
            Ok(date)
        } else {
            Err(invalid("is not between the years 1000 and 9999"))
        }
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
    if text.len() == 10 && text.bytes().enumerate().all(shape) {
        return NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| invalid("is no day of the calendar"));
    }
    if is_ambiguous(text) {
        let message = "could be two days: say date_format=%m/%d/%Y, %d/%m/%Y or alike".to_owned();
        return Err(DateFault {
            code: "ambiguous_date",
            message,
        });
    }
    Err(invalid(
        "is no date of the form YYYY-MM-DD: say date_format= where dates are written otherwise",
    ))
}

/// Day and month in an order that nobody told.
fn is_ambiguous(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['/', '-', '.', ' ']).collect();
    let number = |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let could_be_month = |part: &str| part.len() <= 2 && part.parse().is_ok_and(|n: u32| (1..=12).contains(&n));
    parts.len() == 3 && parts.iter().all(number) && could_be_month(parts[0]) && could_be_month(parts[1])
}

fn invalid(message: impl Into<String>) -> DateFault {
    DateFault {
        code: "invalid_date",
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
            "2018-11-08T00:00:00",
            "٢٠١٨-١١-٠٨",
            "0999-01-01",
            "0000-01-01",
        ] {
            assert_eq!(iso(text), Err("invalid_date"), "{text}");
        }
    }

    #[test]
    fn ambiguous_dates_are_never_guessed() {
        for text in ["11/8/2018", "8.11.18", "08-11-2018", "1 2 2018", "12/12/2018"] {
            assert_eq!(iso(text), Err("ambiguous_date"), "{text}");
        }
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
    fn patterns_must_tell_a_day() {
        for pattern in ["", "%Y", "%m/%d", "%Q", "%", "%H:%M", "%Y-%m", "date", "%Y-%m-%d %z"] {
            assert_eq!(DateFormat::from_pattern(pattern), None, "{pattern}");
        }
    }
}
