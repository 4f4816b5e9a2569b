use annals_csv::{Format, Layout, ReadOptions, Reader, Row, SALES};
use futures_util::stream;
use proptest::prelude::*;

use super::*;

fn row(number: i64, fields: &[&str]) -> RejectedRow {
    RejectedRow {
        row: number,
        line: number + 1,
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        errors: vec![RejectedCell {
            column: Some("amount".to_owned()),
            code: "invalid_amount".to_owned(),
            message: "is no number".to_owned(),
            value: None,
        }],
    }
}

fn write(columns: &[&str], delimiter: char, rows: &[RejectedRow]) -> Vec<u8> {
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let mut written = ReportFile::new(Uuid::nil(), &columns, delimiter).expect("a header");
    for row in rows {
        written.add(row).expect("a row");
    }
    written.finish().expect("a file")
}

/// A row's fields, and the code of the fault of the row as a whole.
type Read = (Vec<String>, Option<&'static str>);

/// The header and the rows that an upload reads from a file.
fn read(file: &[u8]) -> (Vec<String>, Vec<Read>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let source = stream::iter([Ok(bytes::Bytes::copy_from_slice(file))]);
        let mut reader = Reader::new(source, Format::default());
        let options = ReadOptions::default();
        let header = reader.next().await.expect("a file").expect("a header");
        let layout = Layout::find(&SALES, &options, header).expect("a layout");
        let mut rows = Vec::new();
        while let Some(record) = reader.next().await.expect("a file") {
            let record = &*layout.bare(record);
            let row = Row {
                record,
                layout: &layout,
            };
            let fields = layout.originals(record).map(str::to_owned).collect();
            rows.push((fields, row.check().err().map(|fault| fault.code)));
        }
        (layout.headers().to_vec(), rows)
    })
}

#[test]
fn a_file_has_the_rows_in_their_columns_and_what_is_wrong_beside_them() {
    let rows = [
        row(1, &["2018-11-08", "x", "=cmd|' /C calc'!A0"]),
        row(5, &["-12.50", "-1+1", "a, \"b\"\r\nc"]),
    ];
    let text = String::from_utf8(write(&["sale_date", "amount", "+notes"], ',', &rows)).expect("text");
    let expected = "\u{FEFF}sale_date,amount,'+notes,annals_errors 00000000-0000-0000-0000-000000000000\r\n\
        2018-11-08,x,'=cmd|' /C calc'!A0,amount: is no number (invalid_amount)\r\n\
        -12.50,'-1+1,\"a, \"\"b\"\"\r\nc\",amount: is no number (invalid_amount)\r\n";
    assert_eq!(text, expected);
    let own = write(&["sale_date", "amount", "Errors"], ';', &[]);
    assert_eq!(
        own,
        "\u{FEFF}sale_date;amount;Errors;annals_errors 00000000-0000-0000-0000-000000000000\r\n".as_bytes()
    );
}

#[test]
fn ragged_rows_stay_refused_until_somebody_has_put_them_right() {
    let ragged = |fields: &[&str]| {
        let mut row = row(1, fields);
        row.errors[0].code = "ragged_row".to_owned();
        row
    };
    let columns = ["sale_date", "amount", "notes"];
    let file = write(
        &columns,
        ',',
        &[ragged(&["2018-11-08", "5"]), ragged(&["2018-11-08", "1", "234", "b"])],
    );
    let (_, rows) = read(&file);
    let expected = [
        (vec!["2018-11-08", "5", ""], Some("ragged_row")),
        (vec!["2018-11-08", "1", "234", "b"], Some("ragged_row")),
    ];
    let expected = expected.map(|(fields, code)| (fields.into_iter().map(str::to_owned).collect::<Vec<_>>(), code));
    assert_eq!(rows, expected);
    // As a spreadsheet saves it, and the same corrected.
    let text = String::from_utf8(file).expect("text");
    let padded = text
        .replace(
            "annals_errors 00000000-0000-0000-0000-000000000000\r\n",
            "annals_errors,\r\n",
        )
        .replacen("(ragged_row)\r\n", "(ragged_row),\r\n", 1);
    assert_eq!(read(padded.as_bytes()).1, expected);
    let right = "sale_date,amount,notes,annals_errors,\n2018-11-08,5,,,\n2018-11-08,\"1,234\",b,,\n";
    let codes: Vec<_> = read(right.as_bytes()).1.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, [None, None]);
}

proptest! {
    /// Fields of rows that are as wide as the header come back exactly as they were sent.
    #[test]
    fn what_was_refused_comes_back_as_it_was_sent(
        delimiter in prop::sample::select(vec![',', ';', '\t', '|']),
        rows in prop::collection::vec(prop::collection::vec("([=+@\t\r\n',;|\"-]|a|1|é| |\\.){0,6}", 3), 0..6),
    ) {
        let rows: Vec<RejectedRow> = (1..).zip(&rows).map(|(number, fields)| {
            row(number, &fields.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let (header, read) = read(&write(&["sale_date", "amount", "=notes"], delimiter, &rows));
        prop_assert_eq!(header, ["sale_date", "amount", "=notes"]);
        let fields: Vec<Vec<String>> = read.into_iter().map(|(fields, _)| fields).collect();
        let sent: Vec<Vec<String>> = rows.into_iter().map(|row| row.fields).collect();
        prop_assert_eq!(fields, sent);
    }
}
