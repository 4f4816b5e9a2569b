//! How a file's table is laid out: the delimiter, the lines before the header, and whether there is a header.

use annals_csv::sample;
use annals_csv::{Amount, DateFormat, DecimalMark, Record, reported_upload};

use crate::lookup::Header;

/// Most records of the sample that are looked at.
const MAX_RECORDS: usize = 200;
/// Most records before the header.
const MAX_PREAMBLE: usize = 50;

/// What the caller has declared of the layout.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declared {
    /// The ASCII character that separates fields.
    pub delimiter: Option<u8>,
    /// Lines before the header.
    pub skip_rows: Option<u32>,
    /// Whether the file has no header.
    pub has_no_header: bool,
}

/// How the table is laid out.
#[derive(Debug, Clone)]
pub struct Structure {
    /// The ASCII character that separates fields.
    pub delimiter: u8,
    /// Lines before the header, or before the first row. The line `sep=;` is not one of them.
    pub skip_rows: u32,
    /// Those lines.
    pub before: Vec<String>,
    /// The records of those lines.
    pub records_before: Vec<Record>,
    /// Whether one of them may be a row.
    pub has_row_before: bool,
    /// The header. `None`: the file has none.
    pub header: Option<Vec<String>>,
    /// Physical line of the header or the first row.
    pub line: u64,
    /// How many columns the table has.
    pub width: usize,
    /// How many cells of a row are usually filled.
    pub filled: usize,
    /// The character around fields that have delimiters. `None`: no field has one.
    pub quote: Option<char>,
}

/// Finds the layout in the beginning of a file; `None` if it has no records.
pub fn find(text: &str, is_whole: bool, declared: Declared) -> Option<Structure> {
    let (sep, length) = sample::declaration(text).map_or((None, 0), |(delimiter, length)| (Some(delimiter), length));
    let text = &text[length..];
    let delimiters = match declared.delimiter.or(sep) {
        Some(delimiter) => vec![delimiter],
        None => sample::DELIMITERS.to_vec(),
    };
    let tables = delimiters
        .into_iter()
        .map(|delimiter| Table::of(text, is_whole, delimiter, declared.skip_rows));
    let table = tables.max_by_key(|table| (table.alike, table.width))?;
    let place = match declared.has_no_header {
        true => None,
        false => table.header_place(declared.skip_rows.is_some()),
    };
    let first = place.unwrap_or_else(|| table.first_row());
    let record = table.records.get(first)?;
    let lines = u32::try_from(record.line()).unwrap_or(u32::MAX).saturating_sub(1);
    let rows = table.records.iter().skip(first + usize::from(place.is_some()));
    let mut counts: Vec<usize> = rows.map(filled).collect();
    counts.sort_unstable();
    Some(Structure {
        delimiter: table.delimiter,
        skip_rows: lines,
        before: first_lines(text, lines),
        header: place.map(|_| record.fields().map(|field| field.trim().to_owned()).collect()),
        line: u64::from(lines) + 1 + u64::from(length > 0),
        width: table.width,
        quote: is_quoted(text, table.delimiter).then_some('"'),
        has_row_before: table.records[..first]
            .iter()
            .any(|record| may_be_row(record, table.width)),
        records_before: table.records[..first].to_vec(),
        filled: counts.get(counts.len() / 2).copied().unwrap_or(table.width),
    })
}

/// The first lines of a text, whose lines may end in any way.
fn first_lines(text: &str, most: u32) -> Vec<String> {
    let lines = text.split("\r\n").flat_map(|text| text.split(['\r', '\n']));
    lines
        .take(usize::try_from(most).unwrap_or_default())
        .map(str::to_owned)
        .collect()
}

/// Whether a field begins with a quote.
fn is_quoted(text: &str, delimiter: u8) -> bool {
    let bytes = text.as_bytes();
    let is_begin = |before: u8| matches!(before, b'\r' | b'\n') || before == delimiter;
    bytes.first() == Some(&b'"') || bytes.windows(2).any(|pair| pair[1] == b'"' && is_begin(pair[0]))
}

/// The records of a sample as one delimiter splits them.
struct Table {
    delimiter: u8,
    records: Vec<Record>,
    /// The number of columns that most records have.
    width: usize,
    /// How many records have it.
    alike: usize,
}

impl Table {
    fn of(text: &str, is_whole: bool, delimiter: u8, skip_rows: Option<u32>) -> Self {
        let records = sample::records(text, is_whole, delimiter, MAX_RECORDS);
        let skipped = |record: &Record| record.line() > u64::from(skip_rows.unwrap_or(0));
        let records: Vec<Record> = records.into_iter().filter(skipped).collect();
        let widths = records.iter().map(Record::width).filter(|width| *width > 1);
        let alike = |width: usize| records.iter().filter(|record| record.width() == width).count();
        let (alike, width) = widths.map(|width| (alike(width), width)).max().unwrap_or((0, 1));
        Self {
            delimiter,
            records,
            width,
            alike,
        }
    }

    /// The place of the header: of the first records, the one of which the dictionary has most names. If it has none, the first record without a
    /// day or a number, if there is one before the first row.
    fn header_place(&self, is_declared: bool) -> Option<usize> {
        let is_report = |first: &Record| first.fields().any(|field| reported_upload(field).is_some());
        if is_declared || self.records.first().is_some_and(is_report) {
            return (!self.records.is_empty()).then_some(0);
        }
        let known = |record: &Record| record.fields().filter(|field| Header::of(field).is_known()).count();
        let wide = || {
            let records = self.records.iter().enumerate().take(MAX_PREAMBLE);
            records.filter(|(_, record)| filled(record) * 2 >= self.width && !has_values(record))
        };
        let best = wide()
            .map(|(place, record)| (known(record), place))
            .filter(|(known, _)| *known > 0);
        // Of equally good ones the first.
        let best = best
            .max_by_key(|(known, place)| (*known, usize::MAX - place))
            .map(|(_, place)| place);
        best.or_else(|| {
            wide()
                .map(|(place, _)| place)
                .next()
                .filter(|place| *place <= self.first_row())
        })
    }

    fn first_row(&self) -> usize {
        self.records
            .iter()
            .position(|record| record.width() == self.width)
            .unwrap_or(0)
    }
}

/// How many cells are filled.
pub fn filled(record: &Record) -> usize {
    record.fields().filter(|field| !field.trim().is_empty()).count()
}

/// Whether a cell is a day or an amount, as no header is.
fn has_values(record: &Record) -> bool {
    let mut cells = record.fields().map(str::trim);
    cells.any(|cell| is_amount(cell) || is_day(cell))
}

/// Whether a cell is a number, perhaps with a sign and a currency.
pub fn is_amount(text: &str) -> bool {
    let marks = [DecimalMark::Point, DecimalMark::Comma];
    text.contains(|c: char| c.is_ascii_digit()) && marks.iter().any(|mark| Amount::parse(text, *mark).is_ok())
}

fn is_day(text: &str) -> bool {
    !DateFormat::candidates(text).is_empty()
}

/// Whether a record before the header may be a row: all of its cells are filled, or it has a day and an amount.
fn may_be_row(record: &Record, width: usize) -> bool {
    let has = |is: fn(&str) -> bool| record.fields().any(|field| is(field.trim()));
    let is_full = width > 2 && filled(record) >= width && has_values(record);
    is_full || (record.width() > 1 && has(is_day) && has(|cell| is_amount(cell) && !is_day(cell)))
}
