//! The formats that a date could be written in.

use std::sync::LazyLock;

use crate::date::DateFormat;

/// Maximum length of a date with its time, in bytes.
const MAX_BYTES: usize = 40;

/// Times after a day, the most frequent first.
const TIMES: [&str; 18] = [
    " %H:%M:%S",
    " %H:%M",
    " %I:%M:%S %p",
    " %I:%M %p",
    "T%H:%M:%S",
    "T%H:%M",
    "T%H:%M:%S%:z",
    " %H:%M:%S %z",
    " %H:%M:%S %:z",
    " %H:%M %z",
    ", %H:%M:%S",
    ", %H:%M",
    ", %I:%M:%S %p",
    ", %I:%M %p",
    " %H:%M:%S %Z",
    " %I:%M:%S %p %Z",
    ", %I:%M:%S %p %Z",
    " %H:%M %Z",
];

/// The orders of year, month and day, whatever separates them.
const ORDERS: [&str; 8] = [
    "%d %m %Y", "%m %d %Y", "%Y %m %d", "%d %m %y", "%m %d %y", "%y %m %d", "%d %B %Y", "%d %B %y",
];

/// A format, and what the texts have that it can fit.
struct Known {
    /// The character after the first number or word; `None`: digits only.
    separator: Option<char>,
    begins_with_word: bool,
    has_time: bool,
    has_zone: bool,
    format: DateFormat,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let mut known = Vec::new();
    let mut add = |separator: Option<char>, day: &str| {
        for time in [""].into_iter().chain(TIMES) {
            known.extend(DateFormat::from_pattern(&format!("{day}{time}")).map(|format| Known {
                separator,
                begins_with_word: day.starts_with("%B"),
                has_time: !time.is_empty(),
                has_zone: time.ends_with("%Z"),
                format,
            }));
        }
    };
    for separator in ['/', '-', '.', ' '] {
        let s = separator;
        let of_words: &[&str] = match separator {
            ' ' => &["%d %B, %Y", "%B %d, %Y", "%B %d %Y"],
            _ => &[],
        };
        for order in ORDERS.iter().chain(of_words) {
            add(
                Some(s),
                &order.replace(' ', &s.to_string()).replace(&format!(",{s}"), ", "),
            );
        }
    }
    for order in ["%Y%m%d", "%d%m%Y", "%m%d%Y"] {
        add(None, order);
    }
    known
});

impl DateFormat {
    /// The formats that a text could be a date of, the same for every text of that form. Empty if it is none. Points say nothing of the order:
    /// Germans write `31.01.26`, Hungarians and Koreans `26.01.31`, and some American systems `01.31.26`.
    pub fn candidates(text: &str) -> Vec<Self> {
        if text.len() > MAX_BYTES || text.bytes().filter(u8::is_ascii_digit).count() < 3 {
            return Vec::new();
        }
        if Self::Iso.reads(text) {
            return vec![Self::Iso];
        }
        let separator = text.chars().find(|c| !c.is_alphanumeric());
        let (has_time, begins_with_word) = (text.contains(':'), text.starts_with(char::is_alphabetic));
        // `20260131 10:30`
        let separator = separator.filter(|_| !text.as_bytes().iter().take(8).all(u8::is_ascii_digit));
        let last = text.rsplit(' ').next().unwrap_or_default();
        let has_zone = has_time && last.chars().all(char::is_alphabetic) && !["AM", "PM", "am", "pm"].contains(&last);
        let could_fit = |known: &&Known| {
            (known.separator, known.has_time, known.has_zone, known.begins_with_word)
                == (separator, has_time, has_zone, begins_with_word)
        };
        KNOWN
            .iter()
            .filter(could_fit)
            .map(|known| &known.format)
            .filter(|format| format.reads(text))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_formats_that_fit_are_found() {
        for (text, formats) in [
            ("2026-01-31", &["%Y-%m-%d"][..]),
            ("2026-01-31T10:30:00+05:30", &["%Y-%m-%d"]),
            ("31.01.2026", &["%d.%m.%Y"]),
            ("31/01/2026", &["%d/%m/%Y"]),
            ("05/01/2026", &["%d/%m/%Y", "%m/%d/%Y"]),
            ("05.01.2026", &["%d.%m.%Y", "%m.%d.%Y"]),
            ("26.01.05", &["%d.%m.%y", "%y.%m.%d"]),
            ("01.31.2026", &["%m.%d.%Y"]),
            ("2026.01.05", &["%Y.%m.%d"]),
            ("01 02 2026", &["%d %m %Y", "%m %d %Y"]),
            (
                "01 02 26 10:30",
                &["%d %m %y %H:%M", "%m %d %y %H:%M", "%y %m %d %H:%M"],
            ),
            ("05-01-26", &["%d-%m-%y", "%m-%d-%y", "%y-%m-%d"]),
            ("1/31/2026 9:05", &["%m/%d/%Y %H:%M"]),
            ("Jan 5, 2026", &["%B %d, %Y"]),
            ("Jan 17, 2026 12:03:11 AM PST", &["%B %d, %Y %I:%M:%S %p %Z"]),
            ("11-Jan-26", &["%d-%B-%y"]),
            ("7 January 2026", &["%d %B %Y"]),
            ("20260131", &["%Y%m%d"]),
            ("12.50", &[]),
            ("1,234.50", &[]),
            ("Total", &[]),
            ("46053", &[]),
            ("", &[]),
        ] {
            let found: Vec<String> = DateFormat::candidates(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, formats, "{text}");
        }
    }
}
