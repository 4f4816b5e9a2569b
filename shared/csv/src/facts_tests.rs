use serde_json::json;

use super::*;
use crate::dataset::{CUSTOMERS, EXAMPLE, EXPENSES, SALES};
use crate::layout::Layout;
use crate::options::read_options;
use crate::records::Splitter;

fn read_with(fields: &[(&str, &str)], header: &str, record: &str) -> Result<Facts, Vec<RowFault>> {
    read_of(&SALES, fields, header, record)
}

fn read_of(dataset: &Dataset, fields: &[(&str, &str)], header: &str, record: &str) -> Result<Facts, Vec<RowFault>> {
    let options = read_options(fields, dataset);
    let split = |text: &str| {
        let mut splitter = Splitter::new(b',');
        assert!(
            splitter
                .split(format!("{text}\n").as_bytes())
                .is_ok_and(|(_, complete)| complete)
        );
        splitter
    };
    let layout = Layout::find(dataset, &options, split(header).record()).expect("a layout");
    let record = split(record);
    let row = Row {
        record: record.record(),
        layout: &layout,
    };
    read(dataset, &row, &options.values)
}

fn data(fields: &[(&str, &str)], header: &str, record: &str) -> Value {
    read_with(fields, header, record)
        .map(|facts| Value::Object(facts.data))
        .expect("a sale")
}

fn faults(fields: &[(&str, &str)], header: &str, record: &str) -> Vec<(Option<Column>, &'static str)> {
    read_with(fields, header, record).map_or_else(
        |faults| faults.into_iter().map(|f| (f.column, f.code)).collect(),
        |_| Vec::new(),
    )
}

const ALL: &str = "sale_date,amount,sale_id,customer_id,product,quantity,unit_price,category,currency,notes";

#[test]
fn sales_have_what_their_rows_fill() {
    let full = read_with(
        &[("decimal", ".")],
        ALL,
        "2018-11-08,957.5775, S 1 ,C-1, Lamp ,2.50,383.031,Light,eur,\"a, b\"",
    )
    .expect("a sale");
    assert_eq!(full.id.map(|id| id.as_str().to_owned()).as_deref(), Some("S 1"));
    assert!(full.rounded);
    let expected = json!({"sale_date": "2018-11-08", "amount_cents": 95758, "currency": "EUR", "customer_id": "C-1", "product": "Lamp",
        "quantity": 2.5, "unit_price": 383.031, "category": "Light", "notes": "a, b"});
    assert_eq!(Value::Object(full.data), expected);
    let bare = read_with(&[], ALL, "2018-11-08,(12.00),S-1,,,,,,,").expect("a sale");
    assert_eq!(
        Value::Object(bare.data),
        json!({"sale_date": "2018-11-08", "amount_cents": -1200, "currency": "USD"})
    );
    assert!(!bare.rounded);
    assert_eq!(
        read_with(&[], "sale_date,amount", "2018-11-08,1").map(|facts| facts.id),
        Ok(None)
    );
}

#[test]
fn amounts_come_from_prices_and_quantities_where_there_is_no_other() {
    let header = "sale_date,unit_price,quantity";
    assert_eq!(data(&[], header, "2018-11-08,$0.125,-3")["amount_cents"], json!(-38));
    assert_eq!(
        faults(&[], header, "2018-11-08,,3"),
        [(Some(Column::UnitPrice), "required")]
    );
    assert_eq!(
        faults(&[], header, "2018-11-08,1,"),
        [(Some(Column::Quantity), "required")]
    );
    assert_eq!(
        faults(&[], header, "2018-11-08,1,x"),
        [(Some(Column::Quantity), "invalid_quantity")]
    );
    assert_eq!(
        faults(&[], "sale_date,amount,unit_price,quantity", "2018-11-08,,1,2"),
        [(Some(Column::Amount), "required")]
    );
}

#[test]
fn fields_of_the_upload_decide_what_is_written_how() {
    let header = "sale_date,amount";
    let european = [("decimal", ","), ("date_format", "%d.%m.%Y"), ("currency", "KWD")];
    let expected = json!({"sale_date": "2018-11-08", "amount_cents": 1_234_500, "currency": "KWD"});
    assert_eq!(data(&european, header, "08.11.2018,\"1.234,50\""), expected);
    assert_eq!(
        data(&[("currency", "JPY")], header, "2018-11-08,12.50")["amount_cents"],
        json!(13)
    );
    assert_eq!(
        faults(&[("rounding", "reject")], header, "2018-11-08,1.0005"),
        [(Some(Column::Amount), "amount_too_fine")]
    );
    assert_eq!(faults(&[("rounding", "reject")], header, "2018-11-08,1.0500"), []);
    let column = "sale_date,amount,currency";
    assert_eq!(
        data(&[("currency", "EUR")], column, "2018-11-08,1,JPY")["currency"],
        json!("JPY")
    );
    assert_eq!(
        data(&[("currency", "EUR")], column, "2018-11-08,1,")["currency"],
        json!("EUR")
    );
}

#[test]
fn everything_wrong_with_a_row_is_said_at_once() {
    let found = faults(&[], ALL, "2024-02-30,1e309,,\u{200b},p,٣,NaN,c,XYZ,n");
    let expected = [
        (Some(Column::SaleId), "required"),
        (Some(Column::SaleDate), "invalid_date"),
        (Some(Column::CustomerId), "invalid_id"),
        (Some(Column::Quantity), "invalid_quantity"),
        (Some(Column::UnitPrice), "invalid_amount"),
        (Some(Column::Currency), "unknown_currency"),
        (Some(Column::Amount), "invalid_amount"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn single_faults_have_their_code_and_value() {
    let header = "sale_date,amount,currency";
    for (record, column, code, value) in [
        ("11/8/2018,1,", Column::SaleDate, "ambiguous_date", "11/8/2018"),
        (
            "2018-11-08,99999999999999999999,",
            Column::Amount,
            "amount_out_of_range",
            "99999999999999999999",
        ),
        (
            "2018-11-08,0.00000000000000000000000000001,",
            Column::Amount,
            "too_many_digits",
            "0.00000000000000000000000000001",
        ),
        ("2018-11-08,€ 5,USD", Column::Amount, "currency_mismatch", "€ 5"),
        ("2018-11-08,,", Column::Amount, "required", ""),
        ("2018-11-08,=1+1,", Column::Amount, "invalid_amount", "=1+1"),
    ] {
        let found = read_with(&[], header, record).expect_err(record);
        assert_eq!(
            (found[0].column, found[0].code, found[0].value.as_deref()),
            (Some(column), code, Some(value)),
            "{record}"
        );
        assert_eq!(found.len(), 1, "{record}");
    }
    let long = read_with(&[], header, &format!("2018-11-08,{},", "9".repeat(500))).expect_err("too long");
    assert_eq!(long[0].value.as_ref().map(|value| value.chars().count()), Some(81));
}

#[test]
fn rows_that_are_none_are_refused_as_a_whole() {
    let header = "sale_date,amount,notes";
    assert_eq!(faults(&[], header, "2018-11-08,1,x,y"), [(None, "ragged_row")]);
    for fine in ["2018-11-08,1", "2018-11-08,1,x,, ,"] {
        assert!(faults(&[], header, fine).is_empty(), "{fine}");
    }
    assert_eq!(faults(&[], header, "2018-11-08,\"1\"5,x"), [(None, "stray_quote")]);
    assert_eq!(faults(&[], header, ", ,"), [(None, "empty_row")]);
    assert_eq!(
        faults(&[], header, &format!("2018-11-08,1,{EXAMPLE}")),
        [(None, "example_row")]
    );
    let large = format!("2018-11-08,1,{}", "x".repeat(MAX_DATA_BYTES));
    assert_eq!(faults(&[], header, &large), [(None, "row_too_large")]);
}

/// Inside a quoted field there may be any text, but no rows.
#[test]
fn a_field_that_holds_rows_is_refused() {
    let header = "sale_date,amount,notes";
    let note = |text: &str| read_with(&[], header, &format!("2018-11-08,1,\"{text}\""));
    for fine in [
        "two\nlines",
        "one\n2018-11-09\nthree",
        "a\nx,y,z\nb",
        "a\nx,y,z",
        "a\n2018-11-09, two\nb",
        "a, b\nc, d",
    ] {
        assert!(note(fine).is_ok(), "{fine}");
    }
    let one = note("Cable 5m\n2018-11-09,2,Drill 9").expect_err("one row");
    assert_eq!(one[0].code, "swallowed_row");
    // Rows may end before the header does.
    let short = note("Cable 5m\n2018-11-09,2\n2018-11-10,3").expect_err("short rows");
    assert_eq!(short[0].code, "swallowed_row");
    let customers = read_of(
        &CUSTOMERS,
        &[],
        "email,name",
        "a@example.com,\"Ada\nb@example.com,Bob\"",
    );
    assert_eq!(customers.expect_err("a customer")[0].code, "swallowed_row");
    for end in ["\n", "\r\n", "\r"] {
        let swallowed = note(&["Cable 5m", "text", "2018-11-09,2.00,Hose", "2018-11-10,3.00,Drill 9"].join(end));
        let faults = swallowed.expect_err("rows");
        assert_eq!((faults.len(), faults[0].code), (1, "swallowed_row"));
        assert!(
            faults[0].message.contains("line 1 is not closed before line 3"),
            "{}",
            faults[0].message
        );
    }
}

/// Each field over several lines could hold rows with such fields, and so on.
#[test]
fn fields_that_could_hold_rows_are_looked_at_once() {
    let width = 1_000;
    let header = format!(
        "sale_date,amount,{}",
        (2..width).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",")
    );
    let field = |n: usize| format!("\"x\n{}\"", ",".repeat(n));
    let record = format!("never,1,{}", (2..width).map(field).collect::<Vec<_>>().join(","));
    assert_eq!(
        faults(&[], &header, &record),
        [(Some(Column::SaleDate), "invalid_date")]
    );
}

#[test]
fn customers_have_no_money_and_a_day_only_where_one_is_given() {
    let header = "customer_id,name,email,phone,segment,country,created_date";
    let read = |record: &str| read_of(&CUSTOMERS, &[], header, record);
    let full = read("C-1,Ada,ada@example.com,+44 20 7946 0000,Consumer,UK,2026-01-31").expect("a customer");
    assert_eq!(full.id.map(|id| id.as_str().to_owned()).as_deref(), Some("C-1"));
    assert_eq!(full.day.map(|day| day.to_string()).as_deref(), Some("2026-01-31"));
    let expected = json!({"name": "Ada", "email": "ada@example.com", "phone": "+44 20 7946 0000", "segment": "Consumer",
        "country": "UK", "created_date": "2026-01-31"});
    assert_eq!(Value::Object(full.data), expected);
    let named = read("C-1,Ada,Ada Lovelace <ada@example.com>,,,,").expect("a customer");
    assert_eq!(named.data["email"], "ada@example.com");
    let bare = read("C-1,Ada,,,,,").expect("a customer");
    assert_eq!((Value::Object(bare.data), bare.day), (json!({"name": "Ada"}), None));
    let faults = read(",,nobody,,,,31/1/2026").expect_err("nothing");
    let found: Vec<_> = faults.iter().map(|f| (f.column, f.code)).collect();
    let expected = [
        (Some(Column::CustomerId), "required"),
        (Some(Column::Name), "required"),
        (Some(Column::Email), "invalid_email"),
        (Some(Column::CreatedDate), "invalid_date"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn expenses_are_money_on_a_day() {
    let header = "expense_id,expense_date,amount,currency,category,vendor,description";
    let read = |record: &str| read_of(&EXPENSES, &[("currency", "EUR")], header, record);
    let credit = read("E-1,2026-01-31,(4.90),,Software,Hosting,credit").expect("an expense");
    let expected = json!({"expense_date": "2026-01-31", "amount_cents": -490, "currency": "EUR", "category": "Software",
        "vendor": "Hosting", "description": "credit"});
    assert_eq!(Value::Object(credit.data), expected);
    assert_eq!(credit.day.map(|day| day.to_string()).as_deref(), Some("2026-01-31"));
    let found = read("E-1,,,XYZ,,,").expect_err("nothing");
    let found: Vec<_> = found.iter().map(|f| (f.column, f.code)).collect();
    let expected = [
        (Some(Column::ExpenseDate), "required"),
        (Some(Column::Currency), "unknown_currency"),
        (Some(Column::Amount), "required"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_fault_of_a_number_says_what_is_wrong_with_it() {
    let said = |fields: &[(&str, &str)], text: &str| {
        let record = format!("2026-01-31,\"{text}\"");
        let faults = read_with(fields, "sale_date,amount", &record).expect_err("a fault");
        faults[0].message.clone()
    };
    for (fields, text, message) in [
        (&[][..], "12,50", "amount is not a number: decimal=, would read it"),
        (
            &[("decimal", ",")],
            "12.50",
            "amount is not a number: decimal=. would read it",
        ),
        (&[], "12x", "amount is not a number: 'x' is unexpected"),
        (
            &[],
            "1,2,3",
            "amount is not a number: its signs are not where a number has them, as in -1,234,567.50",
        ),
    ] {
        assert_eq!(said(fields, text), message);
    }
}
