//! Inspecting a file: three passes over it, of which the first reads its beginning only.

use std::collections::VecDeque;

use annals_csv::{
    Dataset, DateFormat, ERRORS_COLUMN, FileFault, Format, ReadError, ReadOptions, Reader, Record, SALES, field_text,
    formula, reported_upload,
};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::choice::{ColumnChoice, Doubt, Finding, Proposal};
use crate::lookup::{self, Header};
use crate::profile::{MAX_COLUMNS, Profiles, is_heading};
use crate::proposal::{Table, propose};
use crate::structure::{self, Declared, Structure};
use crate::trial::{Trial, Trying};

/// Most records at the end that may be a footer.
const MAX_FOOTER: usize = 30;

/// What a file says.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Name of the dataset.
    pub dataset: &'static str,
    /// Upload fields that read the file as proposed. Sent with the file, they do exactly that.
    pub options: Map<String, Value>,
    /// Whether nothing is in doubt and every row is read.
    pub certain: bool,
    /// What the file does not decide.
    pub doubts: Vec<Doubt>,
    /// Name of its encoding.
    pub encoding: String,
    /// How its lines end: `lf`, `crlf` or `cr`.
    pub line_ends: &'static str,
    /// The character that separates fields.
    pub delimiter: char,
    /// Physical line of the header, or of the first row.
    pub header_line: u64,
    /// The header; `None`: the file has none, and columns are called by their numbers.
    pub header: Option<Vec<String>>,
    /// Lines before the header.
    pub before: Vec<String>,
    /// Lines after the last row.
    pub after: Vec<String>,
    /// Which of its columns is which of ours.
    pub columns: Vec<ColumnChoice>,
    /// The evidence for the other fields.
    pub findings: Vec<Finding>,
    /// What an upload with these fields would do, but for what the log knows.
    pub trial: Option<Trial>,
}

/// How a file begins.
#[derive(Debug)]
pub struct Beginning {
    format: Format,
    structure: Structure,
    line_ends: &'static str,
}

impl Beginning {
    /// Reads the beginning of a file. `declared` are upload fields that the caller is sure of.
    ///
    /// # Errors
    /// The file cannot be read at all, a declared field is malformed, or its source failed.
    pub async fn read<S>(source: S, declared: &Map<String, Value>, dataset: &Dataset) -> Result<Self, ReadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let format = read_options(declared, dataset)?.format;
        Self::of(Reader::new(source, format), format, declared).await
    }

    async fn of<S>(reader: Reader<S>, format: Format, declared: &Map<String, Value>) -> Result<Self, ReadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let (structure, line_ends) = find_structure(reader, format, declared).await?;
        Ok(Self {
            format,
            structure,
            line_ends,
        })
    }

    /// The header; `None`: the file has none.
    pub fn header(&self) -> Option<&[String]> {
        self.structure.header.as_deref()
    }

    /// What a report of rejected rows is about; `None` if the file is no report.
    pub fn report(&self) -> Option<Report> {
        let header = self.header()?;
        let mark = header.iter().position(|name| reported_upload(name).is_some())?;
        let names = header[..mark].iter().map(|name| formula::bare(name).into_owned());
        Some(Report {
            upload: reported_upload(&header[mark]).unwrap_or_default().to_owned(),
            header: names.collect(),
        })
    }
}

/// What a report of rejected rows is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The id of the upload; empty if the report does not name it.
    pub upload: String,
    /// The header of the upload's file.
    pub header: Vec<String>,
}

/// What a report of rejected rows is about; `None` if the file is no report, which most files are found to be at once.
///
/// # Errors
/// As [`Beginning::read`].
pub async fn report_of<S>(
    source: S,
    declared: &Map<String, Value>,
    dataset: &Dataset,
) -> Result<Option<Report>, ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let format = read_options(declared, dataset)?.format;
    let mut reader = Reader::new(source, format);
    if !reader.sample().await?.0.contains(ERRORS_COLUMN) {
        return Ok(None);
    }
    let beginning = Beginning::of(reader, format, declared).await?;
    Ok(beginning.report())
}

/// Whether an upload field of this name says how a file is read.
pub fn is_about_reading(name: &str) -> bool {
    // A field is known by its name: whatever its value, it is set or refused.
    !matches!(ReadOptions::default().set(name, "", &SALES), Ok(false))
}

/// Inspects a file. `open` opens it from its beginning, several times; `declared` are upload fields that the caller is sure of, and `remembered`
/// those that were confirmed for another file with this header.
///
/// # Errors
/// The file cannot be read at all, a field does not fit it, or its source failed.
pub async fn inspect<S>(
    open: impl Fn() -> S,
    dataset: &'static Dataset,
    beginning: Beginning,
    declared: &Map<String, Value>,
    remembered: &Map<String, Value>,
) -> Result<Inspection, ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let Beginning {
        format,
        structure,
        line_ends,
    } = beginning;
    let mut sure = remembered.clone();
    sure.extend(declared.clone());
    let (caller_declared, declared) = (declared, &sure);
    let found = profile(Reader::new(open(), format), &structure).await?;
    let headers: Vec<String> = match &structure.header {
        Some(header) => header.clone(),
        None => (1..=structure.width).map(|number| number.to_string()).collect(),
    };
    let table = Table {
        dataset,
        headers: headers
            .iter()
            .map(|header| Header::of(header))
            .take(MAX_COLUMNS)
            .collect(),
        has_header: structure.header.is_some(),
        profiles: &found.profiles,
        named_before: lookup::currency_in(&structure.before),
        declared,
    };
    let mut proposal = propose(&table);
    propose_structure(&mut proposal, &structure, &found, declared);
    if found.footer_has_day && !declared.contains_key("skip_footer") {
        proposal.doubt(
            "skip_footer",
            "the last lines look like totals, and have a day",
            Vec::new(),
        );
    }
    for field in remembered.keys().filter(|field| !caller_declared.contains_key(*field)) {
        proposal.note("options", format!("{field} was confirmed for a file with this header"));
    }
    let mut options = declared.clone();
    options.extend(std::mem::take(&mut proposal.fields));
    let read = read_options(&options, dataset)?;
    let header = Record::of(&headers);
    let trial = match Trying::new(dataset, &read, &header) {
        Ok(trying) => {
            let reader = Reader::new(open(), read.format);
            Some(
                try_rows(
                    reader,
                    trying,
                    &structure,
                    usize::try_from(read.format.skip_footer).unwrap_or_default(),
                )
                .await?,
            )
        }
        Err(fault) => {
            proposal.doubt("mapping", fault.detail(), Vec::new());
            None
        }
    };
    let is_read = trial
        .as_ref()
        .is_some_and(|trial| trial.rows_refused == 0 && trial.rows_accepted > 0);
    Ok(Inspection {
        dataset: dataset.name,
        options,
        certain: proposal.doubts.is_empty() && is_read,
        doubts: proposal.doubts,
        encoding: found.encoding,
        line_ends,
        delimiter: char::from(structure.delimiter),
        header_line: structure.line,
        header: structure.header,
        before: structure.before,
        after: found.footer,
        columns: proposal.columns,
        findings: proposal.findings,
        trial,
    })
}

/// Parses upload fields that say how a file is read. Others, such as `mode`, are left to the upload.
fn read_options(fields: &Map<String, Value>, dataset: &Dataset) -> Result<ReadOptions, FileFault> {
    let mut options = ReadOptions::default();
    for (name, value) in fields {
        let set = options.set(name, &field_text(value), dataset);
        set.map_err(|detail| FileFault::new("malformed_request", format!("{name} {detail}")))?;
    }
    Ok(options)
}

async fn find_structure<S>(
    mut reader: Reader<S>,
    format: Format,
    declared: &Map<String, Value>,
) -> Result<(Structure, &'static str), ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let declared = Declared {
        delimiter: format.delimiter,
        skip_rows: declared.contains_key("skip_rows").then_some(format.skip_rows),
        has_no_header: format.has_no_header,
    };
    let (text, is_whole) = reader.sample().await?;
    let line_ends = match (text.find('\r'), text.find('\n')) {
        (Some(cr), Some(lf)) if lf == cr + 1 => "crlf",
        (Some(cr), lf) if lf.is_none_or(|lf| cr < lf) => "cr",
        _ => "lf",
    };
    let structure = structure::find(text, is_whole, declared).ok_or_else(FileFault::empty_file)?;
    Ok((structure, line_ends))
}

/// What the second pass finds.
struct Found {
    profiles: Profiles,
    /// The records after the last row, as text.
    footer: Vec<String>,
    /// Whether one of them has a day in a cell of its own beside others.
    footer_has_day: bool,
    encoding: String,
}

async fn profile<S>(mut reader: Reader<S>, structure: &Structure) -> Result<Found, ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let mut profiles = Profiles::new(structure.width);
    let (width, usual) = (structure.width, structure.filled);
    begin(&mut reader, structure).await?;
    let mut last: VecDeque<Record> = VecDeque::with_capacity(MAX_FOOTER + 1);
    let add = |profiles: &mut Profiles, record: &Record| match is_heading(record, width, usual) {
        true => profiles.read_heading(record),
        false => profiles.read(record),
    };
    while let Some(record) = reader.next().await? {
        last.push_back(record.copy());
        if last.len() > MAX_FOOTER
            && let Some(record) = last.pop_front()
        {
            add(&mut profiles, &record);
        }
    }
    let is_row = |record: &Record| !is_heading(record, width, usual);
    let rows = last.iter().rposition(is_row).map_or(0, |place| place + 1);
    for record in last.iter().take(rows) {
        add(&mut profiles, record);
    }
    let text = |record: &Record| record.fields().collect::<Vec<_>>().join(" ").trim().to_owned();
    let has_day = |record: &Record| {
        structure::filled(record) > 2
            && record
                .fields()
                .any(|field| !DateFormat::candidates(field.trim()).is_empty())
    };
    Ok(Found {
        footer_has_day: last.iter().skip(rows).any(has_day),
        profiles,
        footer: last.iter().skip(rows).map(text).collect(),
        encoding: reader.encoding().name().to_owned(),
    })
}

/// Reads up to the first row.
async fn begin<S>(reader: &mut Reader<S>, structure: &Structure) -> Result<(), ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    reader.skip_lines(structure.skip_rows, structure.delimiter).await?;
    if structure.header.is_some() {
        reader.next().await?;
    }
    Ok(())
}

async fn try_rows<S>(
    mut reader: Reader<S>,
    mut trying: Trying<'_>,
    structure: &Structure,
    footer: usize,
) -> Result<Trial, ReadError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    begin(&mut reader, structure).await?;
    let mut last: VecDeque<Record> = VecDeque::with_capacity(footer + 1);
    while let Some(record) = reader.next().await? {
        last.push_back(record.copy());
        if last.len() > footer
            && let Some(record) = last.pop_front()
        {
            trying.read(&record);
        }
    }
    trying.leave_out(u64::try_from(last.len()).unwrap_or_default());
    Ok(trying.finish())
}

fn propose_structure(proposal: &mut Proposal, structure: &Structure, found: &Found, declared: &Map<String, Value>) {
    let is_open = |field: &str| !declared.contains_key(field);
    if is_open("delimiter") {
        let name = match structure.delimiter {
            b'\t' => "tab".to_owned(),
            other => char::from(other).to_string(),
        };
        proposal.set(
            "delimiter",
            name,
            format!("it divides most lines into {} fields", structure.width),
        );
    }
    if structure.header.is_none() && is_open("header") {
        proposal.set(
            "header",
            "none",
            "the first line has a day or a number, as no header has",
        );
    }
    if structure.skip_rows > 0 && is_open("skip_rows") {
        proposal.set(
            "skip_rows",
            structure.skip_rows,
            "the lines before the header are no rows",
        );
    }
    if !found.footer.is_empty() && is_open("skip_footer") {
        proposal.set(
            "skip_footer",
            json!(found.footer.len()),
            "the last lines are totals or remarks",
        );
    }
    if found.encoding != "UTF-8" && is_open("encoding") {
        proposal.set("encoding", found.encoding.to_lowercase(), "its bytes are no UTF-8");
    }
}
