//! What was confirmed for another file with the same header.

use super::*;

#[tokio::test]
async fn memory_decides_only_what_the_file_leaves_open() {
    let negate = json!({"negate": true, "currency": "EUR"});
    let amazon =
        "Includes Amazon Marketplace\nAll amounts in CAD\nDate,Amount,Item\n2026-01-31,5.00,Mug\n2026-01-30,6.00,Cup\n";
    for (what, dataset, field, remembered, file) in [
        (
            "another currency",
            "sales",
            "currency",
            json!({"currency": "USD"}),
            amazon,
        ),
        (
            "another currency beside the amounts",
            "sales",
            "currency",
            json!({"currency": "USD"}),
            "Date,Amount\n2026-01-31,5.00 CAD\n",
        ),
        (
            "another currency in a column",
            "sales",
            "currency",
            json!({"currency": "USD"}),
            "Date,Amount,Currency\n2026-01-31,5.00,CAD\n",
        ),
        (
            "money in both directions",
            "expenses",
            "filter",
            negate.clone(),
            "Date,Amount\n2026-01-31,-5.00\n2026-01-30,3000.00\n",
        ),
        (
            "the other sign",
            "expenses",
            "negate",
            negate,
            "Date,Amount\n2026-01-31,5.00\n",
        ),
        (
            "money that came in only",
            "expenses",
            "negate",
            json!({"negate": true}),
            "Buchungstag;Verwendungszweck;Betrag;Währung\n13.01.2026;Gehalt;2500,00;EUR\n",
        ),
        (
            "credits only",
            "expenses",
            "negate",
            json!({"negate": true}),
            "Date,Text,Debit (EUR),Credit (EUR)\n2026-01-31,Salary,,5.00\n",
        ),
        (
            "sales that were taken back only",
            "sales",
            "negate",
            json!({"negate": false}),
            "Order ID,Date,Amount (EUR)\nA1,2026-01-31,-5.00\n",
        ),
        (
            "a discount",
            "sales",
            "filter",
            json!({"mapping": {"unit_price": "Unit Price", "quantity": "Quantity"}}),
            "Date,Product,Quantity,Unit Price,Discount,Currency\n2026-01-13,Mug,10,18.00,0.25,EUR\n",
        ),
        (
            "another value of a filter's column",
            "sales",
            "filter",
            json!({"filter": {"column": "Region", "not_in": ["Test"]}}),
            "Date,Region,Amount (EUR)\n2026-01-31,Test,5.00\n2026-01-31,Demo,6.00\n",
        ),
        (
            "another value of a filter's column, which would be left out",
            "sales",
            "filter",
            json!({"filter": {"column": "Region", "in": ["North"]}}),
            "Date,Region,Amount (EUR)\n2026-01-31,North,5.00\n2026-01-31,South,6.00\n",
        ),
        (
            "money in both directions among the rows that count",
            "expenses",
            "filter",
            json!({"negate": true, "filter": {"column": "Art", "in": ["Miete"]}}),
            "Date,Art,Amount (EUR)\n2026-01-31,Miete,-5.00\n2026-01-30,Miete,3.00\n",
        ),
        (
            "another order of day and month",
            "sales",
            "date_format",
            json!({"date_format": "%d/%m/%Y"}),
            "Date,Amount (EUR)\n01/31/2026,5.00\n",
        ),
        (
            "another decimal mark",
            "sales",
            "decimal",
            json!({"decimal": "."}),
            "Date;Amount (EUR)\n2026-01-31;5,00\n",
        ),
    ] {
        let inspection = Known::remembered(remembered).inspect(dataset, file).await;
        assert!(asks(&inspection, field), "{what}: {:?}", inspection.doubts);
    }
}

#[tokio::test]
async fn memory_answers_what_the_file_leaves_open() {
    for (what, dataset, remembered, file) in [
        (
            "currency, date and decimal mark",
            "sales",
            json!({"currency": "CHF", "date_format": "%d/%m/%Y", "decimal": "."}),
            "Date,Amount\n01/02/2026,1.500\n",
        ),
        (
            "what is paid of both directions",
            "expenses",
            json!({"negate": true, "filter": {"column": "Amount (EUR)", "sign": "negative"}}),
            "Date,Amount (EUR)\n2026-01-31,-5.00\n2026-01-30,3000.00\n",
        ),
        (
            "which rows of both directions are expenses",
            "expenses",
            json!({"negate": true, "filter": {"column": "Art", "in": ["Miete", "Strom"]}}),
            "Date,Art,Amount (EUR)\n2026-01-31,Miete,-5.00\n2026-01-30,Strom,-3.00\n",
        ),
        (
            "a status, beside one that is known",
            "sales",
            json!({"filter": {"column": "Status", "not_in": ["refunded"]}}),
            "Date,Status,Amount (EUR)\n2026-01-31,Refunded,5.00\n2026-01-30,Paid,3.00\n",
        ),
        (
            "what is paid of two columns",
            "expenses",
            json!({
                "amount_columns": {"debit": "Debit", "credit": "Credit"}, "negate": true, "currency": "EUR",
                "filter": {"column": "Debit", "not_in": ["", "0", "0.00", "0,00"]},
            }),
            "Date,Text,Debit,Credit\n2026-01-31,Rent,5.00,\n2026-01-30,Salary,,3000.00\n",
        ),
        (
            "which column is which",
            "sales",
            json!({"mapping": {"amount": "Amount"}, "currency": "EUR"}),
            "Order date,Amount,Amount (EUR)\n2026-01-31,5.00,6.00\n",
        ),
        (
            "texts that mean nothing",
            "customers",
            json!({"empty_values": ["NA"]}),
            "Email,Name,Country\na@x.com,Ann,NA\nb@x.com,Bob,DE\n",
        ),
    ] {
        let inspection = Known::remembered(remembered).inspect(dataset, file).await;
        assert!(
            inspection.certain,
            "{what}: {:?} {:?}",
            inspection.doubts, inspection.options
        );
        let mut findings = inspection.findings.iter();
        assert!(findings.any(|finding| finding.reason.contains("confirmed for a file with this header")));
    }
}
