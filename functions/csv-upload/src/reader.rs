//! A stream of bytes to records: decoding, the search for the delimiter, splitting.
//!
//! Memory is bounded by a slice of the source's chunk, the sample on which the encoding is judged, and one record. The source
//! can be a request's body or an object's in a store: whatever yields chunks.

use std::collections::VecDeque;

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::decode::Decoder;
use crate::fault::FileFault;
use crate::layout::Layout;
use crate::options::Mapping;
use crate::records::{Lines, MAX_FIELDS, MAX_RECORD_BYTES, Record, Splitter};

/// Bytes that are decoded at a time, however large the source's chunks are.
const SLICE: usize = 32 * 1024;
/// What may separate fields; on a tie the first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] FileFault),
    /// The source is.
    #[error("the file could not be read")]
    Source(#[source] std::io::Error),
}

/// How the file is written; none: to be found out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Format {
    pub(crate) encoding: Option<&'static Encoding>,
    pub(crate) delimiter: Option<u8>,
}

/// Where a record ends, and what it takes to read on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Byte of the file that decoding begins with.
    pub(crate) offset: u64,
    /// Bytes of what is decoded from there to the record's end.
    skip: usize,
    #[serde(flatten)]
    lines: Lines,
}

impl Place {
    /// Bytes of the file up to there; nearly so where a character has other lengths in the file and in memory.
    pub(crate) fn position(&self) -> i64 {
        let skip = u64::try_from(self.skip).unwrap_or_default();
        i64::try_from(self.offset + skip).unwrap_or(i64::MAX)
    }
}

/// Reads a file record by record.
pub(crate) struct Reader<S> {
    source: S,
    chunk: Bytes,
    ended: bool,
    decoder: Decoder,
    text: String,
    taken: usize,
    /// None until the delimiter is known.
    splitter: Option<Splitter>,
    delimiter: Option<u8>,
    /// Byte of the file that the rest of the chunk begins with.
    offset: u64,
    /// Where in the text decoding might have begun, and with which byte of the file; only the first may lie before the text.
    starts: VecDeque<(isize, u64)>,
    /// Whether it might with the rest of the chunk.
    is_between: bool,
    /// Bytes of the text to come that were read before.
    skip: usize,
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Reader<S> {
    /// A reader from the beginning of the source.
    pub(crate) fn new(source: S, format: Format) -> Self {
        Self {
            source,
            chunk: Bytes::new(),
            ended: false,
            decoder: Decoder::new(format.encoding),
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

    /// A reader that goes on at a place; the source begins with the place's offset.
    pub(crate) fn at(source: S, encoding: &'static Encoding, delimiter: u8, place: Place) -> Self {
        Self {
            decoder: Decoder::known(encoding),
            splitter: Some(Splitter::after(delimiter, place.lines)),
            delimiter: Some(delimiter),
            offset: place.offset,
            skip: place.skip,
            ..Self::new(source, Format::default())
        }
    }

    /// Where the record that was read last ends.
    pub(crate) fn place(&self) -> Place {
        let taken = isize::try_from(self.taken).unwrap_or_default();
        let start = self.starts.iter().rev().find(|(start, _)| *start <= taken);
        let (start, offset) = start.copied().unwrap_or_default();
        Place {
            offset: offset.max(self.decoder.mark()),
            skip: usize::try_from(taken - start).unwrap_or_default(),
            lines: self.splitter.as_ref().map(Splitter::lines).unwrap_or_default(),
        }
    }

    /// How the file is written, as far as it was read.
    pub(crate) fn found(&self) -> (&'static Encoding, Option<u8>) {
        (self.decoder.encoding().unwrap_or(UTF_8), self.delimiter)
    }

    /// The next record, header included; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<&Record>, ReadError> {
        while !self.split()? {
            if self.fill().await? {
                continue;
            }
            if !self.splitter.as_mut().map_or(Ok(false), Splitter::finish)? {
                return Ok(None);
            }
            break;
        }
        Ok(self.splitter.as_ref().map(Splitter::record))
    }

    /// The first record as the header of a dataset's file.
    ///
    /// # Errors
    /// An empty file, or no such header.
    pub(crate) async fn header(&mut self, dataset: &Dataset, mapping: &Mapping) -> Result<Layout, ReadError> {
        let header = self.next().await?.ok_or_else(FileFault::empty_file)?;
        let layout = Layout::find(dataset, mapping, header);
        match self.decoder.conflict() {
            // A report of ours has a mark of its own, whatever the file had been that it is sent again with the fields of.
            Some(conflict) if !layout.as_ref().is_ok_and(Layout::is_report) => Err(conflict.clone().into()),
            _ => Ok(layout?),
        }
    }

    /// The record that was read last; an empty one before the first.
    pub(crate) fn record(&self) -> Record {
        self.splitter
            .as_ref()
            .map(|splitter| splitter.record().copy())
            .unwrap_or_default()
    }

    /// What separates fields; a comma as long as nothing was read.
    pub(crate) fn delimiter(&self) -> char {
        self.splitter
            .as_ref()
            .map_or(',', |splitter| char::from(splitter.delimiter()))
    }

    /// Whether the text at hand completes a record.
    fn split(&mut self) -> Result<bool, FileFault> {
        let splitter = match &mut self.splitter {
            Some(splitter) => splitter,
            None => match delimiter_of(&self.text, self.ended)? {
                Some(delimiter) => {
                    self.delimiter = Some(delimiter);
                    self.splitter.insert(Splitter::new(delimiter))
                }
                None => return Ok(false),
            },
        };
        let (taken, complete) = splitter.split(&self.text.as_bytes()[self.taken..])?;
        self.taken += taken;
        Ok(complete)
    }

    /// Decodes some more; answers with whether there may be more text than before.
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
        // What was decoded before a fault may hold an earlier one.
        self.refuse_nul(before)?;
        decoded.map_err(|fault| {
            if fault.code == "wrong_encoding" {
                fault.at(self.line_at(self.text.len()))
            } else {
                fault
            }
        })?;
        self.pass_over();
        Ok(true)
    }

    /// Lets go of the text that records were made of.
    fn drop_taken(&mut self) {
        self.text.drain(..self.taken);
        let taken = isize::try_from(self.taken).unwrap_or_default();
        self.taken = 0;
        self.starts.iter_mut().for_each(|(start, _)| *start -= taken);
        while self.starts.get(1).is_some_and(|(start, _)| *start <= 0) {
            self.starts.pop_front();
        }
    }

    /// Passes over text that was read before.
    fn pass_over(&mut self) {
        if self.skip > 0 {
            self.taken = self.text.floor_char_boundary(self.skip);
            self.skip -= self.taken;
        }
    }

    /// No column of any dataset can hold U+0000, and where it occurs the file is usually not what it seems.
    fn refuse_nul(&self, from: usize) -> Result<(), FileFault> {
        match self.text.as_bytes()[from..].iter().position(|b| *b == 0) {
            None => Ok(()),
            Some(place) => {
                let message = "the file holds NUL characters; UTF-16 needs a byte order mark, or encoding=utf-16le";
                Err(FileFault::new("nul_character", message).at(self.line_at(from + place)))
            }
        }
    }

    /// Physical line of a place in the text at hand.
    fn line_at(&self, place: usize) -> u64 {
        let taken = self.splitter.as_ref().map(Splitter::lines).unwrap_or_default();
        taken.after(&self.text.as_bytes()[self.taken..place]).number()
    }
}

/// The delimiter that occurs most in the header, once all of the header is there.
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
        return Err(FileFault::new("too_many_columns", format!("the header has over {MAX_FIELDS} columns")).at(1));
    }
    if text.len() > MAX_RECORD_BYTES {
        let message =
            format!("the header has over {MAX_RECORD_BYTES} bytes; perhaps a quote is opened in it and never closed");
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
