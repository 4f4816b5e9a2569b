//! Customers and expenses are imported like sales. Each dataset has a template, and a dictionary that describes its columns.

use serde_json::{Value, json};
use tests::{Person, World};

const DATASETS: [&str; 3] = ["sales", "customers", "expenses"];

/// Total, accepted, rejected, duplicate, updated, events.
fn figures(body: &Value) -> [i64; 6] {
    ["total", "accepted", "rejected", "duplicate", "updated"]
        .map(|name| format!("rows_{name}"))
        .iter()
        .map(String::as_str)
        .chain(["events_appended"])
        .map(|name| body[name].as_i64().unwrap_or_else(|| panic!("no {name} in {body}")))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap()
}

#[tokio::test]
async fn customers_are_created_once_and_updated_with_old_and_new() {
    let (world, staff) = (World::new().await, Person::staff());
    let first = "customer_id,name,email,phone,segment,country,created_date\n\
                 C-1,Claire Gute,claire@example.com,+1-270-555-0142,Consumer,United States,2018-11-08\n\
                 C-2,\"Huff, Darrin\",,,Corporate,,\n";
    let answer = world.upload_file(&staff, "customers", &[], first).await.expect(200);
    assert_eq!(figures(&answer.body), [2, 2, 0, 0, 0, 2], "{}", answer.text);
    assert_eq!(answer.body["dataset"], "customers");
    let again = world.upload_file(&staff, "customers", &[], first).await.expect(200);
    assert_eq!(figures(&again.body), [2, 0, 0, 2, 0, 0], "{}", again.text);

    let second = "Customer ID,E-Mail,Name\nC-1,claire@example.org,Claire Gute\nC-2,,\n";
    let fields = [("mapping", r#"{"email": "E-Mail"}"#)];
    let answer = world
        .upload_file(&staff, "customers", &fields, second)
        .await
        .expect(200);
    assert_eq!(figures(&answer.body), [2, 0, 1, 0, 1, 1], "{}", answer.text);
    assert_eq!(answer.body["errors"][0]["column"], "Name");
    let history = world
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200);
    assert_eq!(history.items()[0]["timestamp"], "2018-11-08T00:00:00.000000Z");
    assert_eq!(history.items()[1]["event_type"], "customer.updated");
    assert_eq!(
        history.items()[1]["data"],
        json!({"changes": {"email": {"old": "claire@example.com", "new": "claire@example.org"}}})
    );
    world.project().await;
    let row = world
        .owner()
        .await
        .query_one("select string_agg(concat_ws('|', id, name, email, phone, created_date), ' ' order by id) from public.customers", &[])
        .await
        .unwrap();
    assert_eq!(
        row.get::<_, &str>(0),
        "C-1|Claire Gute|claire@example.org|+1-270-555-0142|2018-11-08 C-2|Huff, Darrin"
    );
}

#[tokio::test]
async fn expenses_become_cents_and_credits_are_negative() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "expense_id;expense_date;amount;currency;category;vendor;description\r\n\
                E-1;31.01.2026;1.234,50;;Software;Hosting;\r\n\
                E-2;31.01.2026;(4,90);EUR;Software;Hosting;credit\r\n\
                E-3;31.01.2026;500;JPY;;;\r\n\
                ;31.01.2026;5;;;;\r\n";
    let fields = [("decimal", ","), ("date_format", "%d.%m.%Y"), ("currency", "CHF")];
    let answer = world.upload_file(&staff, "expenses", &fields, file).await.expect(200);
    assert_eq!(figures(&answer.body), [4, 3, 1, 0, 0, 3], "{}", answer.text);
    let error = &answer.body["errors"][0];
    assert_eq!(
        (&error["column"], &error["code"]),
        (&json!("expense_id"), &json!("required"))
    );
    assert_eq!((&error["row"], &error["line"]), (&json!(4), &json!(5)));
    let again = world.upload_file(&staff, "expenses", &fields, file).await.expect(200);
    assert_eq!(figures(&again.body), [4, 0, 1, 3, 0, 0], "{}", again.text);
    world.project().await;
    let sql = "select string_agg(concat_ws('|', id, amount_cents, currency, expense_date, category, vendor, description), ' ' order by id) from public.expenses";
    let row = world.owner().await.query_one(sql, &[]).await.unwrap();
    assert_eq!(
        row.get::<_, &str>(0),
        "E-1|123450|CHF|2026-01-31|Software|Hosting E-2|-490|EUR|2026-01-31|Software|Hosting|credit E-3|500|JPY|2026-01-31"
    );
}

#[tokio::test]
async fn of_rows_with_one_id_and_different_values_only_the_first_counts() {
    let (world, staff) = (World::new().await, Person::staff());
    // So far apart that they are in different chunks, and also next to each other.
    let filler: String = (1..=1_500).map(|n| format!("C-{n},Somebody\n")).collect();
    let file = format!("customer_id,name\nA,Ada\nA,Ada\nA,Eda\n{filler}A,Ida\nA,Ada\n");
    for (accepted, duplicate) in [(1_501, 2), (0, 1_503)] {
        let answer = world.upload_file(&staff, "customers", &[], &file).await.expect(200);
        assert_eq!(
            figures(&answer.body),
            [1_505, accepted, 2, duplicate, 0, accepted],
            "{}",
            answer.text
        );
        let errors = answer.body["errors"].as_array().unwrap();
        let places: Vec<_> = errors
            .iter()
            .map(|e| (e["row"].as_i64(), &e["code"], &e["value"]))
            .collect();
        let (code, value) = (json!("repeated_id"), json!("A"));
        assert_eq!(places, [(Some(3), &code, &value), (Some(1_504), &code, &value)]);
    }
    let customer = world.get(&staff, "/entities/customer/A").await.expect(200);
    assert_eq!(
        (&customer.body["version"], &customer.body["state"]),
        (&json!(1), &json!({"name": "Ada"}))
    );
    for mode in ["partial", "all_or_nothing"] {
        let fields = [("dry_run", "true"), ("mode", mode)];
        let file = "customer_id,name\nB,Bea\nB,Bob\n";
        let answer = world.upload_file(&staff, "customers", &fields, file).await.expect(200);
        assert_eq!(answer.body["errors"][0]["code"], "repeated_id", "{}", answer.text);
    }
}

/// Neither is a column of this file. Both follow from what it has.
#[tokio::test]
async fn a_computed_amount_and_the_uploads_currency_are_updated_too() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = |quantity: i64| format!("sale_id,sale_date,unit_price,quantity\nS-1,2026-01-02,2.50,{quantity}\n");
    world.upload_sales(&staff, &[], file(3)).await.expect(200);
    world.upload_sales(&staff, &[], file(-1)).await.expect(200);
    world
        .upload_sales(&staff, &[("currency", "EUR")], file(-1))
        .await
        .expect(200);
    let history = world
        .get(&staff, "/events/aggregate/sale/S-1/history")
        .await
        .expect(200);
    let changes: Vec<&Value> = history.items()[1..]
        .iter()
        .map(|event| &event["data"]["changes"])
        .collect();
    let expected = [
        json!({"quantity": {"old": 3, "new": -1}, "amount_cents": {"old": 750, "new": -250}}),
        json!({"currency": {"old": "USD", "new": "EUR"}}),
    ];
    assert_eq!(changes, expected.iter().collect::<Vec<_>>());
}

/// A fault that only the catalog's schema finds is reported with its row and column as well.
#[tokio::test]
async fn a_row_that_the_schema_refuses_is_reported_with_its_column_and_the_others_are_imported() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = |email: &str| format!("customer_id,name,Email\nC-1,Ada,ada@example.com\nC-2,Eda,{email}\n");
    let answer = world
        .upload_file(&staff, "customers", &[], file("nobody"))
        .await
        .expect(200);
    assert_eq!(answer.body["errors"][0]["code"], "invalid_email", "{}", answer.text);
    for _ in 0..2 {
        let answer = world
            .upload_file(&staff, "customers", &[], file("müller@example.com"))
            .await
            .expect(200);
        assert_eq!(figures(&answer.body)[..4], [2, 0, 1, 1], "{}", answer.text);
        let error = &answer.body["errors"][0];
        assert_eq!(
            (&error["row"], &error["column"], &error["code"]),
            (&json!(2), &json!("Email"), &json!("schema_violation"))
        );
        // The second upload would be an update.
        world
            .upload_file(&staff, "customers", &[], file("eda@example.com"))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn every_template_is_refused_unchanged_and_imported_with_own_data() {
    let (world, staff) = (World::new().await, Person::staff());
    for dataset in DATASETS {
        let path = format!("/data/upload-template/{dataset}");
        let template = world.get(&staff, &path).await.expect(200);
        assert_eq!(template.header("content-type"), Some("text/csv; charset=utf-8"));
        let answer = world
            .upload_file(&staff, dataset, &[], &template.text)
            .await
            .expect(200);
        assert_eq!(figures(&answer.body), [1, 0, 1, 0, 0, 0], "{dataset}: {}", answer.text);
        assert_eq!(answer.body["errors"][0]["code"], "example_row");
        let filled = template.text.replace("EXAMPLE - delete this line", "Ada");
        let answer = world.upload_file(&staff, dataset, &[], &filled).await.expect(200);
        assert_eq!(figures(&answer.body), [1, 1, 0, 0, 0, 1], "{dataset}: {}", answer.text);
        assert_eq!(
            world.get(&staff, &format!("{path}?format=csv")).await.expect(200).text,
            template.text
        );
        assert_eq!(
            world.get(&staff, &format!("{path}?format=xml")).await.problem(400),
            "invalid_parameter"
        );
    }
}

#[tokio::test]
async fn the_dictionary_describes_every_column_and_its_examples_make_a_file() {
    let (world, staff) = (World::new().await, Person::staff());
    for dataset in DATASETS {
        let path = format!("/data/upload-template/{dataset}?format=json");
        let dictionary = world.get(&staff, &path).await.expect(200).body;
        assert_eq!(dictionary["dataset"], dataset);
        let columns = dictionary["columns"].as_array().unwrap();
        let words = |name: &str| -> Vec<&str> { columns.iter().map(|c| c[name].as_str().unwrap()).collect() };
        let (names, examples) = (words("name"), words("example"));
        assert!(
            words("type")
                .iter()
                .chain(&words("description"))
                .all(|text| !text.is_empty())
        );
        assert!(
            columns
                .iter()
                .all(|column| !column["accepts"].as_array().unwrap().is_empty())
        );
        let file = format!("{}\n{}\n", names.join(","), examples.join(","));
        let answer = world.upload_file(&staff, dataset, &[], &file).await.expect(200);
        assert_eq!(figures(&answer.body), [1, 1, 0, 0, 0, 1], "{dataset}: {}", answer.text);
        let fields = dictionary["upload_fields"].as_array().unwrap();
        let has = |field: &Value, member: &str| field[member].as_str().is_some_and(|text| !text.is_empty());
        let described = |field: &Value| has(field, "description") && has(field, "example");
        assert!(fields.len() > 20 && fields.iter().all(described), "{fields:?}");
    }
    let sales = world
        .get(&staff, "/data/upload-template/sales?format=json")
        .await
        .expect(200)
        .body;
    let column = |name: &str| {
        sales["columns"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(column("sale_date")["required"], true);
    assert_eq!(column("amount")["required"], false);
    assert_eq!(column("amount")["instead"], json!([["unit_price", "quantity"]]));
    assert_eq!(column("quantity")["instead"], json!([["amount"]]));
    assert_eq!(column("notes").get("instead"), None);
}

#[tokio::test]
async fn people_who_may_not_post_a_datasets_events_may_not_upload_it() {
    let world = World::new().await;
    let files = [
        "customer_id,name\nC-1,Ada\n",
        "expense_id,expense_date,amount\nE-1,2026-01-31,5\n",
    ];
    for (dataset, file) in DATASETS[1..].iter().zip(files) {
        let answer = world.upload_file(&Person::agent("buyer"), dataset, &[], file).await;
        assert_eq!(answer.problem(403), "event_type_forbidden");
    }
    let sales = world
        .upload_file(&Person::staff(), "customers", &[], "sale_date,amount\n2026-01-31,5\n")
        .await;
    assert_eq!(sales.problem(400), "no_header");
}
