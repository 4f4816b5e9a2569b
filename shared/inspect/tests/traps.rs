//! Files in which the obvious reading may be wrong: they are asked about.

#![expect(clippy::expect_used, reason = "a test: what fails ends it")]

use annals_csv::Dataset;
use annals_inspect::{Beginning, Extent, Inspection, inspect};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value, json};

#[path = "traps/asked.rs"]
mod asked;
#[path = "traps/broken.rs"]
mod broken;
#[path = "traps/customers.rs"]
mod customers;
#[path = "traps/days.rs"]
mod days;
#[path = "traps/memory.rs"]
mod memory;
#[path = "traps/money.rs"]
mod money;
#[path = "traps/rows.rs"]
mod rows;

/// Upload fields beside a file.
#[derive(Default)]
struct Known {
    /// What the caller declares.
    declared: Map<String, Value>,
    /// What was confirmed for another file with this header.
    remembered: Map<String, Value>,
}

impl Known {
    fn declared(fields: Value) -> Self {
        let declared = fields.as_object().expect("fields").clone();
        Self {
            declared,
            ..Self::default()
        }
    }

    fn remembered(fields: Value) -> Self {
        let remembered = fields.as_object().expect("fields").clone();
        Self {
            remembered,
            ..Self::default()
        }
    }

    async fn inspect(&self, dataset: &str, file: &str) -> Inspection {
        self.inspect_part(dataset, file, Extent::Whole).await
    }

    async fn inspect_part(&self, dataset: &str, file: &str, extent: Extent) -> Inspection {
        let dataset = Dataset::named(dataset).expect("a dataset");
        let file = Bytes::from(file.to_owned());
        let open = || stream::iter([Ok(file.clone())]);
        let beginning = Beginning::read(open(), &self.declared, dataset, extent)
            .await
            .expect("a file");
        inspect(open, dataset, beginning, &self.declared, &self.remembered)
            .await
            .expect("a file")
    }
}

async fn inspected(dataset: &str, file: &str) -> Inspection {
    Known::default().inspect(dataset, file).await
}

fn asks(inspection: &Inspection, field: &str) -> bool {
    !inspection.certain && inspection.doubts.iter().any(|doubt| doubt.field == field)
}

/// Each of these files, by what is special about it, must be asked about in a doubt about the field.
async fn all_ask(cases: &[(&str, &str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (what, dataset, field, file) in cases {
        let inspection = inspected(dataset, file).await;
        if !asks(&inspection, field) {
            wrong.push(format!(
                "{what}: {:?} {:?} {:?}",
                inspection.doubts,
                inspection.options,
                totals(&inspection)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each of these files must be read without a doubt, with this sum of cents.
async fn all_read(cases: &[(&str, &str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (what, dataset, sum, file) in cases {
        let inspection = inspected(dataset, file).await;
        let sums: Vec<String> = totals(&inspection)
            .into_iter()
            .map(|(code, cents)| format!("{code} {cents}"))
            .collect();
        if !inspection.certain || sums.join(", ") != *sum {
            wrong.push(format!(
                "{what}: {sums:?} {:?} {:?}",
                inspection.doubts, inspection.options
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The sum of the amounts, by currency.
fn totals(inspection: &Inspection) -> Vec<(String, String)> {
    let trial = inspection.trial.as_ref().expect("a trial");
    let totals = trial.totals.iter();
    totals
        .map(|total| (total.currency.clone(), total.amount_cents.to_string()))
        .collect()
}

#[tokio::test]
async fn a_company_may_be_called_total() {
    let file = "Vendor,Date,Amount (EUR)\nTotal Energies,2026-01-30,5.00\nHosting,2026-01-31,7.00\nTotal Energies,2026-01-31,9.00\n";
    let inspection = inspected("expenses", file).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(inspection.trial.expect("a trial").rows_accepted, 3);
}

#[tokio::test]
async fn a_declared_filter_is_kept() {
    let known = Known::declared(json!({
        "negate": "true", "filter": r#"{"column":"Amount (EUR)","sign":"negative"}"#,
    }));
    let file = "Date,Text,Amount (EUR)\nJanuary,,\n2026-01-03,Rent,-10.00\n2026-01-05,Salary,3000.00\n";
    let inspection = known.inspect("expenses", file).await;
    let filter = json!([{"column": "Amount (EUR)", "sign": "negative"}, {"column": "Date", "not_in": ["January"]}]);
    assert_eq!(inspection.options["filter"], filter);
    assert_eq!(totals(&inspection), [("EUR".to_owned(), "1000".to_owned())]);
    assert!(inspection.certain, "{:?}", inspection.doubts);
}

#[tokio::test]
async fn declared_columns_of_money_are_checked_like_found_ones() {
    let columns = json!({"amount_columns": {"debit": "Belastung", "credit": "Gutschrift"}});
    let known = Known::declared(columns);
    let header = "Datum,Text,Belastung,Gutschrift,Währung\n";
    let paid = known
        .inspect("expenses", &format!("{header}31.01.2026,Miete,12.50,,CHF\n"))
        .await;
    assert!(paid.certain, "{:?}", paid.doubts);
    assert_eq!(totals(&paid), [("CHF".to_owned(), "1250".to_owned())]);
    let both = format!("{header}31.01.2026,Miete,12.50,,CHF\n30.01.2026,Lohn,,99.00,CHF\n");
    assert!(asks(&known.inspect("expenses", &both).await, "filter"));
    let without = "Datum,Text,Belastung,Gutschrift\n31.01.2026,Miete,12.50,\n";
    assert!(asks(&known.inspect("expenses", without).await, "currency"));

    let known = Known::declared(json!({"sign_column": "Richtung"}));
    let signed = "Datum,Text,Betrag (EUR),Richtung\n31.01.2026,Miete,12.50,S\n";
    let paid = known.inspect("expenses", signed).await;
    assert!(paid.certain, "{:?}", paid.doubts);
    assert_eq!(totals(&paid), [("EUR".to_owned(), "1250".to_owned())]);
    let both = format!("{signed}30.01.2026,Lohn,99.00,H\n");
    assert!(asks(&known.inspect("expenses", &both).await, "filter"));
}

#[tokio::test]
async fn declared_columns_that_a_file_does_not_have_are_not_replaced() {
    for declared in [
        json!({"amount_columns": {"debit": "Soll", "credit": "Haben"}}),
        json!({"sign_column": "Richtung"}),
        json!({"filter": {"column": "Art", "in": ["x"]}}),
        json!({"name_columns": ["Vorname"]}),
        json!({"mapping": {"amount": "Summe"}}),
    ] {
        let file = "Datum,Text,Belastung (EUR),Gutschrift (EUR)\nJanuar,,,\n2026-01-31,Miete,12.50,\n";
        let inspection = Known::declared(declared.clone()).inspect("expenses", file).await;
        assert!(asks(&inspection, "mapping"), "{declared}: {:?}", inspection.doubts);
        for (field, value) in declared.as_object().expect("fields") {
            if !["filter", "mapping"].contains(&field.as_str()) {
                assert_eq!(inspection.options.get(field), Some(value));
            }
        }
    }
}

#[tokio::test]
async fn a_price_beside_a_quantity_is_no_other_amount() {
    let file = "Datum;Artikel;Menge;Preis;Summe (EUR)\n31.01.2026;Tasse;2;5,00;10,00\n30.01.2026;Tasse;1;5,00;5,00\n";
    let inspection = inspected("sales", file).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(totals(&inspection), [("EUR".to_owned(), "1500".to_owned())]);
}

#[tokio::test]
async fn rows_with_few_cells_are_no_footer() {
    let expenses = "Date,Vendor,Category,Memo,Ref,Amount (EUR)\n2026-01-03,A,b,c,d,10.00\n2026-01-04,A,b,c,d,11.00\n2026-01-05,,,,,12.00\n";
    let inspection = inspected("expenses", expenses).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(totals(&inspection), [("EUR".to_owned(), "3300".to_owned())]);
    let customers = "Email,Name,Phone,Country,Segment\na@x.com,Ann,1,DE,x\nb@x.com,Bob,2,DE,x\nc@x.com,Cy,,,\n";
    let inspection = inspected("customers", customers).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(inspection.trial.expect("a trial").rows_accepted, 3);
}

#[tokio::test]
async fn exports_ask_what_they_promise_to_ask() {
    let paypal = "Date,Time,TimeZone,Name,Type,Status,Currency,Gross,Fee,Net,Transaction ID\n01/31/2026,10:00:00,PST,Ann,Express Checkout Payment,Completed,USD,-50.00,0,-50.00,A\n01/30/2026,10:00:00,PST,Bob,Website Payment,Completed,USD,70.00,0,70.00,B\n";
    let xero = "ContactName,InvoiceNumber,InvoiceDate,Total,TaxTotal,InvoiceAmountDue,Description,LineAmount,AccountCode,Currency,Type,Status\nA,1,31/01/2026,30.00,0,0,x,10.00,4,GBP,Bill,Paid\nA,1,31/01/2026,30.00,0,0,y,20.00,4,GBP,Bill,Paid\n";
    let stripe = "id,Created date (UTC),Amount,Amount Refunded,Currency,Converted Amount,Seller Message,Status\nch_1,2026-01-31 10:00:00,100.00,40.00,usd,100.00,ok,Paid\n";
    let refunded = stripe.replace("40.00", "100.00").replace("Paid", "Refunded");
    let square = "Date,Gross Sales,Net Sales,Partial Refunds,Total Collected,Transaction ID,Payment ID,Event Type\n2026-01-31,$5.00,$5.00,$0.00,$5.00,T,P1,Payment\n2026-01-31,$6.00,$6.00,$0.00,$6.00,T,P2,Payment\n";
    let usd = Known::declared(json!({"currency": "USD"}));
    for (what, dataset, field, file) in [
        ("a purchase of one's own", "sales", "filter", paypal),
        ("a bill of two lines", "expenses", "mapping", xero),
        ("a partly refunded payment", "sales", "filter", stripe),
        ("an id that comes twice", "sales", "mapping", square),
    ] {
        let inspection = usd.inspect(dataset, file).await;
        assert!(asks(&inspection, field), "{what}: {:?}", inspection.doubts);
    }
    // A payment that was refunded as a whole does not count, so nothing is asked.
    let rest = format!("{stripe}{}", refunded.lines().nth(1).expect("a row"));
    let whole = rest.replace("100.00,40.00", "100.00,0.00");
    let inspection = inspected("sales", &whole).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(totals(&inspection), [("USD".to_owned(), "10000".to_owned())]);
}

#[tokio::test]
async fn numbers_that_begin_again_are_no_ids() {
    let tally = "Date,Particulars,Vch Type,Vch No.,Debit Amount,Credit Amount\n31-Jan-26,A,Sales,1,5.00,\n30-Jan-26,B,Sales,2,6.00,\n";
    let rupees = Known::declared(json!({"currency": "INR"}));
    let inspection = rupees.inspect("sales", tally).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(inspection.trial.expect("a trial").first_rows[0].id, None);
    let sap = "Belegnummer\tArt\tBelegdatum\tDebitor\tBetrag in Hauswährung\tHauswährung\n18\tDR\t31.01.2026\t1\t7,00\tEUR\n18\tDR\t31.01.2026\t1\t7,00\tEUR\n";
    let inspection = inspected("sales", sap).await;
    assert_eq!(
        totals(&inspection),
        [("EUR".to_owned(), "1400".to_owned())],
        "no row is lost"
    );
}

#[tokio::test]
async fn rupees_are_those_of_india_if_thousands_are_grouped_as_there() {
    for file in [
        "Date,Amount\n2026-01-31,\"Rs. 1,23,456.00\"\n2026-01-30,Rs. 5.00\n",
        "Date,Amount (in Rs.)\n2026-01-31,\"1,23,456.00\"\n2026-01-30,5.00\n",
    ] {
        let inspection = inspected("sales", file).await;
        assert!(inspection.certain, "{:?}", inspection.doubts);
        assert_eq!(totals(&inspection), [("INR".to_owned(), "12346100".to_owned())]);
    }
}

#[tokio::test]
async fn days_with_points_begin_with_the_day_where_other_things_say_so() {
    for (file, day) in [
        ("Datum,Betrag (EUR)\n01.02.2026,5.00\n", "2026-02-01"),
        ("Datum,Betrag (EUR)\n01.02.26,5.00\n", "2026-02-01"),
        ("Date;Amount (EUR)\n01.02.2026;5.00\n", "2026-02-01"),
        ("Date,Amount (EUR)\n01.02.2026,\"5,00\"\n", "2026-02-01"),
        ("Date,Amount (EUR)\n26.01.05,5.00\n26.02.13,6.00\n", ""),
        ("Date,Amount (EUR)\n99.01.05,5.00\n", "1999-01-05"),
        ("Date,Amount (USD)\n01.31.2026,5.00\n", "2026-01-31"),
    ] {
        let inspection = inspected("sales", file).await;
        assert_eq!(inspection.certain, !day.is_empty(), "{file}: {:?}", inspection.doubts);
        if inspection.certain {
            let first = inspection.trial.and_then(|trial| trial.first_day);
            assert_eq!(first.as_deref(), Some(day), "{file}");
        }
    }
}

#[tokio::test]
async fn the_beginning_of_a_file_is_never_certain_and_has_no_end() {
    let file = "Date,Amount (EUR),Text\n2026-01-30,5.00,x\n2026-01-31,7.00,y\nTotal,12.00,\n2026-02-01,\"8";
    let none = Known::default();
    let part = none.inspect_part("sales", file, Extent::Beginning).await;
    assert!(!part.certain && !part.options.contains_key("skip_footer"));
    let trial = part.trial.expect("a trial");
    assert_eq!(
        (trial.rows_accepted, trial.rows_left_out, trial.rows_refused),
        (2, 1, 0)
    );
    assert!(part.after.is_empty());
}

#[tokio::test]
async fn quotes_blank_rows_and_deciding_days_are_told() {
    let file = "Title\n\nDate,Amount (EUR),Text\n\n31/01/2026,5.00,\"x,\ny\"\n,,\n01/02/2026,7.00,y\n30/01/2026,7.00,y\n\n,,\n\n";
    let inspection = inspected("sales", file).await;
    let answer = serde_json::to_value(&inspection).expect("an answer");
    assert_eq!(
        (&answer["quote"], &answer["blank_rows"]),
        (&json!("\""), &json!(4)),
        "{answer}"
    );
    let mut findings = inspection.findings.iter();
    let finding = findings
        .find(|finding| finding.field == "date_format")
        .expect("a finding");
    assert!(finding.reason.contains("2 rows decide it"), "{}", finding.reason);
    let bare = inspected("sales", "Date,Amount (EUR)\n2026-01-31,5.00\n").await;
    assert_eq!((bare.quote, bare.blank_rows), (None, 0));
}
