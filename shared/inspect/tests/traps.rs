//! Files in which the obvious reading may be wrong: they are asked about.

#![expect(clippy::expect_used, reason = "a test: what fails ends it")]

use annals_csv::Dataset;
use annals_inspect::{Beginning, Inspection, inspect};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Map;

async fn inspected(dataset: &str, file: &str) -> Inspection {
    let (dataset, file) = (
        Dataset::named(dataset).expect("a dataset"),
        Bytes::from(file.to_owned()),
    );
    let open = || stream::iter([Ok(file.clone())]);
    let beginning = Beginning::read(open(), &Map::new(), dataset).await.expect("a file");
    inspect(open, dataset, beginning, &Map::new(), &Map::new())
        .await
        .expect("a file")
}

#[tokio::test]
async fn what_could_be_read_otherwise_is_asked() {
    for (what, dataset, field, file) in [
        (
            "two amounts",
            "sales",
            "mapping",
            "Order date,Amount (EUR),Amount\n2026-01-31,5.00,6.00\n",
        ),
        (
            "two days",
            "sales",
            "mapping",
            "Date,Date,Amount (EUR)\n2026-01-31,2026-02-01,5.00\n",
        ),
        (
            "a status that nobody knows",
            "sales",
            "filter",
            "Date,Status,Amount (EUR)\n2026-01-31,Paid,5.00\n2026-01-31,Refunded,6.00\n",
        ),
        (
            "kinds of rows",
            "sales",
            "filter",
            "Date,Type,Amount (EUR)\n2026-01-31,Sale,5.00\n2026-01-31,Payout,-5.00\n",
        ),
        (
            "what goods cost",
            "sales",
            "mapping",
            "Date,Item,Cost (EUR)\n2026-01-31,Mug,5.00\n",
        ),
        (
            "what goods brought in",
            "expenses",
            "mapping",
            "Date,Item,Revenue (EUR)\n2026-01-31,Mug,5.00\n",
        ),
        (
            "a currency beside some",
            "sales",
            "currency",
            "Date,Amount\n2026-01-31,5.00 EUR\n2026-01-31,6.00\n",
        ),
        ("no currency", "sales", "currency", "Date,Amount\n2026-01-31,5.00\n"),
        (
            "dollars of some country",
            "sales",
            "currency",
            "Date,Amount\n2026-01-31,$5.00\n",
        ),
        (
            "money in both directions",
            "expenses",
            "filter",
            "Date,Amount (EUR)\n2026-01-31,-5.00\n2026-01-31,7.00\n",
        ),
        (
            "negative sales",
            "sales",
            "negate",
            "Date,Amount (EUR)\n2026-01-31,-5.00\n",
        ),
        (
            "a balance with a day",
            "expenses",
            "skip_footer",
            "Text,Date,Amount (EUR)\nRent,2026-01-30,5.00\nClosing balance,2026-01-31,5.00\n",
        ),
        (
            "days that could be months",
            "sales",
            "date_format",
            "Date,Amount (EUR)\n01/02/2026,5.00\n",
        ),
        (
            "thousands or not",
            "sales",
            "decimal",
            "Date,Amount (EUR)\n2026-01-31,1.500\n",
        ),
        (
            "nothing or zero",
            "sales",
            "empty_values",
            "Date,Amount (EUR)\n2026-01-31,5.00\n2026-01-31,-\n",
        ),
    ] {
        let inspection = inspected(dataset, file).await;
        assert!(!inspection.certain, "{what}: {:?}", inspection.options);
        assert!(
            inspection.doubts.iter().any(|doubt| doubt.field == field),
            "{what}: {:?}",
            inspection.doubts
        );
    }
}

#[tokio::test]
async fn a_company_may_be_called_total() {
    let file = "Vendor,Date,Amount (EUR)\nTotal Energies,2026-01-30,5.00\nHosting,2026-01-31,7.00\nTotal Energies,2026-01-31,9.00\n";
    let inspection = inspected("expenses", file).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(inspection.trial.expect("a trial").rows_accepted, 3);
}
