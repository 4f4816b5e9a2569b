//! Inspecting a file: three passes over it, of which the first reads its beginning only.

use annals_csv::{Dataset, ReadError, Reader, Record};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::beginning::{Beginning, Extent, read_options};
use crate::choice::{ColumnChoice, Doubt, Finding, Proposal};
use crate::currency_words::Preamble;
use crate::lookup::Header;
use crate::passes::{Found, profile, try_rows};
use crate::profile::MAX_COLUMNS;
use crate::proposal::{Table, beside, propose};
use crate::structure::Structure;
use crate::trial::{Trial, Trying};

/// What a file says.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Name of the dataset.
    pub dataset: &'static str,
    /// Upload fields that read the file as proposed. Sent with the file, they do exactly that.
    pub options: Map<String, Value>,
    /// Whether nothing is in doubt and every row is read. Never, if there is only the beginning of the file.
    pub certain: bool,
    /// What the file does not decide.
    pub doubts: Vec<Doubt>,
    /// Name of its encoding.
    pub encoding: String,
    /// How its lines end: `lf`, `crlf` or `cr`.
    pub line_ends: &'static str,
    /// The character that separates fields.
    pub delimiter: char,
    /// The character around fields that have a delimiter or a line break; `None`: its beginning has no such field.
    pub quote: Option<char>,
    /// Rows after the header without anything in any cell. They are never rows.
    pub blank_rows: u64,
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
        extent,
    } = beginning;
    let found = profile(Reader::new(open(), format), &structure, extent, dataset).await?;
    let headers = names_of(&structure);
    let columns = headers.iter().take(MAX_COLUMNS);
    let table = Table {
        dataset,
        headers: columns.map(|header| Header::of(header)).collect(),
        has_header: structure.header.is_some(),
        delimiter: structure.delimiter,
        profiles: &found.profiles,
        preamble: Preamble::of(&structure.before),
        declared,
        remembered,
    };
    let (mut proposal, checks) = propose(&table);
    propose_structure(&mut proposal, &structure, &found, &table);
    let options = beside(declared, std::mem::take(&mut proposal.fields));
    let mut read = read_options(&options, dataset)?;
    read.format.is_beginning = format.is_beginning;
    let trial = match Trying::new(dataset, &read, &Record::of(&headers), checks) {
        Ok(mut trying) => {
            let rows = match extent {
                Extent::Whole => found.records.saturating_sub(u64::from(read.format.skip_footer)),
                Extent::Beginning => found.records,
            };
            try_rows(Reader::new(open(), read.format), &mut trying, &structure, extent, rows).await?;
            if !declared.contains_key("skip_rows") {
                trying.read_before(&structure.records_before);
            }
            trying.note_doubts(&mut proposal, declared);
            Some(trying.finish())
        }
        Err(fault) => {
            proposal.doubt("mapping", fault.detail(), Vec::new());
            None
        }
    };
    if found.records == 0 && extent == Extent::Whole {
        let message = "the file has a header and no rows, so nothing more can be said";
        proposal.doubts.clear();
        proposal.doubt("header", message, Vec::new());
    }
    let is_read = |trial: &Trial| trial.rows_refused == 0 && trial.rows_accepted > 0;
    let is_certain = proposal.doubts.is_empty() && extent == Extent::Whole;
    Ok(Inspection {
        dataset: dataset.name,
        options,
        certain: is_certain && trial.as_ref().is_some_and(is_read),
        doubts: proposal.doubts,
        encoding: found.encoding,
        line_ends,
        delimiter: char::from(structure.delimiter),
        quote: structure.quote,
        blank_rows: found.blank_rows,
        header_line: structure.line,
        header: structure.header,
        before: structure.before,
        after: found.footer,
        columns: proposal.columns,
        findings: proposal.findings,
        trial,
    })
}

/// The names by which upload fields know the columns: numbers, if there is no header.
fn names_of(structure: &Structure) -> Vec<String> {
    match &structure.header {
        Some(header) => header.clone(),
        None => (1..=structure.width).map(|number| number.to_string()).collect(),
    }
}

fn propose_structure(proposal: &mut Proposal, structure: &Structure, found: &Found, table: &Table<'_>) {
    let is_open = |field: &str| !table.declared.contains_key(field);
    if is_open("delimiter") {
        let name = match structure.delimiter {
            b'\t' => "tab".to_owned(),
            other => char::from(other).to_string(),
        };
        let reason = format!("it divides most lines into {} fields", structure.width);
        proposal.set("delimiter", name, reason);
    }
    if structure.header.is_none() && is_open("header") {
        let reason = "the first line has a day or a number, as no header has";
        proposal.set("header", "none", reason);
    }
    if structure.skip_rows > 0 && is_open("skip_rows") {
        let reason = "the lines before the header are no rows";
        proposal.set("skip_rows", structure.skip_rows, reason);
        if structure.has_row_before {
            let message =
                "a line before the header has a day and an amount, or as many cells as rows have: it may be a row";
            proposal.doubt("skip_rows", message, Vec::new());
        }
    }
    propose_end(proposal, found, table);
}

fn propose_end(proposal: &mut Proposal, found: &Found, table: &Table<'_>) {
    let is_open = |field: &str| !table.declared.contains_key(field);
    if let Some(line) = found.cut_off.filter(|_| is_open("skip_footer")) {
        let message = format!(
            "line {line}, the last one, has fewer fields than all others: the file may be cut off there, and rows may be missing"
        );
        proposal.doubt("skip_footer", message, Vec::new());
    }
    if !found.footer.is_empty() && is_open("skip_footer") {
        let reason = "the last lines are totals or remarks";
        proposal.set("skip_footer", json!(found.footer.len()), reason);
        if found.footer_has_day {
            let message = "the last lines look like totals, and have a day";
            proposal.doubt("skip_footer", message, Vec::new());
        }
    }
    if found.encoding != "UTF-8" && is_open("encoding") {
        let before = table.remembered.get("encoding").and_then(Value::as_str);
        // Only of files that are no Unicode, the bytes leave open what they are.
        let is_open = !found.encoding.starts_with("UTF");
        match before.filter(|before| is_open && !before.to_lowercase().starts_with("utf")) {
            Some(before) => proposal.recall("encoding", before),
            None => proposal.set("encoding", found.encoding.to_lowercase(), "its bytes are no UTF-8"),
        }
    }
}
