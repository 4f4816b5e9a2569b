//! Files that could be read in more than one way: what decides, and what is refused because nothing does.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

/// Rows that were accepted, updated, duplicates and rejected.
fn counts(answer: &Answer) -> [i64; 4] {
    ["rows_accepted", "rows_updated", "rows_duplicate", "rows_rejected"]
        .map(|name| answer.body[name].as_i64().unwrap_or_else(|| panic!("{}", answer.text)))
}

/// The codes of the rows' errors.
fn codes(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array().unwrap();
    errors.iter().map(|error| error["code"].as_str().unwrap()).collect()
}

async fn upload(world: &World, dataset: &str, fields: &[(&str, &str)], file: &str) -> Answer {
    world.upload_file(&Person::staff(), dataset, fields, file).await
}

async fn amount(world: &World, kind: &str, id: &str) -> (i64, String) {
    let state = world
        .get(&Person::staff(), &format!("/entities/{kind}/{id}"))
        .await
        .expect(200)
        .body["state"]
        .clone();
    let currency = state["currency"].as_str().unwrap().to_owned();
    (state["amount_cents"].as_i64().unwrap(), currency)
}

#[tokio::test]
async fn a_file_without_a_currency_does_not_change_a_known_one() {
    let world = World::new().await;
    for (currency, text, seven) in [
        ("JPY", "1000", 7),
        ("EUR", "12.50", 700),
        ("KWD", "1.5", 7000),
        ("CAD", "$5", 700),
    ] {
        for (dataset, kind, header) in [
            ("sales", "sale", "sale_id,sale_date,amount"),
            ("expenses", "expense", "expense_id,expense_date,amount"),
        ] {
            let file = format!("{header}\n{currency},2026-01-01,{text}\n");
            let declared = upload(&world, dataset, &[("currency", currency)], &file)
                .await
                .expect(200);
            assert_eq!(counts(&declared), [1, 0, 0, 0], "{}", declared.text);
            let silent = upload(&world, dataset, &[], &file).await.expect(200);
            assert_eq!(counts(&silent), [0, 0, 1, 0], "{currency}: {}", silent.text);
            let changed = upload(&world, dataset, &[], &file.replace(text, "7")).await.expect(200);
            assert_eq!(counts(&changed), [0, 1, 0, 0], "{}", changed.text);
            assert_eq!(amount(&world, kind, currency).await, (seven, currency.to_owned()));
        }
    }
    // What states a currency changes it, and a cell that is empty does not.
    let file = "sale_id,sale_date,amount,currency\nJPY,2026-01-01,7,\nEUR,2026-01-01,€7,\nCAD,2026-01-01,7,USD\n";
    let answer = upload(&world, "sales", &[], file).await.expect(200);
    assert_eq!(counts(&answer), [0, 1, 2, 0], "{}", answer.text);
    assert_eq!(amount(&world, "sale", "CAD").await, (700, "USD".to_owned()));
}

#[tokio::test]
async fn amounts_are_rounded_by_the_known_currency() {
    let world = World::new().await;
    let file = "sale_id,sale_date,amount\nS,2026-01-01,12.3\n";
    upload(&world, "sales", &[("currency", "JPY")], file).await.expect(200);
    let silent = upload(&world, "sales", &[], file).await.expect(200);
    assert_eq!(
        (counts(&silent), &silent.body["rows_rounded"]),
        ([0, 0, 1, 0], &json!(1))
    );
    let exact = upload(&world, "sales", &[("rounding", "reject")], file)
        .await
        .expect(200);
    assert_eq!(codes(&exact), ["amount_too_fine"]);
}

#[tokio::test]
async fn a_file_without_ids_is_not_imported_twice_in_different_ways() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "Day,Sum,What\n2026-01-01,5.00,Mug\n2026-01-02,6.00,Cup\n";
    let short = ("mapping", r#"{"sale_date":"Day","amount":"Sum"}"#);
    let long = ("mapping", r#"{"sale_date":"Day","amount":"Sum","product":"What"}"#);
    let first = upload(&world, "sales", &[short], file).await.expect(200);
    assert_eq!((counts(&first), &first.body["warnings"]), ([2, 0, 0, 0], &json!([])));
    for fields in [&[long][..], &[short, ("currency", "GBP")], &[long, ("dry_run", "true")]] {
        let refused = upload(&world, "sales", fields, file).await;
        assert_eq!(refused.problem(409), "file_imported_before", "{fields:?}");
        assert!(
            refused.text.contains(first.body["upload_id"].as_str().unwrap()),
            "{}",
            refused.text
        );
    }
    // In the same way it continues; how errors are listed is no other way.
    let same = upload(
        &world,
        "sales",
        &[short, ("max_errors", "5"), ("mode", "all_or_nothing")],
        file,
    )
    .await
    .expect(200);
    assert_eq!(counts(&same), [0, 0, 2, 0]);
    let large = json!({"dataset": "sales", "mapping": {"sale_date": "Day", "amount": "Sum", "product": "What"}});
    let failed = world.import(&staff, large.clone(), file).await;
    assert_eq!(
        (&failed.body["status"], &failed.body["failure"]["code"]),
        (&json!("failed"), &json!("file_imported_before"))
    );
    let again = upload(&world, "sales", &[long, ("again", "true")], file)
        .await
        .expect(200);
    assert_eq!(
        (counts(&again), &again.body["warnings"][0]["code"]),
        ([2, 0, 0, 0], &json!("file_imported_before"))
    );
    let mut large = large;
    large["again"] = json!(true);
    let known = world.import(&staff, large, file).await;
    assert_eq!(known.body["rows_duplicate"], 2, "{}", known.text);
    // Fields that say what the file says anyway are no other way.
    let fields = [short, ("delimiter", ","), ("encoding", "utf-8"), ("decimal", ".")];
    for fields in [&fields[..], &[short, ("skip_rows", "0")]] {
        let plain = upload(&world, "sales", fields, file).await.expect(200);
        assert_eq!(counts(&plain), [0, 0, 2, 0], "{fields:?}");
    }
    // The other dataset is another use of the file.
    let expenses = ("mapping", r#"{"expense_date":"Day","amount":"Sum"}"#);
    assert_eq!(
        counts(&upload(&world, "expenses", &[expenses], file).await.expect(200)),
        [2, 0, 0, 0]
    );
    // Someone else does not learn of it.
    let elsewhere = Person::staff().in_tenant(uuid::Uuid::new_v4());
    let theirs = world.upload_file(&elsewhere, "sales", &[long], file).await.expect(200);
    assert_eq!(counts(&theirs), [2, 0, 0, 0]);
}

#[tokio::test]
async fn rows_with_ids_may_be_read_again_in_another_way() {
    let world = World::new().await;
    let file = "No,Day,Sum,What\n1,2026-01-01,5.00,Mug\n";
    let named = |more: &str| format!(r#"{{"sale_id":"No","sale_date":"Day","amount":"Sum"{more}}}"#);
    let first = upload(&world, "sales", &[("mapping", &named(""))], file)
        .await
        .expect(200);
    assert_eq!(counts(&first), [1, 0, 0, 0]);
    let more = upload(&world, "sales", &[("mapping", &named(r#","product":"What""#))], file)
        .await
        .expect(200);
    assert_eq!(counts(&more), [0, 1, 0, 0], "{}", more.text);
    let nameless = upload(
        &world,
        "sales",
        &[("mapping", r#"{"sale_date":"Day","amount":"Sum"}"#)],
        file,
    )
    .await;
    assert_eq!(nameless.problem(409), "file_imported_before");
    let otherwise = r#"{"sale_id":"What","sale_date":"Day","amount":"Sum"}"#;
    assert_eq!(
        upload(&world, "sales", &[("mapping", otherwise)], file)
            .await
            .problem(409),
        "file_imported_before"
    );
}

#[tokio::test]
async fn the_declared_order_of_day_and_month_must_fit_the_whole_file() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount\n05/01/2026,1\n06/01/2026,2\n25/01/2026,4\n";
    let refused = upload(&world, "sales", &[("date_format", "%m/%d/%Y")], file).await;
    assert_eq!(refused.problem(400), "wrong_date_order");
    assert!(
        refused.text.contains("1 of the file's 3 days, such as 25/01/2026") && refused.text.contains("%d/%m/%Y"),
        "{}",
        refused.text
    );
    let large = world
        .import(&staff, json!({"dataset": "sales", "date_format": "%m/%d/%Y"}), file)
        .await;
    assert_eq!(large.body["failure"]["code"], "wrong_date_order", "{}", large.text);
    let right = upload(&world, "sales", &[("date_format", "%d/%m/%Y")], file)
        .await
        .expect(200);
    assert_eq!(counts(&right), [3, 0, 0, 0]);
    // If neither order reads all, the rows are at fault.
    let mixed = "sale_date,amount\n05/13/2026,1\n25/01/2026,4\n";
    let answer = upload(&world, "sales", &[("date_format", "%m/%d/%Y")], mixed)
        .await
        .expect(200);
    assert_eq!((counts(&answer), codes(&answer)), ([1, 0, 0, 1], vec!["invalid_date"]));
}

#[tokio::test]
async fn a_number_that_could_be_two_is_judged_by_the_whole_file() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date;amount;quantity;product\n2026-01-01;1.000;1;a\n2026-01-01;12,50;1;b\n2026-01-01;99;1,500;c\n";
    let answer = upload(&world, "sales", &[("currency", "EUR")], file).await.expect(200);
    assert_eq!(
        codes(&answer),
        ["ambiguous_amount", "invalid_amount", "ambiguous_amount"],
        "{}",
        answer.text
    );
    let large = world
        .import(&staff, json!({"dataset": "sales", "currency": "EUR"}), file)
        .await;
    assert_eq!(
        (codes(&large), &large.body["rows_accepted"]),
        (codes(&answer), &json!(0))
    );
    let declared = upload(&world, "sales", &[("currency", "EUR"), ("decimal", ",")], file)
        .await
        .expect(200);
    assert_eq!(counts(&declared), [3, 0, 0, 0]);

    let undecided = upload(
        &world,
        "sales",
        &[],
        "sale_date,amount\n2026-01-01,1.000\n2026-01-02,2.500\n",
    )
    .await
    .expect(200);
    assert_eq!(codes(&undecided), ["ambiguous_amount"; 2]);
    for decided in ["12.5", "\"1,234.50\"", "0.125", "1.2345"] {
        let file = format!(
            "sale_date,amount,notes\n2026-01-01,1.000,{}\n2026-01-02,{decided},\n",
            decided.replace(['"', ','], "_")
        );
        for answer in [
            upload(&world, "sales", &[], &file).await.expect(200),
            world.import(&staff, json!({"dataset": "sales"}), &file).await,
        ] {
            assert_eq!(answer.body["rows_rejected"], 0, "{decided}: {}", answer.text);
        }
    }
    let cents: Vec<Value> = world.all_pages(&staff, "/events?event_type=sale.created").await;
    assert!(
        cents.iter().any(|event| event["data"]["amount_cents"] == json!(100)),
        "1.000 is one where the file says so"
    );
}

#[tokio::test]
async fn expenses_need_no_ids_and_customers_may_be_known_by_their_address() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "Day;Sum;Cur;Text\n01.12.2025;-52,93;EUR;Rent\n01.12.2025;-52,93;EUR;Rent\n";
    let mapping = r#"{"expense_date":"Day","amount":"Sum","currency":"Cur","description":"Text"}"#;
    let fields = [("mapping", mapping), ("decimal", ","), ("date_format", "%d.%m.%Y")];
    assert_eq!(
        counts(&upload(&world, "expenses", &fields, file).await.expect(200)),
        [2, 0, 0, 0]
    );
    assert_eq!(
        counts(&upload(&world, "expenses", &fields, file).await.expect(200)),
        [0, 0, 2, 0]
    );
    let blank = upload(
        &world,
        "expenses",
        &[],
        "expense_id,expense_date,amount\n,2026-01-01,5\n",
    )
    .await
    .expect(200);
    assert_eq!(codes(&blank), ["required"]);

    let people = "name,email\nAda,Ada@Example.com\nGrace,grace@example.com\n";
    assert_eq!(
        counts(&upload(&world, "customers", &[], people).await.expect(200)),
        [2, 0, 0, 0]
    );
    let changed =
        "name,email\nAda Lovelace,ada@example.com\nGrace,Grace <grace@example.com>\nNobody,\nAda,ADA@example.com\n";
    let answer = upload(&world, "customers", &[], changed).await.expect(200);
    assert_eq!(
        (counts(&answer), codes(&answer)),
        ([0, 1, 1, 2], vec!["required", "repeated_id"]),
        "{}",
        answer.text
    );
    let customers = world.all_pages(&staff, "/entities/customer").await;
    let mut names: Vec<&str> = customers
        .iter()
        .map(|customer| customer["state"]["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["Ada Lovelace", "Grace"]);
    let nameless = upload(&world, "customers", &[], "name,phone\nAda,1\n").await;
    assert_eq!(nameless.problem(400), "missing_columns");
}

#[tokio::test]
async fn of_two_ways_to_read_a_file_at_the_same_time_at_most_one_is_taken() {
    let (world, file) = (
        World::new().await,
        "sale_date,amount\n2026-01-01,5.00\n2026-01-02,6.00\n",
    );
    let currencies = ["EUR", "USD", "GBP", "CHF", "SEK"];
    let fields = currencies.map(|code| [("currency", code)]);
    let answers = join_all(fields.iter().map(|fields| upload(&world, "sales", fields, file))).await;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(taken <= 1, "{answers:?}");
    assert!(
        answers.iter().all(|answer| [200, 409].contains(&answer.status)),
        "{answers:?}"
    );
    let found = world
        .get(&Person::staff(), "/events?event_type=sale.created")
        .await
        .expect(200);
    assert_eq!(found.items().len(), taken * 2);
}

/// A process that is killed while it appends leaves an upload that runs. The sweep ends it, and what it has appended can be reverted.
#[tokio::test]
async fn an_upload_that_broke_off_is_ended_and_can_be_reverted() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_date,amount\n2026-01-01,5.00\n2026-01-02,6.00\n";
    let id = upload(&world, "sales", &[], file).await.expect(200).body["upload_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let killed = "update annals.uploads
        set status = 'running', finished_at = null, created_at = created_at - interval '1 hour',
            rows_total = 0, rows_accepted = 0, events_appended = 0 where id::text = $1";
    world.owner().await.execute(killed, &[&id]).await.unwrap();
    let other = upload(&world, "sales", &[("currency", "EUR")], file).await;
    assert_eq!(other.problem(409), "file_imported_before");
    let path = format!("/data/uploads/{id}");
    world.get(&staff, &path).await.expect(202);
    world.importer().import_due(None).await.unwrap();
    let ended = world.get(&staff, &path).await.expect(200).body;
    assert_eq!(
        (&ended["status"], &ended["failure"]["code"], &ended["events_appended"]),
        (&json!("failed"), &json!("upload_interrupted"), &json!(2))
    );
    let reverted = world
        .post(&staff, &format!("{path}/revert"), json!({}))
        .await
        .expect(200);
    assert_eq!(reverted.body["revert"]["events_compensated"], 2, "{}", reverted.text);
}
