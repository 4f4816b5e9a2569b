//! .ods files (OpenDocument spreadsheets, ISO/IEC 26300): one part with all sheets. Equal cells and rows that follow each other are written once,
//! with their number.

use std::collections::HashSet;

use quick_xml::events::{BytesStart, Event};

use super::archive::Archive;
use super::fault::{broken, is_named, no_cells, password, unknown_sheet};
use super::limits::{MAX_CELL_BYTES, MAX_COLUMNS, MAX_INFLATED, MAX_ROWS};
use super::number::{duration_text, iso_text};
use super::sheet::{Sheet, SheetText};
use super::xml::{Xml, add_reference, attribute, check_length};
use crate::fault::FileFault;

/// Maximum bytes of the list of parts.
const MAX_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the sheet of a name or, without a name, the first visible one with cells.
pub(super) fn read(archive: &mut Archive<'_>, name: Option<&str>, mut text: SheetText) -> Result<Sheet, FileFault> {
    refuse_password(archive)?;
    let part = archive.part("content.xml", MAX_INFLATED)?;
    let mut part = part.ok_or_else(|| broken("its content is missing"))?;
    let (mut names, mut hidden) = (Vec::new(), HashSet::new());
    let mut style = String::new();
    loop {
        match part.next()? {
            Event::Start(start) => match start.name().as_ref() {
                "style:style" => style = attribute(&start, "style:name")?.unwrap_or_default().into_owned(),
                "style:table-properties" if attribute(&start, "table:display")?.as_deref() == Some("false") => {
                    hidden.insert(style.clone());
                }
                "table:table" => {
                    let found = attribute(&start, "table:name")?.unwrap_or_default().into_owned();
                    let style = attribute(&start, "table:style-name")?.unwrap_or_default();
                    let is_wanted = match name {
                        Some(name) => is_named(&found, name),
                        None => !hidden.contains(&*style),
                    };
                    // A copy of a table of another file, which formulas refer to, is no sheet.
                    let is_sheet = !found.starts_with("'file:");
                    if is_sheet {
                        names.push(found);
                    }
                    if !is_sheet || !is_wanted {
                        part.skip()?;
                        continue;
                    }
                    read_table(&mut part, &mut text)?;
                    if !text.is_empty() {
                        return Ok(text.finish());
                    }
                    if name.is_some() {
                        return Err(no_cells(name));
                    }
                }
                // Former values of cells.
                "table:tracked-changes" => part.skip()?,
                _ => {}
            },
            Event::End(end) if end.name().as_ref() == "office:document-content" => break,
            _ => {}
        }
    }
    Err(name.map_or_else(|| no_cells(None), |name| unknown_sheet(name, &names)))
}

/// Refuses a file whose parts are encrypted.
fn refuse_password(archive: &mut Archive<'_>) -> Result<(), FileFault> {
    let Some(mut part) = archive.part("META-INF/manifest.xml", MAX_LIST_BYTES)? else {
        return Ok(());
    };
    loop {
        match part.next()? {
            Event::Start(start) if start.local_name().as_ref() == "encryption-data" => return Err(password()),
            Event::End(end) if end.local_name().as_ref() == "manifest" => return Ok(()),
            _ => {}
        }
    }
}

/// Reads the rows of a table up to its end.
fn read_table(part: &mut Xml<'_>, text: &mut SheetText) -> Result<(), FileFault> {
    let (depth, mut row) = (part.depth(), 0);
    loop {
        match part.next_within(depth)? {
            None => return Ok(()),
            Some(Event::Start(start)) => match start.name().as_ref() {
                "table:table-row" => {
                    let rows = repeats(&start, "table:number-rows-repeated", MAX_ROWS)?;
                    read_row(part, row, text)?;
                    text.repeat(row, rows - 1)?;
                    row = row.saturating_add(rows);
                }
                // Groups of rows. Everything else, such as drawings, has no rows.
                "table:table-header-rows" | "table:table-rows" | "table:table-row-group" => {}
                _ => part.skip()?,
            },
            _ => {}
        }
    }
}

/// Reads the cells of a row up to its end.
fn read_row(part: &mut Xml<'_>, row: u32, text: &mut SheetText) -> Result<(), FileFault> {
    let (depth, mut column) = (part.depth(), 0_u32);
    loop {
        match part.next_within(depth)? {
            None => return Ok(()),
            Some(Event::Start(start)) => {
                let times = repeats(&start, "table:number-columns-repeated", MAX_COLUMNS)?;
                // A cell that is covered by a merged one may still have its former value.
                if start.name().as_ref() == "table:table-cell" {
                    let cell = CellAttributes::of(&start)?;
                    let value = cell.read(part, text)?;
                    if value.is_empty() {
                        if cell.has_formula && cell.kind.is_empty() {
                            text.add_unsaved(row, column);
                        }
                    } else {
                        for place in 0..times {
                            text.add(row, column.saturating_add(place), &value)?;
                        }
                    }
                } else {
                    part.skip()?;
                }
                column = column.saturating_add(times);
            }
            _ => {}
        }
    }
}

/// How many times a row or a cell occurs.
fn repeats(start: &BytesStart<'_>, name: &str, most: u32) -> Result<u32, FileFault> {
    let Some(value) = attribute(start, name)? else {
        return Ok(1);
    };
    let number = value.parse::<u64>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| broken("a row or a cell is repeated in no known way"))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX).min(most))
}

/// What a cell says of its value.
#[derive(Default)]
struct CellAttributes {
    kind: String,
    value: Option<String>,
    has_formula: bool,
    is_error: bool,
}

impl CellAttributes {
    fn of(start: &BytesStart<'_>) -> Result<Self, FileFault> {
        let kind = attribute(start, "office:value-type")?.unwrap_or_default();
        let value = match &*kind {
            "float" | "percentage" | "currency" => "office:value",
            "date" => "office:date-value",
            "time" => "office:time-value",
            "boolean" => "office:boolean-value",
            _ => "office:string-value",
        };
        Ok(Self {
            value: attribute(start, value)?.map(|value| value.into_owned()),
            has_formula: attribute(start, "table:formula")?.is_some(),
            is_error: attribute(start, "calcext:value-type")?.as_deref() == Some("error"),
            kind: kind.into_owned(),
        })
    }

    /// Reads up to the cell's end; returns the text of its value.
    fn read(&self, part: &mut Xml<'_>, text: &SheetText) -> Result<String, FileFault> {
        let shown = read_paragraphs(part)?;
        let value = self.value.as_deref();
        Ok(match (self.kind.as_str(), value) {
            _ if self.is_error => shown,
            ("float" | "percentage" | "currency", Some(value)) => text.number(value),
            ("date", Some(value)) => iso_text(value),
            ("time", Some(value)) => duration_text(value),
            ("boolean", Some(value)) => value.to_uppercase(),
            (_, Some(value)) if !value.is_empty() => value.to_owned(),
            _ => shown,
        })
    }
}

/// The text of the paragraphs of a cell, as lines. Notes and drawings at the cell are left out.
fn read_paragraphs(part: &mut Xml<'_>) -> Result<String, FileFault> {
    let (depth, mut text, mut paragraphs) = (part.depth(), String::new(), 0);
    loop {
        match part.next_within(depth)? {
            None => return Ok(text),
            Some(Event::Start(start)) if start.name().as_ref() == "text:p" => {
                if paragraphs > 0 {
                    text.push('\n');
                }
                paragraphs += 1;
                read_paragraph(part, &mut text)?;
            }
            Some(Event::Start(_)) => part.skip()?,
            _ => {}
        }
    }
}

fn read_paragraph(part: &mut Xml<'_>, text: &mut String) -> Result<(), FileFault> {
    let depth = part.depth();
    loop {
        match part.next_within(depth)? {
            None => return Ok(()),
            Some(Event::Start(start)) => match start.name().as_ref() {
                "text:s" => {
                    let most = u32::try_from(MAX_CELL_BYTES).unwrap_or(u32::MAX);
                    let blanks = repeats(&start, "text:c", most)?;
                    text.extend((0..blanks).map(|_| ' '));
                }
                "text:tab" => text.push('\t'),
                "text:line-break" => text.push('\n'),
                "text:span" | "text:a" => {}
                _ => part.skip()?,
            },
            Some(Event::Text(more)) => {
                for c in more.xml10_content().chars() {
                    // White space of the XML counts as one blank.
                    match c.is_ascii_whitespace() {
                        true if text.ends_with(' ') => {}
                        true => text.push(' '),
                        false => text.push(c),
                    }
                }
            }
            Some(Event::CData(more)) => text.push_str(&more.xml10_content()),
            Some(Event::GeneralRef(reference)) => add_reference(&reference, text)?,
            _ => {}
        }
        check_length(text)?;
    }
}
