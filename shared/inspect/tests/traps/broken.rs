//! Files with single cells that cannot be read, without rows, or with unusual line ends.

use super::*;

fn with_bad(bad_amount: &str, bad_day: &str) -> String {
    let mut file = "Date,Vendor,Amount (EUR)\n".to_owned();
    for row in 1..=100 {
        let amount = if row == 42 { bad_amount } else { "5.00" };
        let day = if row == 42 { bad_day } else { "2026-01-31" };
        file.push_str(&format!("{day},Shop {row},{amount}\n"));
    }
    file
}

#[tokio::test]
async fn one_bad_amount_is_shown_with_its_line_and_the_column_is_proposed() {
    for bad in ["free", "1e3", "=5+5", "#REF!"] {
        for dataset in ["sales", "expenses"] {
            let inspection = inspected(dataset, &with_bad(bad, "2026-01-30")).await;
            assert!(asks(&inspection, "mapping"), "{bad}: {:?}", inspection.doubts);
            let message = &inspection.doubts[0].message;
            assert!(
                message.contains(bad) && message.contains("line 43") && message.contains("Amount (EUR)"),
                "{message}"
            );
            let trial = inspection.trial.expect("a trial");
            assert_eq!((trial.rows_accepted, trial.rows_refused), (99, 1));
        }
    }
}

#[tokio::test]
async fn one_bad_day_is_shown_with_its_line() {
    for bad in ["tbd", "31.13.2026"] {
        let inspection = inspected("sales", &with_bad("5.00", bad)).await;
        assert!(asks(&inspection, "date_format"), "{bad}: {:?}", inspection.doubts);
        let message = &inspection.doubts[0].message;
        assert!(message.contains(bad) && message.contains("line 43"), "{message}");
        let trial = inspection.trial.expect("a trial");
        assert_eq!((trial.rows_accepted, trial.rows_refused), (99, 1));
    }
    let slashed = with_bad("5.00", "tbd").replace("2026-01-31", "31/01/2026");
    let inspection = inspected("sales", &slashed).await;
    assert!(asks(&inspection, "date_format"), "{:?}", inspection.doubts);
    assert_eq!(inspection.trial.expect("a trial").rows_accepted, 99);
}

#[tokio::test]
async fn a_file_without_rows_says_so() {
    for file in ["Date,Vendor,Amount (EUR)\n", "Date,Vendor,Amount (EUR)"] {
        let inspection = inspected("sales", file).await;
        assert!(!inspection.certain);
        let mut messages = inspection.doubts.iter().map(|doubt| doubt.message.as_str());
        assert!(
            messages.any(|message| message.contains("no rows")),
            "{:?}",
            inspection.doubts
        );
        assert_eq!(inspection.doubts.len(), 1, "{:?}", inspection.doubts);
    }
}

#[tokio::test]
async fn lines_before_the_header_may_end_with_cr() {
    let file = "Title of the shop\rSecond line\rDate,Vendor,Amount (EUR)\r2026-01-31,x,5.00\r2026-01-30,y,6.00\r";
    let inspection = inspected("sales", file).await;
    assert_eq!(inspection.before, ["Title of the shop", "Second line"]);
    assert_eq!(totals(&inspection), [("EUR".to_owned(), "1100".to_owned())]);
}

#[tokio::test]
async fn a_column_with_a_better_name_is_not_passed_over() {
    all_ask(&[
        (
            "an amount",
            "sales",
            "mapping",
            "Date,Total,Gross,Currency\n2026-01-13,free,1.00,EUR\n2026-01-13,2.00,2.00,EUR\n",
        ),
        (
            "a day",
            "sales",
            "mapping",
            "Order Date,Date,Amount (EUR)\ntbd,2026-01-13,1.00\ntbd,2026-01-13,2.00\n2026-01-13,2026-01-14,2.00\n",
        ),
    ])
    .await;
    let inspection = inspected("sales", "Datum;Betrag\n13.01.2026;free\n").await;
    let message = &inspection.doubts[0].message;
    assert!(
        message.contains("Betrag") && message.contains("line 2") && message.contains("free"),
        "{message}"
    );
    assert_eq!(inspection.doubts[0].choices, [json!({"amount": "Betrag"})]);
}
