//! The same tables as CSV, as a gzip archive, and as workbooks.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A cell of a table.
#[derive(Clone)]
pub enum Cell {
    Text(String),
    /// A number, as the file has it and as it is shown.
    Number(String, String),
    /// The 31st of March 2026 and so many days later.
    Day(u32),
    /// A formula and its value, if that is saved.
    Formula(&'static str, Option<&'static str>),
    /// An error such as `#N/A`.
    Error(&'static str),
}

/// Rows of cells.
pub type Table = Vec<Vec<Cell>>;

pub fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

pub fn number(number: &str) -> Cell {
    Cell::Number(number.to_owned(), number.to_owned())
}

fn day(after: u32) -> String {
    let first = chrono::NaiveDate::from_ymd_opt(2026, 3, 31).unwrap();
    (first + chrono::Days::new(u64::from(after))).to_string()
}

pub fn csv(table: &Table) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in table {
        let fields = row.iter().map(|cell| match cell {
            Cell::Text(text) | Cell::Number(_, text) => text.clone(),
            Cell::Day(after) => day(*after),
            Cell::Formula(_, value) => value.unwrap_or_default().to_owned(),
            Cell::Error(error) => (*error).to_owned(),
        });
        writer.write_record(fields).unwrap();
    }
    writer.into_inner().unwrap()
}

pub fn gzip(file: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(file).unwrap();
    encoder.finish().unwrap()
}

pub fn zipped(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

pub fn xlsx(sheets: &[(&str, &Table)]) -> Vec<u8> {
    let kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let related = |id: &str, kind: &str, target: &str| {
        format!(r#"<Relationship Id="{id}" Type="{kinds}/{kind}" Target="{target}"/>"#)
    };
    let (mut texts, mut names, mut parts) = (String::new(), String::new(), Vec::new());
    let mut list = related("styles", "styles", "styles.xml") + &related("texts", "sharedStrings", "sharedStrings.xml");
    let mut count = 0;
    for (place, (name, table)) in sheets.iter().enumerate() {
        let mut rows = String::new();
        for (row, cells) in table.iter().enumerate() {
            rows += &format!(r#"<row r="{}">"#, row + 1);
            for (column, cell) in cells.iter().enumerate() {
                let at = format!("r=\"{}{}\"", char::from(b'A' + u8::try_from(column).unwrap()), row + 1);
                rows += &match cell {
                    Cell::Text(text) => {
                        texts += &format!(r#"<si><t xml:space="preserve">{}</t></si>"#, escaped(text));
                        count += 1;
                        format!(r#"<c {at} t="s"><v>{}</v></c>"#, count - 1)
                    }
                    Cell::Number(number, _) => format!("<c {at}><v>{number}</v></c>"),
                    Cell::Day(after) => format!(r#"<c {at} s="1"><v>{}</v></c>"#, 46_112 + after),
                    Cell::Formula(formula, Some(value)) => format!("<c {at}><f>{formula}</f><v>{value}</v></c>"),
                    Cell::Formula(formula, None) => format!("<c {at}><f>{formula}</f></c>"),
                    Cell::Error(error) => format!(r#"<c {at} t="e"><v>{error}</v></c>"#),
                };
            }
            rows += "</row>";
        }
        list += &related(&format!("r{place}"), "worksheet", &format!("worksheets/{place}.xml"));
        names += &format!(
            r#"<sheet name="{}" sheetId="{}" r:id="r{place}"/>"#,
            escaped(name),
            place + 1
        );
        parts.push((
            format!("xl/worksheets/{place}.xml"),
            format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"),
        ));
    }
    parts.push(("[Content_Types].xml".to_owned(), "<Types/>".to_owned()));
    let main = related("main", "officeDocument", "xl/workbook.xml");
    for (name, list) in [("_rels/.rels", main), ("xl/_rels/workbook.xml.rels", list)] {
        parts.push((name.to_owned(), format!("<Relationships>{list}</Relationships>")));
    }
    parts.push((
        "xl/workbook.xml".to_owned(),
        format!("<workbook><sheets>{names}</sheets></workbook>"),
    ));
    parts.push(("xl/sharedStrings.xml".to_owned(), format!("<sst>{texts}</sst>")));
    let styles = r#"<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;
    parts.push(("xl/styles.xml".to_owned(), styles.to_owned()));
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, xml)| (name.as_str(), xml.as_str())).collect();
    zipped(&parts)
}

pub fn ods(sheets: &[(&str, &Table)]) -> Vec<u8> {
    let mut tables = String::new();
    for (name, table) in sheets {
        tables += &format!(r#"<table:table table:name="{}">"#, escaped(name));
        for cells in *table {
            tables += "<table:table-row>";
            for cell in cells {
                tables += &match cell {
                    Cell::Text(text) => ods_cell("string", "", &escaped(text).replace('\n', "</text:p><text:p>")),
                    Cell::Number(number, shown) => ods_cell("float", &format!("office:value=\"{number}\""), shown),
                    Cell::Day(after) => ods_cell("date", &format!("office:date-value=\"{}\"", day(*after)), "a day"),
                    Cell::Formula(formula, Some(value)) => {
                        let value = format!("table:formula=\"of:={formula}\" office:value=\"{value}\"");
                        ods_cell("float", &value, "shown")
                    }
                    Cell::Formula(formula, None) => format!(r#"<table:table-cell table:formula="of:={formula}"/>"#),
                    Cell::Error(error) => {
                        ods_cell("string", "office:string-value=\"\" calcext:value-type=\"error\"", error)
                    }
                };
            }
            // What a spreadsheet writes up to its last column.
            tables += r#"<table:table-cell table:number-columns-repeated="16000"/></table:table-row>"#;
        }
        tables += r#"<table:table-row table:number-rows-repeated="1000000"><table:table-cell/></table:table-row></table:table>"#;
    }
    let content = format!(
        "<office:document-content><office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>\
         </office:document-content>"
    );
    zipped(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", &content),
        ("META-INF/manifest.xml", "<manifest:manifest/>"),
    ])
}

fn ods_cell(kind: &str, value: &str, shown: &str) -> String {
    format!(r#"<table:table-cell office:value-type="{kind}" {value}><text:p>{shown}</text:p></table:table-cell>"#)
}
