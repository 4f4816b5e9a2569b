//! Number formats of .xlsx files, as far as they say that a number is a date or a time.

/// What a cell's number is, by its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CellFormat {
    /// A number.
    #[default]
    Number,
    /// A day, perhaps with a time.
    Date,
    /// A time of the day.
    Time,
    /// A duration in hours, minutes or seconds, which may be longer than a day.
    Elapsed,
}

impl CellFormat {
    /// The format with a number below 164, which every workbook has without declaring it. Those from 27 are used in East Asia.
    pub(super) fn built_in(id: u32) -> Self {
        match id {
            14..=17 | 22 | 27..=31 | 34..=36 | 50..=54 | 57 | 58 => Self::Date,
            18..=21 | 32 | 33 | 45 | 47 | 55 | 56 => Self::Time,
            46 => Self::Elapsed,
            _ => Self::Number,
        }
    }

    /// The format of a code such as `dd/mm/yyyy hh:mm`. Only its first section counts, which is for positive numbers.
    pub(super) fn of_code(code: &str) -> Self {
        let (mut has_day, mut has_month, mut has_time) = (false, false, false);
        let mut rest = code.chars();
        while let Some(c) = rest.next() {
            match c.to_ascii_lowercase() {
                '"' => {
                    rest.by_ref().find(|c| *c == '"');
                }
                // The next character is shown as it is, or its width is left blank, or it fills the cell.
                '\\' | '_' | '*' => {
                    rest.next();
                }
                '[' => {
                    let inside: String = rest.by_ref().take_while(|c| *c != ']').collect();
                    let inside = inside.to_ascii_lowercase();
                    let is_all = |unit| !inside.is_empty() && inside.chars().all(|c| c == unit);
                    if ['h', 'm', 's'].into_iter().any(is_all) {
                        return Self::Elapsed;
                    }
                }
                ';' => break,
                'a' if starts_with(rest.as_str(), "m/pm") || starts_with(rest.as_str(), "/p") => {
                    has_time = true;
                    rest.by_ref().find(|c| c.eq_ignore_ascii_case(&'p'));
                    if starts_with(rest.as_str(), "m") {
                        rest.next();
                    }
                }
                'd' | 'y' => has_day = true,
                'm' => has_month = true,
                'h' | 's' => has_time = true,
                _ => {}
            }
        }
        match (has_day || (has_month && !has_time), has_time) {
            (true, _) => Self::Date,
            (false, true) => Self::Time,
            (false, false) => Self::Number,
        }
    }
}

fn starts_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_dates_and_times_are_known() {
        for (format, codes) in [
            (
                CellFormat::Date,
                &[
                    "dd/mm/yyyy",
                    "yyyy-mm-dd",
                    "[$-407]d. mmmm yyyy;@",
                    "mmm yy",
                    "MMMM",
                    "m/d/yy h:mm AM/PM",
                    "yyyy\"年\"m\"月\"d\"日\"",
                    "[Red]dd.mm.yy",
                ][..],
            ),
            (CellFormat::Time, &["h:mm", "h:mm:ss AM/PM", "mm:ss.0", "h A/P"][..]),
            (CellFormat::Elapsed, &["[h]:mm:ss", "[mm]:ss", "[SS]"][..]),
            (
                CellFormat::Number,
                &[
                    "General",
                    "0.00",
                    "#,##0.00\\ \"days\"",
                    "#,##0.00 [$€-407]",
                    "[Red]-0.00",
                    "0.00E+00",
                    "0_d",
                    "0\\h",
                    "@",
                    "0;d",
                    "",
                    "[$-",
                    "\"d",
                ][..],
            ),
        ] {
            for code in codes {
                assert_eq!(CellFormat::of_code(code), format, "{code}");
            }
        }
    }
}
