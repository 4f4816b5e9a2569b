//! Text to records: csv-core does the splitting; this knows on which physical line each record begins, and what a quote that
//! is never closed looks like.

use std::borrow::Cow;

use csv_core::ReadRecordResult;
use serde::{Deserialize, Serialize};

use crate::fault::FileFault;

/// Most bytes of a record: what is longer is no row of anything, but a quote that somebody forgot or a file of another kind.
pub(crate) const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// Most fields of a record.
pub(crate) const MAX_FIELDS: usize = 10_000;

/// A record with its place in the file.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    width: usize,
    line: u64,
    stray_quote: Option<u64>,
}

impl Record {
    /// Physical line that it begins on, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Physical line of a quote that closes a field and is followed by more of it; none where all is well.
    pub(crate) fn stray_quote(&self) -> Option<u64> {
        self.stray_quote
    }

    /// How many fields it has.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// How many bytes its fields have.
    pub(crate) fn size(&self) -> usize {
        self.end(self.width)
    }

    /// How many bytes of memory it takes: rows of ten thousand empty fields take some, too.
    pub(crate) fn memory(&self) -> usize {
        self.size() + self.width * size_of::<usize>()
    }

    /// A field; empty where the record has none of that number.
    pub(crate) fn field(&self, place: usize) -> &str {
        if place >= self.width {
            return "";
        }
        // Text that was split at ASCII characters is still text, so nothing is ever lost here.
        let field = self.bytes.get(self.end(place)..self.end(place + 1));
        field
            .and_then(|field| std::str::from_utf8(field).ok())
            .unwrap_or_default()
    }

    /// Where the first so many fields end.
    fn end(&self, fields: usize) -> usize {
        fields
            .checked_sub(1)
            .and_then(|last| self.ends.get(last))
            .copied()
            .unwrap_or(0)
    }

    /// The first record of a file, of these fields.
    pub(crate) fn of(fields: &[String]) -> Self {
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

    /// The same with other fields.
    pub(crate) fn map<'a>(&'a self, field: impl Fn(usize, &'a str) -> Cow<'a, str>) -> Self {
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

    /// The same, in as much memory as it takes.
    pub(crate) fn copy(&self) -> Self {
        Self {
            bytes: self.bytes[..self.size()].to_vec(),
            ends: self.ends[..self.width].to_vec(),
            width: self.width,
            line: self.line,
            stray_quote: self.stray_quote,
        }
    }

    /// Its fields in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.width()).map(|place| self.field(place))
    }
}

/// Counts physical lines, which end with CR LF, LF or CR; the two characters of a CR LF need not come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lines {
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
    pub(crate) fn number(self) -> u64 {
        self.number
    }

    /// The count after some more text.
    #[must_use]
    pub(crate) fn after(mut self, text: &[u8]) -> Self {
        for &c in text {
            self.number += u64::from(c == b'\r' || (c == b'\n' && !self.after_return));
            self.after_return = c == b'\r';
        }
        self
    }
}

/// Follows a record's quotes beside csv-core, which takes whatever comes after a closing quote for more of the field: a quote that
/// was opened by mistake on one line and closed by the next one's would swallow all rows in between without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Quotes {
    /// A field begins.
    #[default]
    Start,
    /// Within a field that does not begin with a quote; quotes mean themselves.
    Plain,
    /// Within quotes.
    Quoted,
    /// Behind a quote within quotes: it closes the field, or another one follows.
    Closed,
}

impl Quotes {
    /// Goes on through some more of the record; answers with the place behind a closing quote that something else follows.
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
pub(crate) struct Splitter {
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
    /// A splitter for fields that this ASCII character separates.
    pub(crate) fn new(delimiter: u8) -> Self {
        Self::after(delimiter, Lines::default())
    }

    /// The same, for what follows these lines.
    pub(crate) fn after(delimiter: u8, lines: Lines) -> Self {
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // csv-core drops a byte order mark from the first bytes it sees, if all three come at once; marks are gone already,
        // and an empty line, which it skips, is enough of a beginning.
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

    /// What separates fields.
    pub(crate) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The record that was completed last.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The lines of all that was taken.
    pub(crate) fn lines(&self) -> Lines {
        self.lines
    }

    /// Takes from `text` until a record is complete or the text is used up; answers with how many bytes were taken and whether
    /// there is a record.
    pub(crate) fn split(&mut self, text: &[u8]) -> Result<(usize, bool), FileFault> {
        let mut taken = 0;
        if !self.begun {
            // Between records, so that a record's line is that of its first character, not of empty lines before it.
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

    /// Completes the last record at the end of the file; answers with whether there was one.
    ///
    /// One more line end completes a record, unless it is taken for part of a quoted field.
    pub(crate) fn finish(&mut self) -> Result<bool, FileFault> {
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

    /// Counts the lines of what was read, and looks after its quotes.
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
                "the record that begins here has over {MAX_RECORD_BYTES} bytes; perhaps a quote is opened in it and never closed"
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
            let message = format!("the record that begins here has over {MAX_FIELDS} columns");
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
