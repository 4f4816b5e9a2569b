//! A stream of bytes to records: decodes, detects the delimiter, splits.
//!
//! Memory is bounded by a slice of the source's chunk, the sample that the encoding is detected from, and one record. The source is any
//! stream of chunks, e.g. a request's body or an object of a bucket.

use std::collections::VecDeque;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::decode::Decoder;
use crate::fault::FileFault;
use crate::header;
use crate::layout::Layout;
use crate::options::{Format, ReadOptions};
use crate::records::{DELIMITERS, Lines, MAX_FIELDS, MAX_RECORD_BYTES, Record, Splitter};

/// Bytes that are decoded at a time, however large the source's chunks are.
const SLICE: usize = 32 * 1024;
/// Bytes of the decoded text in which the header is looked for.
const HEADER_SAMPLE: usize = 32 * 1024;

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] FileFault),
    /// The source of the bytes failed.
    #[error("the file could not be read")]
    Source(#[source] std::io::Error),
}

/// The end of a record, with all that a reader needs to continue there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// The byte of the file at which decoding begins.
    pub offset: u64,
    /// Bytes of the decoded text from there to the record's end.
    skip: usize,
    #[serde(flatten)]
    lines: Lines,
}

impl ResumePoint {
    /// Bytes of the file up to here. Only approximately, if a character has another length in the file than in memory.
    pub fn position(&self) -> i64 {
        let skip = u64::try_from(self.skip).unwrap_or_default();
        i64::try_from(self.offset + skip).unwrap_or(i64::MAX)
    }
}

/// Reads a file record by record.
pub struct Reader<S> {
    source: S,
    chunk: Bytes,
    ended: bool,
    decoder: Decoder,
    text: String,
    taken: usize,
    /// `None` until the delimiter is known.
    splitter: Option<Splitter>,
    delimiter: Option<u8>,
    /// The byte of the file at which the rest of the chunk begins.
    offset: u64,
    /// Positions in the text at which a decoder could begin, each with its byte of the file. Only the first may be before the text.
    starts: VecDeque<(isize, u64)>,
    /// Whether a decoder could begin at the rest of the chunk.
    is_between: bool,
    /// Bytes of the coming text that an earlier reader has read.
    skip: usize,
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Reader<S> {
    /// A reader from the beginning of the source.
    pub fn new(source: S, format: Format) -> Self {
        Self {
            source,
            chunk: Bytes::new(),
            ended: false,
            decoder: match format.is_beginning {
                true => Decoder::new(format.encoding).of_beginning(),
                false => Decoder::new(format.encoding),
            },
            text: String::new(),
            taken: 0,
            splitter: format.delimiter.map(Splitter::new),
            delimiter: format.delimiter,
            offset: 0,
            starts: VecDeque::new(),
            is_between: true,
            skip: 0,
        }
    }

    /// A reader that continues at a point; the source begins with the point's offset.
    pub fn resume(source: S, encoding: &'static Encoding, delimiter: u8, point: ResumePoint) -> Self {
        Self {
            decoder: Decoder::known(encoding),
            splitter: Some(Splitter::after(delimiter, point.lines)),
            delimiter: Some(delimiter),
            offset: point.offset,
            skip: point.skip,
            ..Self::new(source, Format::default())
        }
    }

    /// The end of the last record.
    pub fn resume_point(&self) -> ResumePoint {
        let taken = isize::try_from(self.taken).unwrap_or_default();
        let start = self.starts.iter().rev().find(|(start, _)| *start <= taken);
        let (start, offset) = start.copied().unwrap_or_default();
        ResumePoint {
            offset: offset.max(self.decoder.mark()),
            skip: usize::try_from(taken - start).unwrap_or_default(),
            lines: self.splitter.as_ref().map(Splitter::lines).unwrap_or_default(),
        }
    }

    /// The encoding, as far as the file was read: UTF-8 while all characters are ASCII.
    pub fn encoding(&self) -> &'static Encoding {
        self.decoder.encoding().unwrap_or(UTF_8)
    }

    /// The next record that is not blank; the first is the header. `None` at the end.
    ///
    /// # Errors
    /// The file cannot be decoded or split, or its source failed.
    pub async fn next(&mut self) -> Result<Option<&Record>, ReadError> {
        while self.complete().await? {
            if self
                .splitter
                .as_ref()
                .is_some_and(|splitter| !splitter.record().is_blank())
            {
                return Ok(self.splitter.as_ref().map(Splitter::record));
            }
        }
        Ok(None)
    }

    /// Reads until a record is complete; false at the end of the file.
    async fn complete(&mut self) -> Result<bool, ReadError> {
        while !self.split()? {
            if !self.fill().await? {
                return Ok(self.splitter.as_mut().map_or(Ok(false), Splitter::finish)?);
            }
        }
        Ok(true)
    }

    /// Reads up to the header of a dataset's file, and returns it. If no record looks like one, the first counts as the header, so that the
    /// answer says what it lacks. A file without a header gets one of numbers.
    ///
    /// # Errors
    /// The file is empty, its encoding is not the declared one, or [`Layout::find`] refuses the header.
    pub async fn header(&mut self, dataset: &Dataset, options: &ReadOptions) -> Result<(Layout, Record), ReadError> {
        self.sample().await?;
        let mut delimiters = self.delimiter.map_or(DELIMITERS.to_vec(), |declared| vec![declared]);
        if let Some((delimiter, length)) = header::declaration(&self.text) {
            self.taken = length;
            delimiters = vec![*self.delimiter.get_or_insert(delimiter)];
        }
        // A report may be sent with the upload fields of its file, but it begins with its header.
        let is_report = header::is_report(&self.text[self.taken..], self.ended, &delimiters);
        if !is_report {
            self.taken += header::lines_length(&self.text[self.taken..], options.format.skip_rows);
        }
        let lines = Lines::default().after(&self.text.as_bytes()[..self.taken]);
        if self.taken > 0
            && let Some(declared) = self.delimiter
        {
            self.splitter = Some(Splitter::after(declared, lines));
        }
        let text = &self.text[self.taken..];
        if options.format.has_no_header
            && !is_report
            && let Some((delimiter, header)) = header::numbers(text, self.ended, &delimiters)
        {
            self.delimiter = Some(delimiter);
            self.splitter = Some(Splitter::after(delimiter, lines));
            return Ok((Layout::find(dataset, options, &header)?, header));
        }
        let place = header::find(text, self.ended, lines, &delimiters, dataset, options);
        if let Some(place) = place {
            self.delimiter = Some(place.delimiter);
            self.splitter = Some(Splitter::after(place.delimiter, lines));
            for _ in 0..place.before {
                self.next().await?;
            }
        }
        let header = self.next().await?.ok_or_else(FileFault::empty_file)?.copy();
        let layout = Layout::find(dataset, options, &header);
        match self.decoder.conflict() {
            // A report begins with a byte order mark for UTF-8. It may be sent again with the upload fields of the original file, which
            // may have had another encoding.
            Some(conflict) if !layout.as_ref().is_ok_and(Layout::is_report) => Err(conflict.clone().into()),
            _ => Ok((layout?, header)),
        }
    }

    /// The beginning of the decoded text, and whether it is all of it.
    ///
    /// # Errors
    /// The file cannot be decoded, or its source failed.
    pub async fn sample(&mut self) -> Result<(&str, bool), ReadError> {
        while self.text.len() < HEADER_SAMPLE && self.fill().await? {}
        Ok((&self.text, self.ended))
    }

    /// Continues after a number of lines, not counting the line `sep=;`, whatever comes then. Nothing may have been read but the sample.
    ///
    /// # Errors
    /// The file cannot be decoded, or its source failed.
    pub async fn skip_lines(&mut self, lines: u32, delimiter: u8) -> Result<(), ReadError> {
        self.sample().await?;
        self.taken = header::declaration(&self.text).map_or(0, |(_, length)| length);
        self.taken += header::lines_length(&self.text[self.taken..], lines);
        let lines = Lines::default().after(&self.text.as_bytes()[..self.taken]);
        self.delimiter = Some(delimiter);
        self.splitter = Some(Splitter::after(delimiter, lines));
        Ok(())
    }

    /// A copy of the last record; an empty record before the first.
    pub fn record(&self) -> Record {
        self.splitter
            .as_ref()
            .map(|splitter| splitter.record().copy())
            .unwrap_or_default()
    }

    /// The ASCII character that separates fields; a comma before the header was read.
    pub fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(b',')
    }

    /// Splits the text that was decoded; returns whether a record is complete.
    fn split(&mut self) -> Result<bool, FileFault> {
        let splitter = match &mut self.splitter {
            Some(splitter) => splitter,
            None => match delimiter_of(&self.text[self.taken..], self.ended)? {
                Some(delimiter) => {
                    self.delimiter = Some(delimiter);
                    let lines = Lines::default().after(&self.text.as_bytes()[..self.taken]);
                    self.splitter.insert(Splitter::after(delimiter, lines))
                }
                None => return Ok(false),
            },
        };
        let (taken, complete) = splitter.split(&self.text.as_bytes()[self.taken..])?;
        self.taken += taken;
        Ok(complete)
    }

    /// Decodes the next slice; returns false at the end of the file.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        if self.ended {
            return Ok(false);
        }
        self.drop_taken();
        let before = self.text.len();
        while self.chunk.is_empty() {
            match self.source.next().await {
                Some(chunk) => self.chunk = chunk.map_err(ReadError::Source)?,
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        if self.is_between {
            self.starts
                .push_back((isize::try_from(before).unwrap_or_default(), self.offset));
        }
        let slice = &self.chunk[..self.chunk.len().min(SLICE)];
        let slice = self.chunk.split_to(self.decoder.cut(slice, self.offset));
        self.offset += u64::try_from(slice.len()).unwrap_or_default();
        let decoded = match self.ended {
            true => self.decoder.finish(&mut self.text),
            false => self.decoder.push(&slice, &mut self.text),
        };
        self.is_between = self.decoder.is_between(&slice, self.offset);
        // The text decoded before a fault may contain a NUL, which is the earlier fault then.
        self.refuse_nul(before)?;
        decoded.map_err(|fault| {
            if fault.code == "wrong_encoding" {
                fault.at(self.line_at(self.text.len()))
            } else {
                fault
            }
        })?;
        self.skip_read();
        Ok(true)
    }

    /// Drops the text of earlier records.
    fn drop_taken(&mut self) {
        self.text.drain(..self.taken);
        let taken = isize::try_from(self.taken).unwrap_or_default();
        self.taken = 0;
        self.starts.iter_mut().for_each(|(start, _)| *start -= taken);
        while self.starts.get(1).is_some_and(|(start, _)| *start <= 0) {
            self.starts.pop_front();
        }
    }

    /// Skips text that an earlier reader has read.
    fn skip_read(&mut self) {
        if self.skip > 0 {
            self.taken = self.text.floor_char_boundary(self.skip);
            self.skip -= self.taken;
        }
    }

    /// Refuses U+0000: no column of any dataset can store it, and it usually means that the encoding is another one.
    fn refuse_nul(&self, from: usize) -> Result<(), FileFault> {
        match self.text.as_bytes()[from..].iter().position(|b| *b == 0) {
            None => Ok(()),
            Some(place) => {
                let message = "the file contains NUL characters; UTF-16 needs a byte order mark, or encoding=utf-16le";
                Err(FileFault::new("nul_character", message).at(self.line_at(from + place)))
            }
        }
    }

    /// Physical line of a position in the decoded text.
    fn line_at(&self, place: usize) -> u64 {
        let taken = self.splitter.as_ref().map(Splitter::lines).unwrap_or_default();
        taken.after(&self.text.as_bytes()[self.taken..place]).number()
    }
}

/// The delimiter that occurs most often in the header; `None` until the header is complete.
fn delimiter_of(text: &str, ended: bool) -> Result<Option<u8>, FileFault> {
    let mut counts = [0_usize; DELIMITERS.len()];
    let (mut quoted, mut begun) = (false, false);
    for &c in text.as_bytes() {
        match c {
            b'\r' | b'\n' if !quoted && begun => return Ok(Some(most(&counts))),
            b'\r' | b'\n' => continue,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            _ => {
                if let Some(place) = DELIMITERS.iter().position(|delimiter| *delimiter == c) {
                    counts[place] += 1;
                }
            }
        }
        begun = true;
    }
    if counts.iter().any(|count| *count >= MAX_FIELDS) {
        let message = format!("the header has more than {MAX_FIELDS} columns");
        return Err(FileFault::new("too_many_columns", message).at(1));
    }
    if text.len() > MAX_RECORD_BYTES {
        let message =
            format!("the header is longer than {MAX_RECORD_BYTES} bytes; perhaps a quote in it is never closed");
        return Err(FileFault::new("record_too_long", message).at(1));
    }
    Ok(ended.then(|| most(&counts)))
}

fn most(counts: &[usize; DELIMITERS.len()]) -> u8 {
    let best = counts.iter().copied().max().unwrap_or(0);
    let place = counts.iter().position(|count| *count == best).unwrap_or(0);
    DELIMITERS[place]
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
