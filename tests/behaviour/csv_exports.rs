//! What the exports of shops, banks and spreadsheets look like, besides a header and rows.

use serde_json::{Value, json};
use tests::{Answer, Person, World};

async fn sales(world: &World, staff: &Person, fields: &[(&str, &str)], file: &str) -> Answer {
    world.upload_sales(staff, fields, file.as_bytes()).await
}

/// Rows that were accepted and rejected.
fn counts(answer: &Answer) -> (i64, i64) {
    let count = |name: &str| answer.body[name].as_i64().unwrap_or_else(|| panic!("{}", answer.text));
    (count("rows_accepted"), count("rows_rejected"))
}

async fn data(world: &World, staff: &Person, event_type: &str) -> Vec<Value> {
    let found = world
        .get(staff, &format!("/events?event_type={event_type}&order=asc"))
        .await
        .expect(200);
    found.items().iter().map(|event| event["data"].clone()).collect()
}

#[tokio::test]
async fn blank_lines_and_empty_cells_at_the_end_are_no_faults() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount,notes\n,,\n2026-01-01,2,,\n\"\",\" \",\n2026-01-02,3\n2026-01-03,4,x\n,,,,\n";
    let answer = sales(&world, &staff, &[("mode", "all_or_nothing")], file)
        .await
        .expect(200);
    assert_eq!((counts(&answer), &answer.body["rows_total"]), ((3, 0), &json!(3)));
    let split = sales(&world, &staff, &[], "sale_date,amount,notes\n2026-01-05,1,a,b\n")
        .await
        .expect(200);
    assert_eq!(
        (counts(&split), &split.body["errors"][0]["code"]),
        ((0, 1), &json!("ragged_row"))
    );
}

#[tokio::test]
async fn the_header_is_found_and_with_it_the_delimiter() {
    let (world, staff) = (World::new().await, Person::staff());
    for (name, mapping, file) in [
        ("a declared delimiter", "", "sep=;\nsale_date;amount\n2026-01-01;5.00\n"),
        (
            "the same as a spreadsheet quotes it",
            "",
            "\"sep=;\"\r\nsale_date;amount\r\n2026-01-02;5.00\r\n",
        ),
        (
            "lines before the header",
            r#"{"sale_date": "Day", "amount": "Sum (€)"}"#,
            "\"Account\";\"X\"\n\n\"Balance\";\"4.093,32 €\"\n\"\"\n\"Day\";\"Sum (€)\"\n\"2026-01-03\";\"-62.3\"\n",
        ),
        (
            "more commas than semicolons",
            r#"{"sale_date": "Day", "amount": "Sum (net, EUR, w/o VAT)"}"#,
            "Day;Sum (net, EUR, w/o VAT);Name, Place\n2026-01-04;5.00;x\n",
        ),
        (
            "a title of one cell",
            "",
            "Sales of January\nsale_date,amount\n2026-01-05,5.00\n",
        ),
        (
            "other columns of one name",
            r#"{"sale_date": "Date", "amount": "Sum"}"#,
            "Date,Tax,Sum,Tax\n2026-01-06,1,2,3\n",
        ),
    ] {
        let fields: &[(&str, &str)] = if mapping.is_empty() {
            &[]
        } else {
            &[("mapping", mapping)]
        };
        let answer = sales(&world, &staff, fields, file).await.expect(200);
        assert_eq!(counts(&answer), (1, 0), "{name}: {}", answer.text);
        let mut declared = json!({"dataset": "sales"});
        for (field, value) in fields {
            declared[*field] = serde_json::from_str(value).unwrap();
        }
        let large = world.import(&staff, declared, file).await;
        assert_eq!(
            large.body["rows_duplicate"], 1,
            "{name}, in the large way: {}",
            large.text
        );
    }
    let days: Vec<Value> = data(&world, &staff, "sale.created")
        .await
        .into_iter()
        .map(|sale| sale["sale_date"].clone())
        .collect();
    assert_eq!(
        days,
        [
            "2026-01-01",
            "2026-01-02",
            "2026-01-03",
            "2026-01-04",
            "2026-01-05",
            "2026-01-06"
        ]
    );

    // A row before the header is never left out.
    let refused = sales(&world, &staff, &[], "2026-01-01,7\nsale_date,amount\n2026-01-02,5\n").await;
    assert_eq!(refused.problem(400), "no_header");
    let twice = sales(
        &world,
        &staff,
        &[("mapping", r#"{"amount": "Sum"}"#)],
        "sale_date,Sum,Sum\n2026-01-02,5,6\n",
    )
    .await;
    assert_eq!(twice.problem(400), "duplicate_header");
}

#[tokio::test]
async fn the_day_is_the_one_that_is_written() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount\n2021-03-27T23:30:00+01:00,1\n2021-03-28 00:15:00Z,2\n2021-03-29,3\n";
    assert_eq!(counts(&sales(&world, &staff, &[], file).await.expect(200)), (3, 0));
    let file = "sale_date,amount\n2021-03-30 23:30:00 -0800,4\n";
    let declared = sales(&world, &staff, &[("date_format", "%Y-%m-%d %H:%M:%S %z")], file).await;
    assert_eq!(counts(&declared.expect(200)), (1, 0));
    let days: Vec<Value> = data(&world, &staff, "sale.created")
        .await
        .into_iter()
        .map(|sale| sale["sale_date"].clone())
        .collect();
    assert_eq!(days, ["2021-03-27", "2021-03-28", "2021-03-29", "2021-03-30"]);
}

#[tokio::test]
async fn in_a_declared_zone_times_with_an_offset_have_their_day_there() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount\n1,2026-01-31T23:30:00Z,1\n2,2026-01-31T22:30:00Z,1\n3,2026-01-31T23:30:00,1\n4,2026-01-31,1\n";
    let fields = [("timezone", "Europe/Berlin")];
    assert_eq!(counts(&sales(&world, &staff, &fields, file).await.expect(200)), (4, 0));
    let days: Vec<Value> = data(&world, &staff, "sale.created")
        .await
        .iter()
        .map(|sale| sale["sale_date"].clone())
        .collect();
    assert_eq!(days, ["2026-02-01", "2026-01-31", "2026-01-31", "2026-01-31"]);
    let refused = sales(&world, &staff, &[("timezone", "Berlin")], file).await;
    assert_eq!(refused.problem(400), "malformed_request");
    assert!(refused.text.contains("Europe/Berlin"), "{}", refused.text);
}

#[tokio::test]
async fn text_of_older_computers_is_named() {
    let (world, staff) = (World::new().await, Person::staff());
    let mac = b"sale_date,amount,product\n2026-01-31,5,Gr\x9A\xA7e\n";
    let dos = b"sale_date,amount,product\n2026-01-31,5,Gr\x94\xE1e\n";
    for (file, named) in [(mac, "encoding=macintosh"), (dos, "cp850")] {
        let refused = world.upload_sales(&staff, &[], &file[..]).await;
        assert_eq!(refused.problem(400), "wrong_encoding");
        assert!(refused.text.contains(named), "{}", refused.text);
    }
    let declared = world.upload_sales(&staff, &[("encoding", "macintosh")], &mac[..]).await;
    assert_eq!(counts(&declared.expect(200)), (1, 0));
    assert_eq!(data(&world, &staff, "sale.created").await[0]["product"], "Größe");
}

#[tokio::test]
async fn a_quoted_field_that_swallows_rows_is_refused_with_both_lines() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount,product\n2026-01-01,1.00,\"Cable 5m\n2026-01-02,2.00,Hose\n2026-01-03,3.00,Drill 9\"\n2026-01-04,4.00,x\n";
    let answer = sales(&world, &staff, &[], file).await.expect(200);
    assert_eq!(counts(&answer), (1, 1));
    let error = &answer.body["errors"][0];
    assert_eq!(error["code"], "swallowed_row");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("line 2 is not closed before line 3"),
        "{error}"
    );
    let note = "sale_date,amount,notes\n2026-01-05,1.00,\"call back\n2026-01-06, before noon\nask for Ada\"\n";
    assert_eq!(counts(&sales(&world, &staff, &[], note).await.expect(200)), (1, 0));
}

/// Only Annals writes the mark of a report.
#[tokio::test]
async fn a_column_of_ones_own_called_errors_makes_no_report() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount,errors\n2026-01-01,5,none\n2026-01-02,6,'=x\n";
    assert_eq!(counts(&sales(&world, &staff, &[], file).await.expect(200)), (2, 0));
    let again = sales(&world, &staff, &[], file).await.expect(200);
    assert_eq!((counts(&again), &again.body["rows_duplicate"]), ((0, 0), &json!(2)));
    let customers = "customer_id,name,phone,errors\nC-1,Ada,'+49 30 1,x\n";
    world
        .upload_file(&staff, "customers", &[], customers.as_bytes())
        .await
        .expect(200);
    assert_eq!(data(&world, &staff, "customer.created").await[0]["phone"], "'+49 30 1");
}

#[tokio::test]
async fn of_an_address_with_a_name_the_address_is_kept() {
    let (world, staff) = (World::new().await, Person::staff());
    let file =
        "customer_id,name,email\nC-1,Ada,Ada Lovelace <ada@example.com>\nC-2,Bo,bo@example.com\nC-3,Cy,Cy <cy>\n";
    let answer = world
        .upload_file(&staff, "customers", &[], file.as_bytes())
        .await
        .expect(200);
    assert_eq!(
        (counts(&answer), &answer.body["errors"][0]["code"]),
        ((2, 1), &json!("invalid_email"))
    );
    let emails: Vec<Value> = data(&world, &staff, "customer.created")
        .await
        .into_iter()
        .map(|one| one["email"].clone())
        .collect();
    assert_eq!(emails, ["ada@example.com", "bo@example.com"]);
}
