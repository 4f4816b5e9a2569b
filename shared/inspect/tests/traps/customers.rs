//! Files of customers.

use super::*;

#[tokio::test]
async fn a_row_that_is_cut_off_at_the_end_is_asked_about() {
    let file = "Customer ID,Name,Country,Member since\n98,Ann,DE,2026-01-13\n99,Bob,FR,2026-01-14\n100,2026-01-1";
    let inspection = inspected("customers", file).await;
    assert!(asks(&inspection, "skip_footer"), "{:?}", inspection.doubts);
    for file in [
        "Email,Name,Country,Segment,Phone\na@x.org,Ann,DE,x,1\nb@x.org,Bob,DE,x,1\nc@x.org,C",
        "Customer ID,Name,Country\n98,Ann,DE\n99,Bob,FR\n100",
        "Customer ID,Name,Country\n98,Ann",
        "Name,Email,Country\nAnn,a@x.org,DE\nBob,b@x.org,DE\nCar",
    ] {
        let inspection = inspected("customers", file).await;
        assert!(!inspection.certain, "{file}: {:?}", inspection.options);
    }
}

#[tokio::test]
async fn a_customer_may_be_called_sum() {
    let inspection = inspected(
        "customers",
        "Name,Email,Country\nAnn,a@x.org,DE\nBob,b@x.org,DE\nSum,s@x.org,CN\n",
    )
    .await;
    assert_eq!(
        inspection.trial.as_ref().map(|trial| trial.rows_accepted),
        Some(3),
        "{:?}",
        inspection.doubts
    );
    assert!(inspection.certain, "{:?}", inspection.doubts);
}

#[tokio::test]
async fn an_address_in_two_forms_is_one_customer() {
    all_ask(&[(
        "two forms of an address",
        "customers",
        "mapping",
        "Email,Name\nA@x.org,Ann\na@x.org,Anna\n",
    )])
    .await;
}

#[tokio::test]
async fn a_surname_that_looks_like_nothing_is_kept_or_asked_about() {
    let file = "Email,First Name,Last Name,Country\na@x.org,Jin,Na,KR\nb@x.org,Bob,Low,NA\nc@x.org,Ann,None,DE\n";
    let inspection = inspected("customers", file).await;
    let asked = asks(&inspection, "empty_values");
    assert!(asked, "{:?} {:?}", inspection.doubts, inspection.options);
    let trial = inspection.trial.as_ref().expect("a trial");
    assert_eq!(trial.first_rows[0].data["name"], "Jin Na");
    assert!(
        inspection.doubts[0].message.contains("Last Name"),
        "{:?}",
        inspection.doubts
    );
    let only = "Email,First Name,Last Name\na@x.org,Jin,Na\nb@x.org,Bob,Low\n";
    let inspection = inspected("customers", only).await;
    assert!(inspection.certain, "{:?}", inspection.doubts);
    assert_eq!(inspection.trial.expect("a trial").first_rows[0].data["name"], "Jin Na");
    let known = Known::remembered(json!({"empty_values": ["NA"]}));
    assert!(asks(&known.inspect("customers", only).await, "empty_values"));
}

#[tokio::test]
async fn one_bad_address_does_not_hide_the_column() {
    let mut file = "Kunde;E-Mail-Adresse;Land\n".to_owned();
    for row in 1..=20 {
        let address = if row == 7 {
            "bob".to_owned()
        } else {
            format!("a{row}@x.org")
        };
        file.push_str(&format!("Ann {row};{address};DE\n"));
    }
    let inspection = inspected("customers", &file).await;
    assert!(!inspection.certain);
    let trial = inspection.trial.expect("a trial");
    assert_eq!((trial.rows_accepted, trial.rows_refused), (19, 1));
    assert_eq!(
        (trial.refusals[0].line, trial.refusals[0].value.as_deref()),
        (8, Some("bob"))
    );
}
