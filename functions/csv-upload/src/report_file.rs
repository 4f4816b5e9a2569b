//! The report of rejected rows as a CSV file: the columns of the upload's file and one more, `annals_errors` with the upload's id. The caller
//! corrects the rows and sends the file again, which is then read as the upload's file was.

use annals_csv::ERRORS_COLUMN;
use annals_csv::formula::guarded;
use annals_domain::formula::BYTE_ORDER_MARK;
use annals_http::ApiError;
use annals_store::{RejectedCell, RejectedRow};
use uuid::Uuid;

/// Bytes at which a file is full. With the row that exceeds them, the file can still be sent again in one request.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// A report being written.
pub(crate) struct ReportFile {
    writer: csv::Writer<Vec<u8>>,
    width: usize,
}

impl ReportFile {
    /// A report of an upload, with the header of its file.
    ///
    /// # Errors
    /// It never fails in practice, because the file is written to memory.
    pub(crate) fn new(id: Uuid, columns: &[String], delimiter: char) -> Result<Self, ApiError> {
        let writer = csv::WriterBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .terminator(csv::Terminator::CRLF)
            .flexible(true)
            .from_writer(BYTE_ORDER_MARK.to_vec());
        let mut file = Self {
            writer,
            width: columns.len(),
        };
        let mark = format!("{ERRORS_COLUMN} {id}");
        file.write(columns.iter().map(String::as_str).chain([mark.as_str()]))?;
        Ok(file)
    }

    /// Adds a row: the fields of the header's columns, then its errors, then the fields beyond the header.
    ///
    /// # Errors
    /// It never fails in practice, because the file is written to memory.
    pub(crate) fn add(&mut self, row: &RejectedRow) -> Result<(), ApiError> {
        let field = |place: usize| row.fields.get(place).map_or("", String::as_str);
        let errors: Vec<String> = row.errors.iter().map(error_text).collect();
        let errors = errors.join("; ");
        let beyond = self.width..row.fields.len().max(self.width);
        let fields = (0..self.width)
            .map(field)
            .chain([errors.as_str()])
            .chain(beyond.map(field));
        self.write(fields)
    }

    fn write<'a>(&mut self, fields: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
        let fields = fields.map(|field| guarded(field).into_owned());
        self.writer
            .write_record(fields)
            .map_err(|error| ApiError::Internal(Box::new(error)))
    }

    /// Whether the file has so many bytes that no more rows are added.
    pub(crate) fn is_full(&self) -> bool {
        self.writer.get_ref().len() >= MAX_BYTES
    }

    /// The bytes of the finished file.
    ///
    /// # Errors
    /// It never fails in practice, because the file is written to memory.
    pub(crate) fn finish(self) -> Result<Vec<u8>, ApiError> {
        self.writer
            .into_inner()
            .map_err(|error| ApiError::Internal(error.to_string().into()))
    }
}

fn error_text(cell: &RejectedCell) -> String {
    match &cell.column {
        Some(column) => format!("{column}: {} ({})", cell.message, cell.code),
        None => format!("{} ({})", cell.message, cell.code),
    }
}

#[cfg(test)]
#[path = "report_file_tests.rs"]
mod tests;
