use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use bytes::Bytes;

use super::limits::MAX_CELL_BYTES;
use super::sheet::column_name;
use super::*;

fn zipped(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file(*name, options).expect("memory");
        zip.write_all(content.as_bytes()).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

/// Formats of cells, in order: a number, a day, a day and time that the workbook declares, a duration.
const STYLES: &str = r#"<styleSheet><numFmts count="1"><numFmt numFmtId="164" formatCode="dd\.mm\.yyyy\ hh:mm"/></numFmts>
    <cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
    <cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="46"/></cellXfs></styleSheet>"#;

/// A workbook of these sheets: attributes, and the XML of the rows.
fn xlsx_with(texts: &str, sheets: &[(&str, &str)]) -> Vec<u8> {
    let relationship = |id: &str, kind: &str, target: &str| {
        let address = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        format!(r#"<Relationship Id="{id}" Type="{address}/{kind}" Target="{target}"/>"#)
    };
    let list = |inside: String| format!("<Relationships>{inside}</Relationships>");
    let mut related =
        relationship("s", "styles", "styles.xml") + &relationship("t", "sharedStrings", "/xl/sharedStrings.xml");
    let (mut names, mut parts) = (String::new(), Vec::new());
    for (place, (attributes, rows)) in sheets.iter().enumerate() {
        related += &relationship(
            &format!("r{place}"),
            "worksheet",
            &format!("worksheets/sheet{place}.xml"),
        );
        names += &format!(r#"<sheet {attributes} sheetId="{place}" r:id="r{place}"/>"#);
        let xml = format!(
            r#"<?xml version="1.0"?><worksheet><dimension ref="A1"/><sheetData>{rows}</sheetData></worksheet>"#
        );
        parts.push((format!("xl/worksheets/sheet{place}.xml"), xml));
    }
    let mut all = vec![
        ("[Content_Types].xml".to_owned(), "<Types/>".to_owned()),
        (
            "_rels/.rels".to_owned(),
            list(relationship("w", "officeDocument", "xl/workbook.xml")),
        ),
        ("xl/_rels/workbook.xml.rels".to_owned(), list(related)),
        (
            "xl/workbook.xml".to_owned(),
            format!("<workbook><workbookPr/><sheets>{names}</sheets></workbook>"),
        ),
        ("xl/styles.xml".to_owned(), STYLES.to_owned()),
        (
            "xl/sharedStrings.xml".to_owned(),
            format!(r#"<sst uniqueCount="99999999999">{texts}</sst>"#),
        ),
    ];
    all.extend(parts);
    let all: Vec<(&str, &str)> = all.iter().map(|(name, xml)| (name.as_str(), xml.as_str())).collect();
    zipped(&all)
}

fn xlsx(rows: &str) -> Vec<u8> {
    xlsx_with("", &[(r#"name="One""#, rows)])
}

fn ods_with(styles: &str, tables: &str) -> Vec<u8> {
    let content = format!(
        "<office:document-content><office:automatic-styles>{styles}</office:automatic-styles><office:body>\
         <office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>"
    );
    zipped(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", &content),
        ("META-INF/manifest.xml", "<manifest:manifest/>"),
    ])
}

fn ods(rows: &str) -> Vec<u8> {
    ods_with("", &format!(r#"<table:table table:name="One">{rows}</table:table>"#))
}

fn sheet(file: &[u8], name: Option<&str>) -> Result<Sheet, FileFault> {
    Sheet::read(file, name, 8 << 20, DecimalMark::Point)
}

fn text(file: &[u8]) -> String {
    let sheet = sheet(file, None).expect("a sheet");
    String::from_utf8(sheet.text.to_vec()).expect("UTF-8")
}

fn fault(file: &[u8]) -> (&'static str, String) {
    let fault = sheet(file, None).map(|_| ()).expect_err("a fault");
    (fault.code, fault.message)
}

#[test]
fn cells_of_an_xlsx_file_become_text() {
    let texts = "<si><t>Day</t></si><si><r><t>Su</t></r><r><rPr><b/></rPr><t>m</t></r><rPh><t>x</t></rPh></si><si/>\
                 <si><t xml:space=\"preserve\"> a, &amp; \"b\"_x000D_&#10;_x00zz_ </t></si>";
    let rows = r#"
      <row r="2"><c r="B2" t="s"><v>0</v></c><c r="C2" t="s"><v>1</v></c><c r="D2" t="s"><v>2</v></c></row>
      <row r="3" spans="1:4">
        <c r="B3" s="1"><v>46112</v></c><c r="C3"><v>12.100000000000001</v></c><c r="D3" t="s"><v>3</v></c><c r="F3" s="0"/>
      </row>
      <row><c s="2"><v>46112.4375</v></c><c s="3"><v>1.5</v></c><c t="b"><v>1</v></c><c t="b"><v>0</v></c>
        <c t="e"><f>A1/0</f><v>#DIV/0!</v></c><c t="e"><v>#SPILL!</v></c></row>
      <row r="6"><c r="A6" t="str"><f>B2&amp;"é"</f><v>Dayé</v></c><c r="B6" t="inlineStr"><is><t>in <![CDATA[line]]></t></is></c>
        <c r="C6" t="d" s="1"><v>2026-03-31T00:00:00</v></c><c r="D6"><f>1+2</f><v>3</v></c></row>
      <row r="7"><c r="XFD7" s="1"/></row>"#;
    let found = text(&xlsx_with(texts, &[(r#"name="One""#, rows)]));
    let lines = [
        "",
        ",Day,Sum",
        ",2026-03-31,12.1,\" a, & \"\"b\"\"\r",
        "_x00zz_ \"",
        "2026-03-31T10:30:00,36:00:00,TRUE,FALSE,#DIV/0!,#SPILL!",
        "",
        "Dayé,in line,2026-03-31,3",
    ];
    assert_eq!(found, lines.join("\n") + "\n");
}

#[test]
fn cells_of_an_ods_file_become_text() {
    let rows = r##"
      <office:forms/><table:shapes><draw:frame><text:p>drawn</text:p></draw:frame></table:shapes>
      <table:table-column table:number-columns-repeated="16384"/>
      <table:table-header-rows>
        <table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>
        <table:table-row>
          <table:table-cell table:number-columns-spanned="2" office:value-type="string"><text:p>A  <text:span>title</text:span></text:p></table:table-cell>
          <table:covered-table-cell office:value-type="string"><text:p>covered</text:p></table:covered-table-cell>
          <table:table-cell/>
        </table:table-row>
      </table:table-header-rows>
      <table:table-row table:number-rows-repeated="2">
        <table:table-cell office:value-type="date" office:date-value="2026-03-31"><text:p>31.03.26</text:p></table:table-cell>
        <table:table-cell office:value-type="currency" office:currency="EUR" office:value="12.1"><text:p>12,10 €</text:p></table:table-cell>
        <table:table-cell office:value-type="percentage" office:value="0.19" table:number-columns-repeated="2"><text:p>19%</text:p></table:table-cell>
        <table:table-cell table:number-columns-repeated="16000"/>
      </table:table-row>
      <table:table-row>
        <table:table-cell office:value-type="date" office:date-value="2026-03-31T10:30:00"/>
        <table:table-cell office:value-type="time" office:time-value="PT10H30M00S"/>
        <table:table-cell office:value-type="boolean" office:boolean-value="true"/>
        <table:table-cell office:value-type="string" office:string-value="" calcext:value-type="error"><text:p>#DIV/0!</text:p></table:table-cell>
        <table:table-cell office:value-type="string"><office:annotation><text:p>a note</text:p></office:annotation><text:p>one<text:s text:c="2"/>&amp;<text:line-break/>two</text:p><text:p>three</text:p></table:table-cell>
        <table:table-cell table:formula="of:=1+2" office:value-type="float" office:value="3"/>
      </table:table-row>
      <table:table-row table:number-rows-repeated="1048570"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>"##;
    let lines = [
        "",
        "",
        "A title",
        "2026-03-31,12.1,0.19,0.19",
        "2026-03-31,12.1,0.19,0.19",
        "2026-03-31T10:30:00,10:30:00,TRUE,#DIV/0!,\"one  &",
        "two",
        "three\",3",
    ];
    assert_eq!(text(&ods(rows)), lines.join("\n") + "\n");
}

#[test]
fn days_may_be_counted_from_1904() {
    let plain = xlsx(r#"<row r="1"><c r="A1" s="1"><v>44650</v></c></row>"#);
    assert_eq!(text(&plain), "2022-03-30\n");
    let rows = r#"<row r="1"><c r="A1" s="1"><v>44650</v></c></row>"#;
    let mac = zipped(&[
        ("[Content_Types].xml", ""),
        (
            "xl/workbook.xml",
            r#"<workbook><workbookPr date1904="1"/><sheets><sheet name="A" r:id="a"/></sheets></workbook>"#,
        ),
        (
            "xl/_rels/workbook.xml.rels",
            r#"<Relationships><Relationship Id="a" Type="x/worksheet" Target="a.xml"/><Relationship Id="s" Type="x/styles" Target="styles.xml"/></Relationships>"#,
        ),
        ("xl/styles.xml", STYLES),
        (
            "xl/a.xml",
            &format!("<x:worksheet><x:sheetData>{rows}</x:sheetData></x:worksheet>"),
        ),
    ]);
    assert_eq!(text(&mac), "2026-03-31\n");
}

#[test]
fn the_sheet_is_the_one_that_is_named_or_the_first_visible_one_with_cells() {
    let rows = |value: &str| format!(r#"<row r="1"><c r="A1" t="str"><v>{value}</v></c></row>"#);
    let (hidden, second, third) = (rows("hidden"), rows("second"), rows("third"));
    let workbook = xlsx_with(
        "",
        &[
            (r#"name="Hidden" state="hidden""#, &hidden),
            (r#"name="Empty""#, ""),
            (r#"name="Sales &amp; more""#, &second),
            (r#"name="Third""#, &third),
        ],
    );
    let table = |name: &str, style: &str, value: &str| {
        let row = format!(
            r#"<table:table-row><table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell></table:table-row>"#
        );
        format!(r#"<table:table table:name="{name}" table:style-name="{style}">{row}</table:table>"#)
    };
    let styles = r#"<style:style style:name="ta1"><style:table-properties table:display="true"/></style:style>
        <style:style style:name="ta2"><style:table-properties table:display="false"/></style:style>"#;
    let tables = table("Hidden", "ta2", "hidden")
        + r#"<table:table table:name="Empty"/>"#
        + &table("'file:///x.ods'#A", "ta1", "copy")
        + &table("Sales &amp; more", "ta1", "second")
        + &table("Third", "ta1", "third");
    for file in [workbook, ods_with(styles, &tables)] {
        for (name, value) in [
            (None, "second\n"),
            (Some("Third"), "third\n"),
            (Some("sales & MORE"), "second\n"),
            (Some("Hidden"), "hidden\n"),
        ] {
            assert_eq!(
                sheet(&file, name).map(|sheet| sheet.text),
                Ok(Bytes::from(value)),
                "{name:?}"
            );
        }
        let unknown = sheet(&file, Some("Fourth")).expect_err("no such sheet");
        assert_eq!(unknown.code, "unknown_sheet");
        assert!(
            unknown.message.ends_with("it has Hidden, Empty, Sales & more, Third"),
            "{}",
            unknown.message
        );
        assert_eq!(
            sheet(&file, Some("Empty")).map_err(|fault| fault.code),
            Err("empty_file")
        );
    }
    assert_eq!(fault(&xlsx("")).0, "empty_file");
    assert_eq!(fault(&ods("")).0, "empty_file");
}

#[test]
fn formulas_without_a_saved_value_are_counted() {
    let of_xlsx = xlsx(
        r#"<row r="3"><c r="AB3"><f>1+2</f></c><c r="AC3"><f>2</f><v/></c><c r="AD3"><f>1</f><v>1</v></c><c r="AE3"><f>1</f></c></row>"#,
    );
    let of_ods = ods(
        r#"<table:table-row table:number-rows-repeated="2"><table:table-cell/></table:table-row><table:table-row>
        <table:table-cell table:number-columns-repeated="27"/><table:table-cell table:formula="of:=1"/><table:table-cell table:formula="of:=1"/>
        <table:table-cell table:formula="of:=1" office:value-type="float" office:value="1"/></table:table-row>"#,
    );
    for file in [of_xlsx, of_ods] {
        let unsaved = sheet(&file, None).expect("a sheet").unsaved;
        assert_eq!((unsaved.cells, unsaved.first.as_deref()), (2, Some("AB3")));
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let compound = |inside: &str| {
        let name = inside.encode_utf16().flat_map(u16::to_le_bytes);
        b"\xD0\xCF\x11\xE0"
            .iter()
            .copied()
            .chain([0; 600])
            .chain(name)
            .collect::<Vec<u8>>()
    };
    let whole = xlsx(r#"<row r="1"><c r="A1"><v>1</v></c></row>"#);
    let encrypted = zipped(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", "\u{1}"),
        (
            "META-INF/manifest.xml",
            r#"<manifest:manifest><manifest:file-entry manifest:full-path="content.xml"><manifest:encryption-data/></manifest:file-entry></manifest:manifest>"#,
        ),
    ]);
    for (file, why) in [
        (compound("EncryptedPackage"), "password"),
        (encrypted, "password"),
        (compound("Workbook"), ".xls workbook"),
        (whole[..whole.len() - 30].to_vec(), "broken"),
        (b"PK\x03\x04 and so on".to_vec(), "broken"),
        (b"PK\x05\x06".to_vec(), "broken"),
        (zipped(&[("sales.csv", "a,b\n1,2\n")]), "ZIP archive but no"),
        (
            zipped(&[("[Content_Types].xml", ""), ("word/document.xml", "")]),
            "no workbook",
        ),
        (xlsx(r#"<row r="1"><c r="A1" t="s"><v>7</v></c></row>"#), "missing"),
        (xlsx(r#"<row r="1"><c r="A1"><v>1</c></row>"#), "broken"),
        (
            xlsx(r#"<row r="2"><c r="A2"><v>1</v></c></row><row r="1"><c r="A1"><v>1</v></c></row>"#),
            "order",
        ),
        (
            xlsx(r#"<row r="1"><c r="B1"><v>1</v></c><c r="A1"><v>1</v></c></row>"#),
            "order",
        ),
        (xlsx(r#"<row r="4294967295"><c r="A1"><v>1</v></c></row>"#), "no number"),
        (xlsx(r#"<row r="1048577"><c r="A1"><v>1</v></c></row>"#), "outside"),
        (xlsx(r#"<row r="1"><c r="XFE1"><v>1</v></c></row>"#), "no column"),
        (
            xlsx(r#"<row r="1"><c r="A1" t="str"><v>&bomb;</v></c></row>"#),
            "entity",
        ),
        (ods("<table:table-row>"), "broken"),
    ] {
        let (code, message) = fault(&file);
        assert_eq!(code, "not_csv", "{message}");
        assert!(message.contains(why), "{why}: {message}");
    }
}

#[test]
fn damaged_workbooks_are_refused_or_read_and_never_end_the_process() {
    let files = [
        xlsx(r#"<row r="1"><c r="A1" s="1"><v>46112</v></c><c r="B1" t="str"><v>x</v></c></row>"#),
        ods(r#"<table:table-row><table:table-cell office:value-type="float" office:value="1"/></table:table-row>"#),
    ];
    for file in files {
        for place in 0..file.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut damaged = file.clone();
                damaged[place] ^= flip;
                if let Err(fault) = sheet(&damaged, None) {
                    assert!(
                        ["not_csv", "file_too_large", "empty_file"].contains(&fault.code),
                        "{fault:?}"
                    );
                }
            }
            drop(sheet(&file[..place], None));
        }
    }
}

#[test]
fn bombs_are_refused() {
    let long = "0".repeat(MAX_CELL_BYTES + 10_000);
    let many = |part: &str, times: usize| part.repeat(times);
    let wide_row = format!(
        "<table:table-row>{}</table:table-row>",
        r#"<table:table-cell table:number-columns-repeated="16384" office:value-type="float" office:value="1"/>"#
    );
    for (what, file, code) in [
        (
            "a long text",
            xlsx(&format!(r#"<row r="1"><c r="A1" t="str"><v>{long}</v></c></row>"#)),
            "not_csv",
        ),
        (
            "a long text in parts",
            xlsx(&format!(
                r#"<row r="1"><c r="A1" t="inlineStr"><is>{}</is></c></row>"#,
                many("<r><t>0123456789</t></r>", 110_000)
            )),
            "not_csv",
        ),
        (
            "references",
            xlsx(&format!(
                r#"<row r="1"><c r="A1" t="str"><v>{}</v></c></row>"#,
                many("&amp;a", MAX_CELL_BYTES)
            )),
            "not_csv",
        ),
        ("depth", xlsx(&many("<a>", 100_000)), "not_csv"),
        (
            "a wide row, often",
            xlsx(
                &(0..400)
                    .map(|row| format!(r#"<row r="{0}"><c r="XFD{0}"><v>1</v></c></row>"#, row + 1))
                    .collect::<String>(),
            ),
            "file_too_large",
        ),
        (
            "one text, often",
            xlsx_with(
                &format!("<si><t>{}</t></si>", "x".repeat(32_000)),
                &[(
                    r#"name="One""#,
                    &(0..400)
                        .map(|row| format!(r#"<row r="{}"><c t="s"><v>0</v></c></row>"#, row + 1))
                        .collect::<String>(),
                )],
            ),
            "file_too_large",
        ),
        ("equal cells", ods(&many(&wide_row, 400)), "file_too_large"),
        (
            "equal rows",
            ods(&wide_row.replace(
                "<table:table-row>",
                r#"<table:table-row table:number-rows-repeated="1048576">"#,
            )),
            "file_too_large",
        ),
        (
            "equal rows beyond the sheet",
            ods(&many(
                r#"<table:table-row table:number-rows-repeated="4000000000"><table:table-cell office:value-type="float" office:value="1"/></table:table-row>"#,
                2,
            )),
            "not_csv",
        ),
        (
            "blanks",
            ods(
                r#"<table:table-row><table:table-cell office:value-type="string"><text:p><text:s text:c="9000000000"/>x</text:p></table:table-cell></table:table-row>"#,
            ),
            "not_csv",
        ),
    ] {
        assert_eq!(fault(&file).0, code, "{what}");
    }
}

/// 5 million cells, and 256 MiB of XML, are too many even if the text is small enough.
#[test]
fn cells_and_inflated_bytes_are_counted() {
    let mut rows = String::new();
    for row in 1..=310 {
        rows.push_str(&format!(
            r#"<row r="{row}"><c r="A{row}"><v>1</v></c><c r="XFD{row}"><v>1</v></c></row>"#
        ));
    }
    assert_eq!(
        Sheet::read(&xlsx(&rows), None, 1 << 30, DecimalMark::Point).map_err(|fault| fault.code),
        Err("file_too_large")
    );
    let blank = format!("<!--{}-->", " ".repeat(900_000)).repeat(320);
    let (code, message) = fault(&xlsx(&blank));
    assert_eq!(code, "file_too_large");
    assert!(message.contains("256 MiB"), "{message}");
}

#[test]
fn columns_have_names() {
    for (column, name) in [
        (0, "A"),
        (25, "Z"),
        (26, "AA"),
        (701, "ZZ"),
        (702, "AAA"),
        (16_383, "XFD"),
    ] {
        assert_eq!(column_name(column), name);
    }
}
