use std::collections::HashMap;

use super::*;
use crate::dataset::SALES;
use crate::options::read_options;
use crate::records::Splitter;

fn find(mapping: &str, header: &str) -> Result<Layout, FileFault> {
    let fields: &[(&str, &str)] = match mapping {
        "" => &[],
        mapping => &[("mapping", mapping)],
    };
    let options = read_options(fields, &SALES);
    let mut splitter = Splitter::new(b',');
    let text = format!("{header}\n");
    assert!(splitter.split(text.as_bytes()).is_ok_and(|(_, complete)| complete));
    Layout::find(&SALES, &options, splitter.record())
}

fn code(mapping: &str, header: &str) -> &'static str {
    find(mapping, header).map_or_else(|fault| fault.code, |_| "fine")
}

#[test]
fn headers_match_whatever_their_case_and_spaces() {
    let layout = find("", " Sale Date ,AMOUNT,customer  id,Region").expect("a layout");
    let places: HashMap<&str, Option<usize>> = SALES.columns.iter().map(|c| (c.name(), layout.place_of(*c))).collect();
    assert_eq!(
        (places["sale_date"], places["amount"], places["customer_id"]),
        (Some(0), Some(1), Some(2))
    );
    assert_eq!(places["notes"], None);
    assert_eq!(layout.ignored(), ["Region"]);
    assert_eq!(
        (layout.header(Column::SaleDate), layout.header(Column::Notes)),
        ("Sale Date", "notes")
    );
}

#[test]
fn mappings_go_before_names() {
    let layout = find(
        r#"{"amount": "Sales", "sale_date": "order date", "product": "Notes", "category": null}"#,
        "Order Date,Sales,Amount,Notes,Category",
    )
    .expect("a layout");
    assert_eq!(layout.place_of(Column::Amount), Some(1));
    assert_eq!(layout.place_of(Column::SaleDate), Some(0));
    assert_eq!(
        (layout.place_of(Column::Product), layout.place_of(Column::Notes)),
        (Some(3), None)
    );
    assert!(!layout.has(Column::Category));
    assert_eq!(layout.ignored(), ["Amount", "Category"]);
}

#[test]
fn files_of_other_kinds_are_told_what_they_lack() {
    assert_eq!(code("", "2018-11-08,261.96,CG-12520"), "no_header");
    assert_eq!(code("", "sale_date,price"), "missing_columns");
    assert_eq!(code("", "amount"), "missing_columns");
    assert_eq!(code("", "sale_date,quantity"), "missing_columns");
    assert_eq!(code("", "sale_date,quantity,unit_price"), "fine");
    assert_eq!(code(r#"{"amount": "Sales"}"#, "sale_date,amount"), "missing_columns");
    assert_eq!(code(r#"{"amount": null}"#, "sale_date,amount"), "missing_columns");
    assert_eq!(code("", "sale_date,amount,Amount "), "duplicate_header");
    assert_eq!(code("", "sale_date,amount,region,region"), "fine");
    assert_eq!(code(r#"{"amount": "Sum"}"#, "sale_date,Sum,sum"), "fine");
    assert_eq!(code(r#"{"amount": "SUM"}"#, "sale_date,Sum,sum"), "duplicate_header");
    assert_eq!(code(r#"{"amount": "Sum"}"#, "sale_date,Sum,Sum"), "duplicate_header");
    assert_eq!(
        code(r#"{"product": "Region"}"#, "sale_date,amount,region,region"),
        "duplicate_header"
    );
    assert_eq!(code("", "sale_date,amount,,"), "fine");
    let fault = find("", "sale_date").expect_err("no amount");
    assert!(
        fault.message.contains("amount, or unit_price and quantity"),
        "{}",
        fault.message
    );
    assert_eq!(fault.line, Some(1));
}

/// The fields of a record of a file with this header, without what a report has added.
fn originals(header: &str, record: &str) -> Vec<String> {
    let layout = find("", header).expect("a layout");
    let mut splitter = Splitter::new(b',');
    let text = format!("{record}\n");
    assert!(splitter.split(text.as_bytes()).is_ok_and(|(_, complete)| complete));
    let record = layout.bare(splitter.record());
    layout.originals(&record).map(str::to_owned).collect()
}

#[test]
fn a_report_that_comes_back_is_known_by_its_last_column() {
    let header = "sale_date,amount,product,annals_errors";
    let layout = find("", header).expect("a layout");
    assert_eq!(layout.headers(), ["sale_date", "amount", "product"]);
    assert_eq!((layout.width(), layout.ignored().len()), (4, 0));
    assert_eq!(originals(header, "a,b,'=c,\"d: e\""), ["a", "b", "=c"]);
    assert_eq!(
        originals("sale_date,amount,product,annals_errors,,", "a,b,c,d,,"),
        ["a", "b", "c"]
    );
    assert_eq!(
        originals("sale_date,amount,product,annals_errors,,", "a,b,c,d,,f"),
        ["a", "b", "c", "", "f"]
    );
    assert_eq!(originals("sale_date,amount,product,annals_errors", "a,b"), ["a", "b"]);
    let guarded = find("", "sale_date,amount,'=product,annals_errors").expect("a layout");
    assert_eq!(guarded.ignored(), ["=product"]);
}

#[test]
fn names_of_columns_have_a_length() {
    let header = |length: usize| format!("sale_date,amount,{}", "x".repeat(length));
    assert_eq!(code("", &header(MAX_HEADER_BYTES)), "fine");
    assert_eq!(code("", &header(MAX_HEADER_BYTES + 1)), "header_too_long");
    let fault = find("", &header(900_000)).expect_err("too long");
    assert!(fault.message.len() < 200, "{}", fault.message);
}

#[test]
fn other_files_are_no_reports() {
    assert_eq!(originals("sale_date,amount,errors", "a,b,'=d"), ["a", "b", "'=d"]);
    assert_eq!(
        originals("sale_date,amount,annals_errors,product", "a,b,c,'=d"),
        ["a", "b", "c", "'=d"]
    );
    let mapped = find(r#"{"notes": "annals_errors"}"#, "sale_date,amount,annals_errors").expect("a layout");
    assert_eq!(mapped.place_of(Column::Notes), Some(2));
    assert_eq!(mapped.headers().len(), 3);
}
