//! Days that are read otherwise than they were meant.

use super::*;

#[tokio::test]
async fn years_of_two_digits_are_told_as_they_are_read() {
    let inspection = inspected(
        "customers",
        "Email,Name,Member since\na@x.org,Ann,13/01/69\nb@x.org,Bob,13/01/70\n",
    )
    .await;
    let trial = inspection.trial.as_ref().expect("a trial");
    let days = [&trial.first_day, &trial.last_day].map(|day| day.clone().unwrap_or_default());
    assert_eq!(days, ["1970-01-13", "2069-01-13"]);
    let mut findings = inspection.findings.iter();
    assert!(findings.any(|finding| finding.reason.contains("with years from 1970 to 2069")));
    assert!(asks(&inspection, "date_format"), "{:?}", inspection.doubts);
}

#[tokio::test]
async fn days_far_in_the_future_are_asked_about() {
    all_ask(&[
        (
            "a year with a typing error",
            "sales",
            "date_format",
            "Date,Amount (EUR)\n2026-01-13,5.00\n2206-01-14,6.00\n",
        ),
        (
            "a year of two digits",
            "expenses",
            "date_format",
            "Date,Amount (EUR)\n13/01/69,5.00\n14/01/26,6.00\n",
        ),
    ])
    .await;
}
