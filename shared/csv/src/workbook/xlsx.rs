//! .xlsx files (Office Open XML, ECMA-376): parts that refer to each other. A sheet's cells have the numbers of their formats and of the texts that
//! several cells share.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use super::archive::Archive;
use super::fault::{broken, is_named, no_cells, not_csv, unknown_sheet};
use super::format::CellFormat;
use super::limits::{MAX_COLUMNS, MAX_INFLATED};
use super::number::{iso_text, serial_text};
use super::sheet::{Sheet, SheetText};
use super::xml::{Xml, add_reference, attribute, check_length, local_attribute};
use crate::fault::FileFault;

/// Maximum bytes of the parts that list sheets, formats and other parts.
const MAX_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the sheet of a name or, without a name, the first visible one with cells.
pub(super) fn read(archive: &mut Archive<'_>, name: Option<&str>, text: SheetText) -> Result<Sheet, FileFault> {
    let workbook = Workbook::read(archive)?;
    let names: Vec<String> = workbook.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    let mut text = text;
    for sheet in &workbook.sheets {
        let is_wanted = match name {
            Some(name) => is_named(&sheet.name, name),
            None => sheet.is_visible,
        };
        if !is_wanted {
            continue;
        }
        let part = archive.part(&sheet.part, MAX_INFLATED)?;
        let part = part.ok_or_else(|| broken(format!("the sheet {:?} is missing", sheet.name)))?;
        workbook.read_cells(part, &mut text)?;
        if !text.is_empty() {
            return Ok(text.finish());
        }
        if name.is_some() {
            return Err(no_cells(name));
        }
    }
    Err(name.map_or_else(|| no_cells(None), |name| unknown_sheet(name, &names)))
}

/// What is needed to read cells.
struct Workbook {
    sheets: Vec<SheetPart>,
    counts_from_1904: bool,
    /// The formats that cells name by their positions.
    formats: Vec<CellFormat>,
    texts: SharedTexts,
}

struct SheetPart {
    name: String,
    part: String,
    is_visible: bool,
}

/// The texts that cells name by their positions: one after the other, and where each of them ends.
#[derive(Default)]
struct SharedTexts {
    text: String,
    ends: Vec<u32>,
}

impl SharedTexts {
    fn get(&self, place: usize) -> Option<&str> {
        let start = place
            .checked_sub(1)
            .map_or(Some(0), |before| self.ends.get(before).copied())?;
        let (start, end) = (
            usize::try_from(start).ok()?,
            usize::try_from(*self.ends.get(place)?).ok()?,
        );
        self.text.get(start..end)
    }
}

impl Workbook {
    fn read(archive: &mut Archive<'_>) -> Result<Self, FileFault> {
        let main = main_part(archive)?;
        let (folder, file) = main.rsplit_once('/').unwrap_or(("", &main));
        let related = relationships(archive, folder, &format!("{folder}/_rels/{file}.rels"))?;
        let (sheets, counts_from_1904) = read_sheets(archive, &main, &related)?;
        let of_kind = |kind: &str| related.values().find(|related| related.is_of(kind));
        let formats = match of_kind("styles") {
            Some(styles) => read_formats(archive, &styles.part)?,
            None => Vec::new(),
        };
        let texts = match of_kind("sharedStrings") {
            Some(texts) => read_texts(archive, &texts.part)?,
            None => SharedTexts::default(),
        };
        Ok(Self {
            sheets,
            counts_from_1904,
            formats,
            texts,
        })
    }

    fn read_cells(&self, mut part: Xml<'_>, text: &mut SheetText) -> Result<(), FileFault> {
        let mut cell = CellXml::default();
        // The positions of the next row and cell, if they do not say theirs.
        let (mut row, mut column, mut next_row) = (0, 0, 0);
        loop {
            match part.next()? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "row" => {
                        (row, column) = (row_of(&start)?.unwrap_or(next_row), 0);
                        next_row = row + 1;
                    }
                    "c" => {
                        column = column_of(&start)?.unwrap_or(column);
                        cell.begin(&start)?;
                        cell.read(&mut part)?;
                        let value = self.value(&cell, text)?;
                        if value.is_empty() && cell.has_formula && !cell.has_value {
                            text.add_unsaved(row, column);
                        }
                        text.add(row, column, &value)?;
                        column += 1;
                    }
                    _ => {}
                },
                Event::End(end) if end.local_name().as_ref() == "sheetData" => return Ok(()),
                Event::End(end) if ["worksheet", "chartsheet"].contains(&end.local_name().as_ref()) => return Ok(()),
                _ => {}
            }
        }
    }

    /// The text of a cell, in the notation of the sheet's text.
    fn value(&self, cell: &CellXml, text: &SheetText) -> Result<String, FileFault> {
        let value = cell.value.as_str();
        Ok(match cell.kind.as_str() {
            "s" => {
                let place = value.trim();
                if place.is_empty() {
                    return Ok(String::new());
                }
                let shared = place.parse().ok().and_then(|place| self.texts.get(place));
                shared
                    .ok_or_else(|| broken("a cell names a text that is missing"))?
                    .to_owned()
            }
            "inlineStr" => unescaped(&cell.inline),
            "str" => unescaped(value),
            "b" => match value.trim() {
                "" => String::new(),
                "1" | "true" => "TRUE".to_owned(),
                _ => "FALSE".to_owned(),
            },
            "e" => value.to_owned(),
            "d" => iso_text(value),
            _ => match cell.style.and_then(|style| self.formats.get(style)).copied() {
                Some(format) if format != CellFormat::Number => serial_text(value, format, self.counts_from_1904),
                _ => text.number(value),
            },
        })
    }
}

/// What a cell has in the file.
#[derive(Default)]
struct CellXml {
    kind: String,
    style: Option<usize>,
    value: String,
    inline: String,
    has_formula: bool,
    has_value: bool,
}

impl CellXml {
    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), FileFault> {
        self.kind.clear();
        self.kind.push_str(&attribute(start, "t")?.unwrap_or_default());
        self.style = attribute(start, "s")?.and_then(|style| style.parse().ok());
        self.value.clear();
        self.inline.clear();
        (self.has_formula, self.has_value) = (false, false);
        Ok(())
    }

    /// Reads up to the cell's end.
    fn read(&mut self, part: &mut Xml<'_>) -> Result<(), FileFault> {
        let depth = part.depth();
        loop {
            match part.next_within(depth)? {
                None => return Ok(()),
                Some(Event::Start(start)) => match start.local_name().as_ref() {
                    "v" => {
                        self.has_value = true;
                        read_text(part, &mut self.value)?;
                    }
                    "is" => read_rich_text(part, &mut self.inline)?,
                    "f" => {
                        self.has_formula = true;
                        part.skip()?;
                    }
                    _ => part.skip()?,
                },
                _ => {}
            }
        }
    }
}

/// Adds the text of the element whose start was read last, up to its end.
fn read_text(part: &mut Xml<'_>, text: &mut String) -> Result<(), FileFault> {
    let (depth, before) = (part.depth(), text.len());
    loop {
        match part.next_within(depth)? {
            None => return Ok(()),
            Some(Event::Text(more)) => text.push_str(&more.xml10_content()),
            Some(Event::CData(more)) => text.push_str(&more.xml10_content()),
            Some(Event::GeneralRef(reference)) => add_reference(&reference, text)?,
            _ => {}
        }
        check_length(&text[before..])?;
    }
}

/// Adds the text of an element that has it in parts, without the readings of East Asian characters.
fn read_rich_text(part: &mut Xml<'_>, text: &mut String) -> Result<(), FileFault> {
    let (depth, before) = (part.depth(), text.len());
    loop {
        match part.next_within(depth)? {
            None => return Ok(()),
            Some(Event::Start(start)) => match start.local_name().as_ref() {
                "t" => read_text(part, text)?,
                "rPh" => part.skip()?,
                _ => {}
            },
            _ => {}
        }
        check_length(&text[before..])?;
    }
}

/// A text without the escapes of characters that XML cannot have: `_x000D_` is a carriage return.
fn unescaped(text: &str) -> String {
    let (mut rest, mut plain) = (text, String::new());
    while let Some(place) = rest.find("_x") {
        let (character, length) = match escaped_character(&rest[place..]) {
            Some(character) => (character, 7),
            None => ('_', 1),
        };
        plain.push_str(&rest[..place]);
        plain.push(character);
        rest = &rest[place + length..];
    }
    plain + rest
}

fn escaped_character(text: &str) -> Option<char> {
    let digits = text.get(2..6).filter(|_| text[6..].starts_with('_'))?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| is_number)?)
}

/// What another part is to a part.
struct Related {
    kind: String,
    part: String,
}

impl Related {
    /// The strict form of the standard has other addresses, which end alike.
    fn is_of(&self, kind: &str) -> bool {
        self.kind.rsplit('/').next() == Some(kind)
    }
}

/// The part with the list of sheets.
fn main_part(archive: &mut Archive<'_>) -> Result<String, FileFault> {
    let related = relationships(archive, "", "_rels/.rels")?;
    let main = related.into_values().find(|related| related.is_of("officeDocument"));
    let main = main.map_or_else(|| "xl/workbook.xml".to_owned(), |related| related.part);
    if main.to_lowercase().ends_with(".bin") {
        return Err(not_csv(
            "is an .xlsb workbook: save it as .xlsx, or save the sheet as CSV",
        ));
    }
    if !archive.has(&main) || !main.contains("workbook") {
        return Err(not_csv("is an Office document but no workbook"));
    }
    Ok(main)
}

/// The parts that a part refers to, by their ids. `folder` is that of the part.
fn relationships(archive: &mut Archive<'_>, folder: &str, name: &str) -> Result<HashMap<String, Related>, FileFault> {
    let mut found = HashMap::new();
    let Some(mut part) = archive.part(name, MAX_LIST_BYTES)? else {
        return Ok(found);
    };
    loop {
        match part.next()? {
            Event::Start(start) if start.local_name().as_ref() == "Relationship" => {
                let value = |name| attribute(&start, name).map(Option::unwrap_or_default);
                let (id, kind, target) = (value("Id")?, value("Type")?, value("Target")?);
                let part = match target.strip_prefix('/') {
                    Some(absolute) => absolute.to_owned(),
                    None if folder.is_empty() => target.into_owned(),
                    None => format!("{folder}/{target}"),
                };
                let kind = kind.into_owned();
                found.insert(id.into_owned(), Related { kind, part });
            }
            Event::End(end) if end.local_name().as_ref() == "Relationships" => return Ok(found),
            _ => {}
        }
    }
}

/// The sheets with cells, and whether days are counted from 1904.
fn read_sheets(
    archive: &mut Archive<'_>,
    main: &str,
    related: &HashMap<String, Related>,
) -> Result<(Vec<SheetPart>, bool), FileFault> {
    let (mut sheets, mut counts_from_1904) = (Vec::new(), false);
    let part = archive.part(main, MAX_LIST_BYTES)?;
    let mut part = part.ok_or_else(|| broken("the list of sheets is missing"))?;
    loop {
        match part.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "sheet" => {
                    let id = local_attribute(&start, "id")?.unwrap_or_default();
                    // A chart can be a sheet, too.
                    let sheet = related.get(&*id).filter(|related| related.is_of("worksheet"));
                    sheets.extend(match sheet {
                        None => None,
                        Some(sheet) => Some(SheetPart {
                            name: attribute(&start, "name")?.unwrap_or_default().into_owned(),
                            part: sheet.part.clone(),
                            is_visible: attribute(&start, "state")?.is_none_or(|state| state == "visible"),
                        }),
                    });
                }
                "workbookPr" => {
                    if let Some(value) = attribute(&start, "date1904")? {
                        counts_from_1904 = ["1", "true", "on"].contains(&&*value);
                    }
                }
                _ => {}
            },
            Event::End(end) if end.local_name().as_ref() == "workbook" => return Ok((sheets, counts_from_1904)),
            _ => {}
        }
    }
}

/// The formats of cells, in the order of their positions.
fn read_formats(archive: &mut Archive<'_>, name: &str) -> Result<Vec<CellFormat>, FileFault> {
    let (mut declared, mut formats) = (HashMap::new(), Vec::new());
    let Some(mut part) = archive.part(name, MAX_LIST_BYTES)? else {
        return Ok(formats);
    };
    // Other elements with the same names describe styles that cells do not name.
    let mut is_in_cells = false;
    loop {
        match part.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "numFmt" => {
                    let id = format_id(&start)?;
                    let code = attribute(&start, "formatCode")?.unwrap_or_default();
                    declared.insert(id, CellFormat::of_code(&code));
                }
                "cellXfs" => is_in_cells = true,
                "xf" if is_in_cells => {
                    let id = format_id(&start)?;
                    let format = declared.get(&id).copied();
                    formats.push(format.unwrap_or_else(|| CellFormat::built_in(id)));
                }
                _ => {}
            },
            Event::End(end) => match end.local_name().as_ref() {
                "cellXfs" => is_in_cells = false,
                "styleSheet" => return Ok(formats),
                _ => {}
            },
            _ => {}
        }
    }
}

fn format_id(start: &BytesStart<'_>) -> Result<u32, FileFault> {
    let id = attribute(start, "numFmtId")?;
    Ok(id.and_then(|id| id.parse().ok()).unwrap_or_default())
}

fn read_texts(archive: &mut Archive<'_>, name: &str) -> Result<SharedTexts, FileFault> {
    let mut texts = SharedTexts::default();
    let Some(mut part) = archive.part(name, MAX_INFLATED)? else {
        return Ok(texts);
    };
    loop {
        match part.next()? {
            Event::Start(start) if start.local_name().as_ref() == "si" => {
                let before = texts.text.len();
                read_rich_text(&mut part, &mut texts.text)?;
                if texts.text[before..].contains("_x") {
                    let plain = unescaped(&texts.text[before..]);
                    texts.text.truncate(before);
                    texts.text.push_str(&plain);
                }
                let end = u32::try_from(texts.text.len()).map_err(broken)?;
                texts.ends.push(end);
            }
            Event::End(end) if end.local_name().as_ref() == "sst" => return Ok(texts),
            _ => {}
        }
    }
}

/// The position of a row from 0.
fn row_of(start: &BytesStart<'_>) -> Result<Option<u32>, FileFault> {
    let Some(number) = attribute(start, "r")? else {
        return Ok(None);
    };
    let row = number.parse::<u32>().ok().and_then(|number| number.checked_sub(1));
    // The sheet refuses rows that are too many.
    let row = row.filter(|row| *row < u32::MAX - 1);
    row.map(Some).ok_or_else(|| broken("a row has no number"))
}

/// The position of a cell's column from 0, by its name such as `AB12`.
fn column_of(start: &BytesStart<'_>) -> Result<Option<u32>, FileFault> {
    let Some(name) = attribute(start, "r")? else {
        return Ok(None);
    };
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic);
    let number = letters.fold(0_u32, |number, letter| {
        let digit = u32::from(letter.to_ascii_uppercase() - b'A') + 1;
        number.saturating_mul(26).saturating_add(digit)
    });
    let column = number.checked_sub(1).filter(|column| *column < MAX_COLUMNS);
    column.map(Some).ok_or_else(|| broken("a cell has no column"))
}
