//! Where a file's header is, and which character separates its fields.
//!
//! Exports often have lines before the header: the account, its balance, a title. The header is the first record that has all columns that are
//! needed, and the delimiter is the one by which it has them. Lines before it are left out only if none of them could be a row: none reads as
//! one, and none has as many fields as the header, unless that has two, as titles and balances have.

use crate::dataset::Dataset;
use crate::facts;
use crate::layout::{ERRORS_COLUMN, Layout, reported_upload};
use crate::options::ReadOptions;
use crate::records::{Lines, Record, Splitter};
use crate::row::Row;

/// How many records are looked at. A preamble has fewer.
const MAX_RECORDS: usize = 50;

/// How a spreadsheet tells the delimiter, in a line of its own before everything else: `sep=;`.
const DECLARATION: &str = "sep=";

/// Where the header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The ASCII character that separates fields.
    pub(crate) delimiter: u8,
    /// How many records that are not blank come before it.
    pub(crate) before: usize,
}

/// Finds the header in the beginning of a file: the earliest, by any of these delimiters. `lines` are the lines before the text, and `is_whole`
/// says whether it is the whole file.
pub(crate) fn find(
    text: &str,
    is_whole: bool,
    lines: Lines,
    delimiters: &[u8],
    dataset: &Dataset,
    options: &ReadOptions,
) -> Option<Place> {
    let places = delimiters.iter().filter_map(|delimiter| {
        let records = records(text, is_whole, lines, *delimiter, MAX_RECORDS);
        let is_header = |record: &Record| Layout::find(dataset, options, record).ok();
        // What the caller has left out by number is all that comes before the header.
        let most = if options.format.skip_rows > 0 { 1 } else { MAX_RECORDS };
        let (before, layout) = records
            .iter()
            .take(most)
            .enumerate()
            .find_map(|(place, record)| Some((place, is_header(record)?)))?;
        let is_row = |record: &Record| {
            let layout = &layout;
            let filled = record.fields().filter(|field| !field.trim().is_empty()).count();
            let is_as_wide = layout.width() > 2 && filled >= layout.width();
            is_as_wide || facts::could_be_row(dataset, &Row { record, layout }, &options.values)
        };
        let place = Place {
            delimiter: *delimiter,
            before,
        };
        (!records[..before].iter().any(is_row)).then_some(place)
    });
    places.min_by_key(|place| place.before)
}

/// Whether a file begins with the header of a report.
pub(crate) fn is_report(text: &str, is_whole: bool, delimiters: &[u8]) -> bool {
    let line_end = text.find(['\r', '\n']).unwrap_or(text.len());
    text[..line_end].contains(ERRORS_COLUMN)
        && delimiters.iter().any(|delimiter| {
            let first = records(text, is_whole, Lines::default(), *delimiter, MAX_RECORDS)
                .into_iter()
                .next();
            first.is_some_and(|first| first.fields().any(|field| reported_upload(field).is_some()))
        })
}

/// The delimiter by which the first records have most fields of the same number, and a header of numbers for a file without one.
pub(crate) fn numbers(text: &str, is_whole: bool, delimiters: &[u8]) -> Option<(u8, Record)> {
    let widths = delimiters.iter().filter_map(|delimiter| {
        let records = records(text, is_whole, Lines::default(), *delimiter, MAX_RECORDS);
        let first = records.first()?;
        let alike = records.iter().filter(|record| record.width() == first.width()).count();
        Some((*delimiter, first.width(), alike))
    });
    let (delimiter, width, _) = widths.max_by_key(|(_, width, alike)| (*width > 1, *alike, *width))?;
    let names: Vec<String> = (1..=width).map(|number| number.to_string()).collect();
    Some((delimiter, Record::of(&names)))
}

/// Length of the first lines of a text, with their ends.
pub(crate) fn lines_length(text: &str, lines: u32) -> usize {
    let mut taken = 0;
    for _ in 0..lines {
        let rest = &text[taken..];
        let Some(end) = rest.find(['\r', '\n']) else {
            return text.len();
        };
        taken += end + if rest[end..].starts_with("\r\n") { 2 } else { 1 };
    }
    taken
}

/// The first complete records of a text that are not blank. A text that cannot be split has those before the fault.
pub(crate) fn records(text: &str, is_whole: bool, lines: Lines, delimiter: u8, most: usize) -> Vec<Record> {
    let (mut splitter, mut found, mut taken) = (Splitter::after(delimiter, lines), Vec::new(), 0);
    while found.len() < most {
        let Ok((read, is_complete)) = splitter.split(&text.as_bytes()[taken..]) else {
            break;
        };
        taken += read;
        // At the end of the file the last record needs no line end.
        let has_record = is_complete || (is_whole && splitter.finish() == Ok(true));
        if !has_record {
            break;
        }
        if !splitter.record().is_blank() {
            found.push(splitter.record().copy());
        }
        if !is_complete {
            break;
        }
    }
    found
}

/// The line that declares the delimiter, if the text begins with one: the delimiter, and the bytes of the line with its end.
pub(crate) fn declaration(text: &str) -> Option<(u8, usize)> {
    let end = text.find(['\r', '\n'])?;
    let line = text[..end].trim_matches('"');
    let (name, sign) = line.split_at_checked(DECLARATION.len())?;
    let [delimiter] = *sign.trim_matches('"').as_bytes() else {
        return None;
    };
    let is_sign = delimiter.is_ascii() && !delimiter.is_ascii_alphanumeric() && delimiter != b'"';
    let length = end + if text[end..].starts_with("\r\n") { 2 } else { 1 };
    (name.eq_ignore_ascii_case(DECLARATION) && is_sign).then_some((delimiter, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::SALES;
    use crate::options::read_options;
    use crate::records::DELIMITERS;

    fn place(mapping: &str, text: &str) -> Option<(char, usize)> {
        let options = match mapping {
            "" => read_options(&[], &SALES),
            mapping => read_options(&[("mapping", mapping)], &SALES),
        };
        let found = find(text, true, Lines::default(), &DELIMITERS, &SALES, &options);
        found.map(|place| (char::from(place.delimiter), place.before))
    }

    const MAPPED: &str = r#"{"sale_date": "Day", "amount": "Sum (net, EUR, w/o VAT)"}"#;

    #[test]
    fn the_delimiter_is_the_one_by_which_the_columns_are_there() {
        assert_eq!(
            place(MAPPED, "Day;Sum (net, EUR, w/o VAT);Name, Place\n"),
            Some((';', 0))
        );
        assert_eq!(place("", "sale_date\tamount\tnotes, more, and more"), Some(('\t', 0)));
        assert_eq!(place("", "sale_date|amount"), Some(('|', 0)));
    }

    #[test]
    fn lines_before_the_header_are_left_out_unless_they_are_rows() {
        let header = "Day;\"Sum (net, EUR, w/o VAT)\"\n2026-01-01;5.00\n";
        let preamble = "\"Account\";\"X\"\n\n\"Balance\";\"4.093,32 €\"\n\"\"\n";
        assert_eq!(place(MAPPED, &format!("{preamble}{header}")), Some((';', 2)));
        assert_eq!(place(MAPPED, &format!("2025-12-31;7.00\n{header}")), None);
        // A row with a fault is one, too.
        assert_eq!(
            place("", "31/12/2025,7.00,x\nsale_date,amount,notes\n2026-01-01,5.00,y\n"),
            None
        );
        assert_eq!(
            place(MAPPED, &format!("{}{header}", "Account;X\n".repeat(MAX_RECORDS))),
            None
        );
        assert_eq!(place("", "a,b\nc,d\n"), None);
    }

    #[test]
    fn a_spreadsheet_declares_its_delimiter() {
        for (text, found) in [
            ("sep=;\na;b", Some((b';', 6))),
            ("SEP=,\r\na,b", Some((b',', 7))),
            ("\"sep=;\"\na;b", Some((b';', 8))),
            ("sep=\t\na\tb", Some((b'\t', 6))),
            ("sep=\n", None),
            ("sep=ab\n", None),
            ("sep=a\n", None),
            ("separator;x\n", None),
            ("sep=;", None),
            ("", None),
        ] {
            assert_eq!(declaration(text), found, "{text:?}");
        }
    }
}
