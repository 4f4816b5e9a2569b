//! The beginning of a file: its delimiter, its header, and the lines before it.

use annals_csv::{
    Dataset, ERRORS_COLUMN, FileFault, Format, ReadError, ReadOptions, Reader, SALES, field_text, formula,
    reported_upload,
};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Map, Value};

use crate::structure::{self, Declared, Structure};

/// How a file begins.
#[derive(Debug)]
pub struct Beginning {
    pub(crate) format: Format,
    pub(crate) structure: Structure,
    pub(crate) line_ends: &'static str,
    pub(crate) extent: Extent,
}

/// How much of a file there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Only its beginning: its last record may be cut off, and nothing is known of its end.
    Beginning,
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
            extent: Extent::Whole,
        })
    }

    /// The same of a source that has this much of the file. A source that has only the beginning is inspected as far as it goes, but such an
    /// inspection is never certain.
    #[must_use]
    pub fn with_extent(self, extent: Extent) -> Self {
        Self { extent, ..self }
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

/// Parses upload fields that say how a file is read. Others, such as `mode`, are left to the upload.
pub(crate) fn read_options(fields: &Map<String, Value>, dataset: &Dataset) -> Result<ReadOptions, FileFault> {
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
