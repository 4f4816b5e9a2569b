//! The passes over all rows: what the columns have in common, and the trial.

use std::collections::VecDeque;

use annals_csv::{Dataset, DateFormat, ReadError, Reader, Record};
use bytes::Bytes;
use futures_util::Stream;

use crate::beginning::Extent;
use crate::lookup::Header;
use crate::profile::{Profiles, is_heading, is_total};
use crate::structure::{self, Structure};
use crate::trial::Trying;

/// Most records at the end that may be a footer.
const MAX_FOOTER: usize = 30;
/// Maximum bytes of those records together.
const MAX_FOOTER_BYTES: usize = 4 * 1024 * 1024;
/// Maximum bytes of a text of the footer that is shown.
const MAX_SHOWN: usize = 1_000;

/// What the second pass finds.
pub struct Found {
    /// What the columns have.
    pub profiles: Profiles,
    /// How many records there are after the header.
    pub records: u64,
    /// The records after the last row, as text.
    pub footer: Vec<String>,
    /// Whether one of them has a day in a cell of its own beside others.
    pub footer_has_day: bool,
    /// Physical line of the last record, if it alone has fewer fields than the header, so that the file may be cut off in it.
    pub cut_off: Option<u64>,
    /// Rows of the file that have nothing in any cell.
    pub blank_rows: u64,
    /// Name of the encoding.
    pub encoding: String,
}

/// The records of a file after its header. Of a file of which there is only the beginning, the last record is left out, because it may be cut off.
struct Rows<S> {
    reader: Reader<S>,
    extent: Extent,
    /// The record that was read last, which is not given out if it is the last of a beginning.
    held: Option<Record>,
    blank: Blank,
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Rows<S> {
    async fn of(mut reader: Reader<S>, structure: &Structure, extent: Extent) -> Result<Self, ReadError> {
        reader.skip_lines(structure.skip_rows, structure.delimiter).await?;
        let mut blank = Blank {
            next: structure.line,
            rows: 0,
        };
        if structure.header.is_some()
            && let Some(header) = reader.next().await?
        {
            blank.next = header.line();
            blank.read(header);
        }
        Ok(Self {
            reader,
            extent,
            held: None,
            blank,
        })
    }

    async fn next(&mut self) -> Result<Option<Record>, ReadError> {
        if self.extent == Extent::Whole {
            return self.take().await;
        }
        loop {
            match self.take().await {
                Ok(Some(next)) => match self.held.replace(next) {
                    Some(record) => return Ok(Some(record)),
                    None => continue,
                },
                Ok(None) => return Ok(None),
                // The last record is the one that cannot be read: a quote is open, or a character is incomplete.
                Err(ReadError::File(_)) => return Ok(self.held.take()),
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn take(&mut self) -> Result<Option<Record>, ReadError> {
        let record = self.reader.next().await?;
        if let Some(record) = record {
            self.blank.read(record);
        }
        Ok(record.map(Record::copy))
    }
}

/// Counts blank rows by the lines between records.
struct Blank {
    /// The line after the last record.
    next: u64,
    rows: u64,
}

impl Blank {
    fn read(&mut self, record: &Record) {
        self.rows += record.line().saturating_sub(self.next);
        let breaks = record.fields().map(line_breaks).sum::<u64>();
        self.next = record.line() + breaks + 1;
    }

    /// Counts the blank rows at the end, of which the last one is what was read last.
    fn end(&self, last: &Record) -> u64 {
        let is_row = last.width() > 0 && last.is_blank() && last.line() >= self.next;
        self.rows + if is_row { last.line() - self.next + 1 } else { 0 }
    }
}

/// How many lines end within a field.
fn line_breaks(field: &str) -> u64 {
    let bytes = field.as_bytes();
    let is_end =
        |place: usize| bytes[place] == b'\n' || (bytes[place] == b'\r' && bytes.get(place + 1) != Some(&b'\n'));
    let ends = (0..bytes.len()).filter(|place| is_end(*place)).count();
    u64::try_from(ends).unwrap_or_default()
}

/// The second pass.
///
/// # Errors
/// The file cannot be read to its end.
pub async fn profile<S>(
    reader: Reader<S>,
    structure: &Structure,
    extent: Extent,
    dataset: &Dataset,
) -> Result<Found, ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let mut rows = Rows::of(reader, structure, extent).await?;
    let mut profiles = Profiles::new(structure.width, &places_of_ids(structure, dataset));
    let is_heading = |record: &Record| is_heading(record, structure.width, structure.filled);
    let add = |profiles: &mut Profiles, record: &Record| match is_heading(record) {
        true => profiles.read_heading(record),
        false => profiles.read(record),
    };
    let (mut last, mut bytes) = (VecDeque::with_capacity(MAX_FOOTER + 1), 0);
    let mut records = 0;
    let mut ends = Ends::default();
    while let Some(record) = rows.next().await? {
        records += 1;
        ends.read(&record, structure.width);
        bytes += record.memory();
        last.push_back(record);
        while (last.len() > MAX_FOOTER || bytes > MAX_FOOTER_BYTES)
            && let Some(record) = last.pop_front()
        {
            bytes -= record.memory();
            add(&mut profiles, &record);
        }
    }
    let end = match extent {
        Extent::Whole => last
            .iter()
            .rposition(|record| !is_heading(record))
            .map_or(0, |place| place + 1),
        Extent::Beginning => last.len(),
    };
    last.iter().take(end).for_each(|record| add(&mut profiles, record));
    profiles.forget_values();
    let footer = || last.iter().skip(end);
    Ok(Found {
        records,
        cut_off: ends.cut_off().filter(|_| extent == Extent::Whole),
        footer_has_day: footer().any(has_day),
        profiles,
        footer: footer().map(text_of).collect(),
        blank_rows: rows.blank.end(&rows.reader.record()),
        encoding: rows.reader.encoding().name().to_owned(),
    })
}

/// Whether the last record is the only one with fewer fields than the header. A total is none, and a remark after a blank line neither.
#[derive(Default)]
struct Ends {
    records: u64,
    narrow: u64,
    /// The line after the last record.
    next: u64,
    /// The line of the last record, if it is narrow.
    last: Option<u64>,
}

impl Ends {
    fn read(&mut self, record: &Record, width: usize) {
        self.records += 1;
        let is_narrow = record.width() < width;
        self.narrow += u64::from(is_narrow);
        let is_apart = record.line() > self.next && self.records > 1;
        self.last = (is_narrow && !is_apart && !is_total(record)).then(|| record.line());
        self.next = record.line() + record.fields().map(line_breaks).sum::<u64>() + 1;
    }

    fn cut_off(&self) -> Option<u64> {
        self.last.filter(|_| self.narrow == 1)
    }
}

/// The columns that are called like ids.
fn places_of_ids(structure: &Structure, dataset: &Dataset) -> Vec<usize> {
    let headers = structure.header.iter().flatten().enumerate();
    let ids = headers.filter(|(_, header)| Header::of(header).rank_for(dataset.id).is_some());
    ids.map(|(place, _)| place).collect()
}

fn text_of(record: &Record) -> String {
    let text = record.fields().collect::<Vec<_>>().join(" ");
    let text = text.trim();
    text[..text.floor_char_boundary(MAX_SHOWN)].to_owned()
}

fn has_day(record: &Record) -> bool {
    let is_day = |field: &str| !DateFormat::candidates(field.trim()).is_empty();
    structure::filled(record) > 2 && record.fields().any(is_day)
}

/// The third pass. The records after this number of them are the footer.
///
/// # Errors
/// The file cannot be read to its end.
pub async fn try_rows<S>(
    reader: Reader<S>,
    trying: &mut Trying<'_>,
    structure: &Structure,
    extent: Extent,
    rows: u64,
) -> Result<(), ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let mut records = Rows::of(reader, structure, extent).await?;
    let mut place = 0;
    while let Some(record) = records.next().await? {
        match place < rows {
            true => trying.read(&record),
            false => trying.leave_out(&record),
        }
        place += 1;
    }
    Ok(())
}
