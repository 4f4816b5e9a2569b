//! Sales files: every row becomes one event, or has an error that says what is wrong.

use serde_json::{Value, json};
use tests::{Part, Person, World, multipart};

mod refused;

/// A file as a shop would export it: other names, a BOM, quoted commas, amounts finer than a cent, American dates.
const MAPPING: &str =
    r#"{"sale_id":"Row ID","sale_date":"Order Date","amount":"Sales","product":"Product Name","quantity":"Qty"}"#;
const FIELDS: [(&str, &str); 2] = [("mapping", MAPPING), ("date_format", "%m/%d/%Y")];

/// `rows` sales, every third with fractions of a cent; and the cents that they add up to, computed with whole numbers.
fn shop_file(rows: i64) -> (String, i64, i64) {
    let mut file = "\u{FEFF}Row ID,Order Date,Region,Sales,Product Name,Qty\r\n".to_owned();
    let (mut cents, mut rounded) = (0, 0);
    for row in 1..=rows {
        let amount = row * 37 % 100_000;
        // Half a cent more, which rounds away from zero.
        let (fraction, extra) = if row % 3 == 0 { ("5", 1) } else { ("", 0) };
        cents += amount + extra;
        rounded += extra;
        file.push_str(&format!(
            "{row},{}/{}/2018,West,{}.{:02}{fraction},\"Table, round no {row}\",{}\r\n",
            row % 12 + 1,
            row % 28 + 1,
            amount / 100,
            amount % 100,
            row % 9 + 1
        ));
    }
    (file, cents, rounded)
}

fn figures(body: &Value) -> [i64; 7] {
    [
        "rows_total",
        "rows_accepted",
        "rows_rejected",
        "rows_duplicate",
        "rows_updated",
        "rows_rounded",
        "events_appended",
    ]
    .map(|name| body[name].as_i64().unwrap_or_else(|| panic!("no {name} in {body}")))
}

async fn sum_of_cents(world: &World) -> (i64, i64) {
    let sql = "select count(*), coalesce(sum(amount_cents), 0)::bigint from public.sales";
    let row = world.owner().await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn count_events(world: &World) -> i64 {
    world
        .owner()
        .await
        .query_one(
            "select count(*) from annals.events where aggregate_type <> 'import_profile'",
            &[],
        )
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn a_file_becomes_events_and_a_table_whose_cents_add_up_and_again_nothing() {
    let (world, staff) = (World::new().await, Person::staff());
    let (file, cents, rounded) = shop_file(2_345);
    let answer = world.upload_sales(&staff, &FIELDS, &file).await.expect(200);
    assert_eq!(
        figures(&answer.body),
        [2_345, 2_345, 0, 0, 0, rounded, 2_345],
        "{}",
        answer.text
    );
    assert_eq!(answer.body["status"], "completed");
    assert_eq!(answer.body["dataset"], "sales");
    assert_eq!(answer.body["ignored_columns"], json!(["Region"]));
    world.project().await;
    assert_eq!(sum_of_cents(&world).await, (2_345, cents));
    let again = world.upload_sales(&staff, &FIELDS, &file).await.expect(200);
    assert_eq!(
        figures(&again.body),
        [2_345, 0, 0, 2_345, 0, rounded, 0],
        "{}",
        again.text
    );
    assert_eq!(count_events(&world).await, 2_345);
    let sale = world.get(&staff, "/entities/sale/3").await.expect(200);
    let state = json!({"amount_cents": 112, "currency": "USD", "sale_date": "2018-04-04", "product": "Table, round no 3", "quantity": 4});
    assert_eq!(sale.body["state"], state);
    let event = &world.get(&staff, "/audit/entity/3").await.expect(200).items()[0].clone();
    assert_eq!(event["event_type"], "sale.created");
    assert_eq!(event["correlation_id"], answer.body["upload_id"]);
}

#[tokio::test]
async fn a_changed_row_of_a_known_sale_is_an_update_with_old_and_new() {
    let (world, staff) = (World::new().await, Person::staff());
    let first = "sale_id,sale_date,amount,notes\nS-1,2026-01-02,10.00,a\nS-2,2026-01-02,20.00,b\n";
    world.upload_sales(&staff, &[], first).await.expect(200);
    let second = "sale_id,sale_date,amount,notes\nS-1,2026-01-02,12.50,a\nS-2,2026-01-02,20.00,b\nS-3,2026-01-03,-5,c\nS-3,2026-01-03,-5,c\n";
    let answer = world.upload_sales(&staff, &[], second).await.expect(200);
    assert_eq!(figures(&answer.body), [4, 1, 0, 2, 1, 0, 2], "{}", answer.text);
    let history = world
        .get(&staff, "/events/aggregate/sale/S-1/history")
        .await
        .expect(200);
    assert_eq!(history.items()[1]["event_type"], "sale.updated");
    assert_eq!(
        history.items()[1]["data"],
        json!({"changes": {"amount_cents": {"old": 1000, "new": 1250}}})
    );
    world.project().await;
    assert_eq!(sum_of_cents(&world).await, (3, 1250 + 2000 - 500));
}

#[tokio::test]
async fn rows_without_an_id_are_known_by_content_and_occurrence() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,unit_price,quantity\n2026-01-02,2.50,3\n2026-01-02,2.50,3\n2026-01-02,1.00,1\n";
    let answer = world.upload_sales(&staff, &[], file).await.expect(200);
    assert_eq!(figures(&answer.body), [3, 3, 0, 0, 0, 0, 3], "{}", answer.text);
    let again = world.upload_sales(&staff, &[], file).await.expect(200);
    assert_eq!(figures(&again.body), [3, 0, 0, 3, 0, 0, 0], "{}", again.text);
    world.project().await;
    assert_eq!(sum_of_cents(&world).await, (3, 750 + 750 + 100));
}

#[tokio::test]
async fn amounts_with_too_many_decimals_are_rounded_or_rejected_as_requested() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount,currency\n1,2026-01-02,957.5775,USD\n2,2026-01-02,-0.005,USD\n3,2026-01-02,12.5,JPY\n4,2026-01-02,1.234,KWD\n";
    let refused = world
        .upload_sales(&staff, &[("rounding", "reject")], file)
        .await
        .expect(200);
    assert_eq!(figures(&refused.body), [4, 1, 3, 0, 0, 0, 1], "{}", refused.text);
    assert_eq!(refused.body["errors"][0]["code"], "amount_too_fine");
    let rounded = world.upload_sales(&staff, &[], file).await.expect(200);
    assert_eq!(figures(&rounded.body), [4, 3, 0, 1, 0, 3, 3], "{}", rounded.text);
    world.project().await;
    let rows = world
        .owner()
        .await
        .query("select amount_cents from public.sales order by id", &[])
        .await
        .unwrap();
    assert_eq!(
        rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(),
        [95_758, -1, 13, 1_234]
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_reported_and_the_others_are_imported() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount,product\r\n\
                1,2026-01-02,10,\"two\r\nlines\"\r\n\
                2,2024-02-30,10,x\r\n\
                3,2026-01-02,1e309,x\r\n\
                4,2026-01-02,NaN,x\r\n\
                5,2026-01-02,\u{663},x\r\n\
                6,2026-01-02,,x\r\n\
                7,2026-01-02,10,x,y\r\n\
                8,11/8/2018,10,x\r\n\
                9,2026-01-02,\"(1,234.50)\",x\r\n";
    let answer = world.upload_sales(&staff, &[], file).await.expect(200);
    assert_eq!(figures(&answer.body), [9, 2, 7, 0, 0, 0, 2], "{}", answer.text);
    let errors = answer.body["errors"].as_array().unwrap();
    let places: Vec<(i64, i64)> = errors
        .iter()
        .map(|e| (e["row"].as_i64().unwrap(), e["line"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        places,
        [(2, 4), (3, 5), (4, 6), (5, 7), (6, 8), (7, 9), (8, 10)],
        "{}",
        answer.text
    );
    for error in errors {
        for member in ["code", "message"] {
            assert!(error[member].is_string(), "{error}");
        }
        assert!(error.get("column").is_some() && error.get("value").is_some(), "{error}");
    }
    assert_eq!(errors[0]["column"], "sale_date");
    assert_eq!(errors[0]["value"], "2024-02-30");
    world.project().await;
    assert_eq!(sum_of_cents(&world).await, (2, 1_000 - 123_450));
}

#[tokio::test]
async fn all_or_nothing_appends_nothing_when_one_row_is_bad() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut file = "sale_id,sale_date,amount\n".to_owned();
    (1..=1_500).for_each(|row| file.push_str(&format!("{row},2026-01-02,1\n")));
    let bad = format!("{file}1501,yesterday,1\n");
    let answer = world
        .upload_sales(&staff, &[("mode", "all_or_nothing")], &bad)
        .await
        .expect(200);
    assert_eq!(answer.body["status"], "failed", "{}", answer.text);
    assert_eq!(answer.body["events_appended"], 0);
    assert_eq!(count_events(&world).await, 0);
    let answer = world
        .upload_sales(&staff, &[("mode", "all_or_nothing")], &file)
        .await
        .expect(200);
    assert_eq!(
        figures(&answer.body),
        [1_500, 1_500, 0, 0, 0, 0, 1_500],
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_appends_nothing() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount\n1,2026-01-02,1\n2,never,1\n";
    let answer = world
        .upload_sales(&staff, &[("dry_run", "true")], file)
        .await
        .expect(200);
    assert_eq!(figures(&answer.body)[..3], [2, 1, 1], "{}", answer.text);
    assert_eq!(answer.body["events_appended"], 0);
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn errors_beyond_max_errors_are_counted_and_not_listed() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut file = "sale_id,sale_date,amount\n".to_owned();
    (1..=20).for_each(|row| file.push_str(&format!("{row},2026-01-02,x\n")));
    let answer = world
        .upload_sales(&staff, &[("max_errors", "3")], &file)
        .await
        .expect(200);
    assert_eq!(figures(&answer.body)[..3], [20, 0, 20], "{}", answer.text);
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 3);
    assert_eq!(answer.body["errors_truncated"], true);
}

#[tokio::test]
async fn fields_may_follow_the_file_and_a_raw_body_takes_them_from_the_query() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id;sale_date;amount\n1;2026-01-02;1.234,50\n";
    let body = multipart(&[Part::File(file.as_bytes()), Part::Field("decimal", ",")]);
    let answer = world.upload_form(&staff, body).await.expect(200);
    assert_eq!(figures(&answer.body), [1, 1, 0, 0, 0, 0, 1], "{}", answer.text);
    let raw = world.upload_bytes(
        &staff,
        "?decimal=,&currency=EUR",
        "text/csv",
        b"sale_id;sale_date;amount\n2;2026-01-02;2,5\n".to_vec(),
    );
    assert_eq!(figures(&raw.await.expect(200).body)[..2], [1, 1]);
    let sale = world.get(&staff, "/entities/sale/2").await.expect(200);
    assert_eq!(
        sale.body["state"],
        json!({"amount_cents": 250, "currency": "EUR", "sale_date": "2026-01-02"})
    );
}

#[tokio::test]
async fn files_of_other_encodings_have_the_same_result() {
    let (world, staff) = (World::new().await, Person::staff());
    let text = "sale_id\tsale_date\tamount\tproduct\r\n1\t2026-01-02\t1\tCafé\r\n";
    let mut utf_16 = vec![0xFF, 0xFE];
    utf_16.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    let windows_1252: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for (file, expected) in [
        (utf_16, [1, 1, 0, 0]),
        (windows_1252, [1, 0, 0, 1]),
        (text.as_bytes().to_vec(), [1, 0, 0, 1]),
    ] {
        let answer = world.upload_sales(&staff, &[], file).await.expect(200);
        assert_eq!(figures(&answer.body)[..4], expected, "{}", answer.text);
    }
}
