//! Text to records: csv-core splits; this module counts the physical lines and detects stray and unclosed quotes.

use std::borrow::Cow;

use csv_core::ReadRecordResult;
use serde::{Deserialize, Serialize};

use crate::fault::FileFault;

/// Maximum bytes of a record. If one is longer, a quote is missing, or the file is no CSV.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Maximum number of fields of a record.
pub const MAX_FIELDS: usize = 10_000;

/// Characters that may separate fields. If two are equally likely, the first is taken.
pub(crate) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A record with the line that it begins on.
#[derive(Debug, Default, Clone)]
pub struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    width: usize,
    line: u64,
    stray_quote: Option<u64>,
}

impl Record {
    /// Physical line that it begins on, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Physical line of a quote that closes a field although more of the field follows; `None` if there is no such quote.
    pub fn stray_quote(&self) -> Option<u64> {
        self.stray_quote
    }

    /// How many fields it has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether all its fields are blank: such a line is no row.
    pub fn is_blank(&self) -> bool {
        self.fields().all(|field| field.trim().is_empty())
    }

    /// How many bytes its fields have.
    pub fn size(&self) -> usize {
        self.end(self.width)
    }

    /// Bytes of memory that it takes. Empty fields count, because a row may have ten thousand of them.
    pub fn memory(&self) -> usize {
        self.size() + self.width * size_of::<usize>()
    }

    /// The field at a position, from 0; empty if the record has fewer fields.
    pub fn field(&self, place: usize) -> &str {
        if place >= self.width {
            return "";
        }
        // Text that is split at ASCII characters is valid UTF-8, so the conversion never fails.
        let field = self.bytes.get(self.end(place)..self.end(place + 1));
        field
            .and_then(|field| std::str::from_utf8(field).ok())
            .unwrap_or_default()
    }

    /// Where the first `fields` fields end, in bytes.
    fn end(&self, fields: usize) -> usize {
        fields
            .checked_sub(1)
            .and_then(|last| self.ends.get(last))
            .copied()
            .unwrap_or(0)
    }

    /// A record with these fields on line 1.
    pub fn of(fields: &[String]) -> Self {
        let mut record = Self {
            width: fields.len(),
            line: 1,
            ..Self::default()
        };
        for field in fields {
            record.bytes.extend_from_slice(field.as_bytes());
            record.ends.push(record.bytes.len());
        }
        record
    }

    /// The record with each field replaced.
    pub fn map<'a>(&'a self, field: impl Fn(usize, &'a str) -> Cow<'a, str>) -> Self {
        let mut record = Self {
            width: self.width,
            line: self.line,
            stray_quote: self.stray_quote,
            ..Self::default()
        };
        for (place, text) in self.fields().enumerate() {
            record.bytes.extend_from_slice(field(place, text).as_bytes());
            record.ends.push(record.bytes.len());
        }
        record
    }

    /// A copy without spare capacity.
    pub fn copy(&self) -> Self {
        Self {
            bytes: self.bytes[..self.size()].to_vec(),
            ends: self.ends[..self.width].to_vec(),
            width: self.width,
            line: self.line,
            stray_quote: self.stray_quote,
        }
    }

    /// Its fields in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.width()).map(|place| self.field(place))
    }
}

/// Counts physical lines, which end with CR LF, LF or CR. The two characters of a CR LF may be in two pieces of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    #[serde(rename = "line")]
    number: u64,
    after_return: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            number: 1,
            after_return: false,
        }
    }
}

impl Lines {
    /// Line of the next character, from 1.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The count after this text.
    #[must_use]
    pub fn after(mut self, text: &[u8]) -> Self {
        for &c in text {
            self.number += u64::from(c == b'\r' || (c == b'\n' && !self.after_return));
            self.after_return = c == b'\r';
        }
        self
    }
}

/// Follows the quotes of a record. csv-core reads text after a closing quote as more of the field. Without this check, a quote that is
/// opened by mistake would make one field of all rows up to the next quote, without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Quotes {
    /// A field begins.
    #[default]
    Start,
    /// Within a field that does not begin with a quote; quotes in it are text.
    Plain,
    /// Within quotes.
    Quoted,
    /// After a quote within quotes: it closes the field, or a second quote follows.
    Closed,
}

impl Quotes {
    /// Follows the next piece of the record; returns the position after a closing quote that is followed by text.
    fn follow(&mut self, text: &[u8], delimiter: u8) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let quote = match self {
                Self::Closed => Some(0),
                Self::Start | Self::Plain | Self::Quoted => rest.iter().position(|c| *c == b'"'),
            };
            let begins = |place: usize| match place.checked_sub(1) {
                Some(before) => rest[before] == delimiter,
                None => *self == Self::Start,
            };
            *self = match (*self, quote) {
                (Self::Closed, _) if rest[0] == b'"' => Self::Quoted,
                (Self::Closed, _) if rest[0] == delimiter || matches!(rest[0], b'\r' | b'\n') => Self::Start,
                (Self::Closed, _) => return Some(at),
                (Self::Quoted, Some(_)) => Self::Closed,
                (Self::Quoted, None) => Self::Quoted,
                (_, Some(place)) if begins(place) => Self::Quoted,
                (_, None) if begins(rest.len()) => Self::Start,
                (_, _) => Self::Plain,
            };
            at += quote.map_or(rest.len(), |place| place + 1);
        }
        None
    }
}

/// Splits text into records.
pub struct Splitter {
    delimiter: u8,
    core: csv_core::Reader,
    quotes: Quotes,
    record: Record,
    written: usize,
    fields: usize,
    begun: bool,
    lines: Lines,
}

impl Splitter {
    /// A splitter for text from the beginning of a file; the delimiter is an ASCII character.
    pub fn new(delimiter: u8) -> Self {
        Self::after(delimiter, Lines::default())
    }

    /// A splitter for text that follows these lines.
    pub fn after(delimiter: u8, lines: Lines) -> Self {
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // csv-core drops a byte order mark at the beginning of its first input. Our decoder has removed the file's byte order mark already,
        // so another one is text and must stay. csv-core therefore gets an empty line as its first input, which it skips.
        core.read_record(b"\n", &mut [0], &mut [0]);
        let record = Record {
            bytes: vec![0; 4096],
            ends: vec![0; 64],
            width: 0,
            line: 0,
            stray_quote: None,
        };
        Self {
            delimiter,
            core,
            quotes: Quotes::Start,
            record,
            written: 0,
            fields: 0,
            begun: false,
            lines,
        }
    }

    /// The last complete record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The line count after all text that was read.
    pub fn lines(&self) -> Lines {
        self.lines
    }

    /// Reads `text` until a record is complete or the text ends. Returns how many bytes were read and whether a record is complete.
    ///
    /// # Errors
    /// The record has too many bytes or fields.
    pub fn split(&mut self, text: &[u8]) -> Result<(usize, bool), FileFault> {
        let mut taken = 0;
        if !self.begun {
            // Empty lines before a record are skipped here: a record's line is that of its first character.
            taken = text.iter().take_while(|c| matches!(c, b'\r' | b'\n')).count();
            self.lines = self.lines.after(&text[..taken]);
            if taken == text.len() {
                return Ok((taken, false));
            }
            self.begin();
        }
        loop {
            let rest = &text[taken..];
            if rest.is_empty() {
                return Ok((taken, false));
            }
            let (result, read) = self.read(rest);
            self.follow(&rest[..read]);
            taken += read;
            match result {
                ReadRecordResult::Record => return Ok((taken, true)),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
                ReadRecordResult::OutputFull => self.grow_bytes()?,
                ReadRecordResult::OutputEndsFull => self.grow_ends()?,
            }
        }
    }

    /// Completes the last record at the end of the file; returns whether there is one.
    ///
    /// A line end completes the record, unless a quoted field is open: then the line end is part of the field.
    ///
    /// # Errors
    /// A quote is never closed, or the record has too many bytes or fields.
    pub fn finish(&mut self) -> Result<bool, FileFault> {
        while self.begun {
            match self.read(b"\n").0 {
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::OutputFull => self.grow_bytes()?,
                ReadRecordResult::OutputEndsFull => self.grow_ends()?,
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {
                    let message = "a quote is opened in the record that begins here and never closed";
                    return Err(FileFault::new("unclosed_quote", message).at(self.record.line));
                }
            }
        }
        Ok(false)
    }

    fn begin(&mut self) {
        self.begun = true;
        self.written = 0;
        self.fields = 0;
        self.quotes = Quotes::Start;
        self.record.line = self.lines.number();
        self.record.stray_quote = None;
    }

    /// Counts the lines of the text that csv-core has read, and follows its quotes.
    fn follow(&mut self, read: &[u8]) {
        if self.record.stray_quote.is_none()
            && let Some(place) = self.quotes.follow(read, self.delimiter)
        {
            self.record.stray_quote = Some(self.lines.after(&read[..place]).number());
        }
        self.lines = self.lines.after(read);
    }

    fn read(&mut self, text: &[u8]) -> (ReadRecordResult, usize) {
        let (bytes, ends) = (
            &mut self.record.bytes[self.written..],
            &mut self.record.ends[self.fields..],
        );
        let (result, read, written, fields) = self.core.read_record(text, bytes, ends);
        self.written += written;
        self.fields += fields;
        if matches!(result, ReadRecordResult::Record) {
            self.begun = false;
            self.record.width = self.fields;
        }
        (result, read)
    }

    fn grow_bytes(&mut self) -> Result<(), FileFault> {
        if self.record.bytes.len() >= MAX_RECORD_BYTES {
            let message = format!(
                "the record that begins here is longer than {MAX_RECORD_BYTES} bytes; perhaps a quote in it is never closed"
            );
            return Err(FileFault::new("record_too_long", message).at(self.record.line));
        }
        self.record
            .bytes
            .resize((self.record.bytes.len() * 2).min(MAX_RECORD_BYTES), 0);
        Ok(())
    }

    fn grow_ends(&mut self) -> Result<(), FileFault> {
        if self.record.ends.len() >= MAX_FIELDS {
            let message = format!("the record that begins here has more than {MAX_FIELDS} columns");
            return Err(FileFault::new("too_many_columns", message).at(self.record.line));
        }
        self.record.ends.resize((self.record.ends.len() * 2).min(MAX_FIELDS), 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_take_memory() {
        let record = Record::of(&vec![String::new(); 9_000]);
        assert_eq!((record.size(), record.memory()), (0, 72_000));
        assert_eq!(record.copy().memory(), 72_000);
    }
}
