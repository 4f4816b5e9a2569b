//! The report of an upload: every rejected row, in pages or as a file to correct and send again.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tests::{Answer, Person, World};

const HEADER: &str = "sale_id,sale_date,amount,product,notes";

async fn upload(world: &World, staff: &Person, fields: &[(&str, &str)], file: &str) -> Value {
    world.upload_sales(staff, fields, file).await.expect(200).body
}

fn path_of(upload: &Value) -> String {
    format!("/data/uploads/{}/errors", upload["upload_id"].as_str().unwrap())
}

async fn count(world: &World, table: &str) -> i64 {
    let sql = format!("select count(*) from annals.{table}");
    world.owner().await.query_one(&sql, &[]).await.unwrap().get(0)
}

/// A file in which every row has an invalid amount, and every second row an invalid date as well.
fn bad_rows(rows: i64) -> String {
    let row = |n: i64| format!("\n{n},{},x,p,", if n % 2 == 0 { "never" } else { "2026-01-02" });
    format!("{HEADER}{}", (1..=rows).map(row).collect::<String>())
}

#[tokio::test]
async fn pages_of_any_size_have_the_errors_of_the_answer() {
    let (world, staff) = (World::new().await, Person::staff());
    let answer = upload(&world, &staff, &[], &bad_rows(7)).await;
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &answer["rows_reported"]), (10, &json!(7)));
    let expected = json!({"row": 2, "line": 3, "column": "sale_date", "code": "invalid_date", "value": "never",
        "message": errors[1]["message"]});
    assert_eq!(errors[1], expected);
    for limit in [1, 2, 3, 10, 1_000] {
        let pages = world
            .all_pages(&staff, &format!("{}?limit={limit}", path_of(&answer)))
            .await;
        assert_eq!(&pages, errors, "limit={limit}");
    }
    let colleague = Person::staff();
    assert_eq!(world.all_pages(&colleague, &path_of(&answer)).await.len(), 10);
}

#[tokio::test]
async fn a_corrected_file_of_rejected_rows_is_imported() {
    let (world, staff) = (World::new().await, Person::staff());
    let mapping = r#"{"sale_id":"No","sale_date":"Day","amount":"=Paid","product":"What"}"#;
    let fields = [("mapping", mapping), ("date_format", "%d.%m.%Y")];
    let file = "No;Day;=Paid;What;Region\r\n\
                1;31.01.2026;5;fine;West\r\n\
                2;31.01.2026;five;=HYPERLINK(\"x\");-1+1\r\n\
                3;31.02.2026;-12.50;\"+a, 'b'\r\nc\";'=1\r\n";
    let answer = upload(&world, &staff, &fields, file).await;
    assert_eq!(
        (&answer["rows_accepted"], &answer["rows_rejected"]),
        (&json!(1), &json!(2)),
        "{answer}"
    );
    let report = world
        .get(&staff, &format!("{}?format=csv", path_of(&answer)))
        .await
        .expect(200);
    assert_eq!(report.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(
        report.header("content-disposition"),
        Some("attachment; filename=\"sales-errors.csv\"")
    );
    assert_eq!(report.header("link"), None);
    let named = |answer: &Value| format!("annals_errors {}\r\n", answer["upload_id"].as_str().unwrap());
    let expected = "\u{FEFF}No;Day;'=Paid;What;Region;annals_errors\r\n\
        2;31.01.2026;five;\"'=HYPERLINK(\"\"x\"\")\";'-1+1;'=Paid: amount is not a number: 'f' is unexpected (invalid_amount)\r\n\
        3;31.02.2026;-12.50;\"'+a, 'b'\r\nc\";''=1;Day: sale_date is not a date of the form %d.%m.%Y (invalid_date)\r\n";
    assert_eq!(report.text, expected.replace("annals_errors\r\n", &named(&answer)));

    let unfixed = upload(&world, &staff, &fields, &report.text).await;
    assert_eq!(
        (&unfixed["rows_accepted"], &unfixed["rows_rejected"]),
        (&json!(0), &json!(2)),
        "{unfixed}"
    );
    assert_eq!(unfixed["ignored_columns"], json!(["Region"]));
    let second = world
        .get(&staff, &format!("{}?format=csv", path_of(&unfixed)))
        .await
        .expect(200);
    let of_report = report.text.replace(&named(&answer), &named(&unfixed));
    assert_eq!(second.text, of_report, "a report of a report is the same");

    let fixed = report
        .text
        .replace(";five;", ";5.00;")
        .replace("31.02.2026", "28.02.2026");
    let answer = upload(&world, &staff, &fields, &fixed).await;
    assert_eq!(
        (&answer["rows_accepted"], &answer["rows_rejected"]),
        (&json!(2), &json!(0)),
        "{answer}"
    );
    for (id, state) in [
        (
            "2",
            json!({"amount_cents": 500, "currency": "USD", "sale_date": "2026-01-31", "product": "=HYPERLINK(\"x\")"}),
        ),
        (
            "3",
            json!({"amount_cents": -1250, "currency": "USD", "sale_date": "2026-02-28", "product": "+a, 'b'\r\nc"}),
        ),
    ] {
        let sale = world.get(&staff, &format!("/entities/sale/{id}")).await.expect(200);
        assert_eq!(sale.body["state"], state);
    }
    // The shop's own file has the same values for them, so it changes nothing.
    let whole = file.replace("five", "5.00").replace("31.02.2026", "28.02.2026");
    assert_eq!(upload(&world, &staff, &fields, &whole).await["rows_duplicate"], 3);
}

#[tokio::test]
async fn a_report_file_is_selected_by_accept_too_and_a_long_one_continues_at_a_link() {
    let (world, staff) = (World::new().await, Person::staff());
    let answer = upload(&world, &staff, &[("max_errors", "2000")], &bad_rows(1_203)).await;
    let ask = async |query: &str| -> Answer {
        let request = Request::get(format!("/api/v1{}{query}", path_of(&answer)))
            .header(header::AUTHORIZATION, format!("Bearer {}", staff.token()))
            .header(header::ACCEPT, "application/xml;q=0.5, text/csv")
            .body(Body::empty());
        world.send(request.unwrap()).await.expect(200)
    };
    let whole = ask("").await;
    assert_eq!((whole.text.lines().count(), whole.header("link")), (1_204, None));
    let (mut query, mut rows) = ("?limit=500".to_owned(), Vec::new());
    for expected in [500, 500, 203] {
        let part = ask(&query).await;
        let lines: Vec<String> = part.text.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines.len(), expected);
        rows.extend(lines);
        if let Some(link) = part.header("link") {
            query = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
        }
    }
    assert_eq!(rows, whole.text.lines().skip(1).collect::<Vec<_>>());
}

#[tokio::test]
async fn reported_rows_are_limited_and_further_ones_are_counted() {
    let (world, staff) = (World::new().await, Person::staff());
    for (most, kept, listed) in [("0", 0, 0), ("3", 3, 3), ("100000000", 40, 60)] {
        let answer = upload(&world, &staff, &[("max_errors", most)], &bad_rows(40)).await;
        assert_eq!(
            (&answer["rows_rejected"], &answer["rows_reported"]),
            (&json!(40), &json!(kept))
        );
        assert_eq!(answer["errors"].as_array().unwrap().len(), listed);
        assert_eq!(answer["errors_truncated"], most != "100000000", "{answer}");
        let report = world
            .get(&staff, &format!("{}?format=csv", path_of(&answer)))
            .await
            .expect(200);
        assert_eq!(report.text.lines().count(), kept + 1);
    }
    let many = upload(&world, &staff, &[], &bad_rows(10_050)).await;
    assert_eq!(
        (&many["rows_rejected"], &many["rows_reported"]),
        (&json!(10_050), &json!(10_000))
    );
    assert_eq!(many["errors"].as_array().unwrap().len(), 100);
    // Rows of a megabyte: the limit is in bytes.
    let wide = "x".repeat(1_000_000);
    let file = format!("{HEADER}\n1,2026-01-02,x,p,{wide}\n2,2026-01-02,x,p,{wide}\n3,never,5,p,{wide}\n");
    let answer = upload(&world, &staff, &[], &file).await;
    assert_eq!(answer["rows_reported"], 3);
    let report = world
        .get(&staff, &format!("{}?format=csv", path_of(&answer)))
        .await
        .expect(200);
    assert!(report.text.len() > 3_000_000, "{}", report.text.len());
}

/// Rows of thousands of empty fields are small in the file and large in memory.
#[tokio::test]
async fn wide_rejected_rows_are_kept_up_to_a_limit_in_bytes() {
    let (world, staff) = (World::new().await, Person::staff());
    let blank = ",".repeat(9_000);
    let file = format!("{HEADER}{blank}\n{}", format!("1,never,5,p,{blank}\n").repeat(300));
    let answer = upload(&world, &staff, &[], &file).await;
    assert_eq!(answer["rows_rejected"], 300);
    let kept = answer["rows_reported"].as_i64().unwrap();
    assert!((40..80).contains(&kept), "{kept}");
}

#[tokio::test]
async fn dry_runs_and_failed_uploads_have_their_report_and_every_upload_its_record() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = format!("{HEADER}\n1,2026-01-02,5,p,\n2,2026-01-02,x,p,\n");
    for (fields, status, rejected) in [
        ([("dry_run", "true"), ("currency", "EUR")], "completed", 1),
        ([("mode", "all_or_nothing"), ("currency", "EUR")], "failed", 2),
    ] {
        let answer = upload(&world, &staff, &fields, &file).await;
        assert_eq!(
            (&answer["status"], &answer["rows_rejected"]),
            (&json!(status), &json!(rejected))
        );
        let errors = world.all_pages(&staff, &path_of(&answer)).await;
        assert_eq!(
            (errors.len(), &errors[0]["row"], &errors[0]["line"]),
            (1, &json!(2), &json!(3))
        );
        let sql = "select to_jsonb(u) - 'created_at' - 'started_at' - 'finished_at' from annals.uploads u
                    where id::text = $1 and file_sha256 = sha256($2) and started_at <= finished_at";
        let owner = world.owner().await;
        let id = answer["upload_id"].as_str().unwrap();
        let row = owner
            .query_one(sql, &[&id, &file.as_bytes()])
            .await
            .expect("its record");
        let mut record: Value = row.get(0);
        record.as_object_mut().unwrap().remove("file_sha256");
        let expected = json!({
            "id": id, "tenant_id": staff.tenant, "started_by": staff.actor(), "dataset": "sales", "status": status,
            "dry_run": fields[0].0 == "dry_run", "errors_found": 1, "options": {fields[0].0: fields[0].1, "currency": "EUR"},
            "header": HEADER.split(',').collect::<Vec<_>>(), "delimiter": ",", "ignored_columns": [], "position": 0, "failure": null,
            "rows_total": 2, "rows_accepted": 2 - rejected, "rows_rejected": rejected, "rows_duplicate": 0, "rows_updated": 0,
            "rows_rounded": 0, "rows_reported": 1, "events_appended": 0, "warnings": [],
        });
        assert_eq!(record, expected);
    }
    assert_eq!(count(&world, "events").await, 0);
}

#[tokio::test]
async fn reports_are_deleted_when_they_are_old_and_their_uploads_stay() {
    let (world, staff) = (World::new().await, Person::staff());
    let old = upload(&world, &staff, &[], &bad_rows(3)).await;
    let young = upload(&world, &staff, &[], &bad_rows(2)).await;
    let age = "update annals.uploads set finished_at = now() - interval '31 days' where id::text = $1";
    let id = old["upload_id"].as_str().unwrap();
    world.superuser().await.execute(age, &[&id]).await.unwrap();
    world.importer().import_due(None).await.unwrap();
    assert_eq!(
        (count(&world, "rejected_rows").await, count(&world, "uploads").await),
        (2, 2)
    );
    assert_eq!(world.all_pages(&staff, &path_of(&old)).await.len(), 0);
    assert_eq!(world.all_pages(&staff, &path_of(&young)).await.len(), 3);
}

#[tokio::test]
async fn reports_of_others_are_not_found_and_unknown_parameters_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let answer = upload(&world, &staff, &[], &bad_rows(3)).await;
    let path = path_of(&answer);
    for stranger in [
        Person::user(),
        Person::agent("buyer"),
        Person::staff().in_tenant(uuid::Uuid::new_v4()),
    ] {
        for query in ["", "?format=csv"] {
            let answer = world.get(&stranger, &format!("{path}{query}")).await;
            assert_eq!(answer.problem(404), "not_found", "{stranger:?}");
        }
    }
    for path in [
        "/data/uploads/00000000-0000-7000-8000-000000000000/errors",
        "/data/uploads/1/errors",
    ] {
        assert_eq!(world.get(&staff, path).await.problem(404), "not_found");
    }
    let page = world.get(&staff, &format!("{path}?limit=1")).await.expect(200);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    for query in [
        "format=xml".to_owned(),
        "limit=0".to_owned(),
        "limit=0&format=csv".to_owned(),
        "cursor=AAAA".to_owned(),
        format!("cursor={cursor}&format=csv"),
        "colour=red".to_owned(),
    ] {
        let answer = world.get(&staff, &format!("{path}?{query}")).await;
        assert!(
            ["invalid_parameter", "invalid_cursor"].contains(&answer.problem(400)),
            "{query}: {}",
            answer.text
        );
    }
}

/// The status of an upload later equals the answer to the upload.
#[tokio::test]
async fn the_status_of_an_upload_equals_its_answer() {
    let (world, staff) = (World::new().await, Person::staff());
    let two_faults = format!("{HEADER}\n1,never,x,p,\n2,2026-01-02,5,p,\n3,2026-01-02,x,p,\n");
    for fields in [
        &[("max_errors", "100")][..],
        &[("max_errors", "1")],
        &[("max_errors", "2")],
        &[("max_errors", "3")],
        &[("max_errors", "0")],
        &[("mode", "all_or_nothing")],
        &[("mode", "all_or_nothing"), ("max_errors", "2")],
        &[("dry_run", "true")],
        &[("dry_run", "true"), ("mode", "all_or_nothing")],
    ] {
        let answer = upload(&world, &staff, fields, &two_faults).await;
        let id = answer["upload_id"].as_str().unwrap();
        let later = world.get(&staff, &format!("/data/uploads/{id}")).await.expect(200).body;
        let mut body: serde_json::Map<String, Value> = json!({"dataset": "sales"}).as_object().unwrap().clone();
        body.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        let large = world.import(&staff, Value::Object(body), &two_faults).await.body;
        for (name, said) in answer.as_object().unwrap() {
            assert_eq!(&later[name], said, "{name} with {fields:?}: {later}");
            // The large upload finds the events of the small one.
            if ["errors", "errors_truncated", "rows_reported", "status", "rows_total"].contains(&name.as_str()) {
                assert_eq!(&large[name], said, "{name} of a large one with {fields:?}: {large}");
            }
        }
    }
}

/// A report is UTF-8 with a byte order mark, whatever the encoding of the uploaded file was.
#[tokio::test]
async fn a_report_is_imported_with_the_fields_of_its_upload() {
    let (world, staff) = (World::new().await, Person::staff());
    let fields = [("encoding", "windows-1252")];
    let file = [HEADER.as_bytes(), b"\n1,never,5,Caf\xE9,\n"].concat();
    let mut parts: Vec<tests::Part<'_>> = fields.iter().map(|(n, v)| tests::Part::Field(n, v)).collect();
    parts.push(tests::Part::File(&file));
    let answer = world
        .upload_form(&staff, tests::multipart(&parts))
        .await
        .expect(200)
        .body;
    let report = world
        .get(&staff, &format!("{}?format=csv", path_of(&answer)))
        .await
        .expect(200);
    assert!(
        report.text.starts_with('\u{FEFF}') && report.text.contains("Café"),
        "{}",
        report.text
    );
    let again = upload(&world, &staff, &fields, &report.text.replace("never", "2026-01-02")).await;
    assert_eq!(again["rows_accepted"], 1, "{again}");
    let other = format!("\u{FEFF}{HEADER}\n1,2026-01-02,5,p,\n");
    let refused = world.upload_sales(&staff, &fields, other).await;
    assert_eq!(refused.problem(400), "wrong_encoding");
}

/// The rows of an upload that is all or nothing are appended by one statement, so their number is limited. A dry run takes every file that an
/// upload takes.
#[tokio::test]
async fn small_uploads_that_are_all_or_nothing_have_a_limit_of_rows() {
    let (world, staff) = (World::new().await, Person::staff());
    let rows = |rows: usize| "sale_date,amount\n".to_owned() + &"2026-01-02,5\n".repeat(rows);
    let full = rows((4 * 1024 * 1024 - 2_000) / 13);
    for dry_run in ["false", "true"] {
        let fields = [("mode", "all_or_nothing"), ("dry_run", dry_run)];
        let refused = world.upload_sales(&staff, &fields, &full).await;
        assert_eq!(refused.problem(400), "too_many_rows");
        assert!(refused.text.contains("/data/uploads"), "{}", refused.text);
    }
    let tried = upload(&world, &staff, &[("dry_run", "true")], &full).await;
    assert_eq!(tried["rows_accepted"], (4 * 1024 * 1024 - 2_000) / 13, "{tried}");
    let most = upload(&world, &staff, &[("mode", "all_or_nothing")], &rows(20_000)).await;
    assert_eq!(
        (&most["status"], &most["events_appended"]),
        (&json!("completed"), &json!(20_000))
    );
}

/// If a stray quote turns several rows into one, that row is in the report, so that it can be split by hand.
#[tokio::test]
async fn a_stray_quote_that_turns_rows_into_one_is_reported() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount,product\n1,2026-01-02,10,\"Desk\n2,2026-01-02,20,Lamp\n3,2026-01-02,30,\"Chair\"\n4,2026-01-02,40,Bed\n";
    let answer = upload(&world, &staff, &[], file).await;
    assert_eq!(
        (&answer["rows_accepted"], &answer["rows_rejected"]),
        (&json!(1), &json!(1))
    );
    let error = &answer["errors"][0];
    assert_eq!((&error["code"], &error["line"]), (&json!("stray_quote"), &json!(2)));
    assert!(error["message"].as_str().unwrap().contains("line 4"), "{error}");
    let report = world
        .get(&staff, &format!("{}?format=csv", path_of(&answer)))
        .await
        .expect(200);
    let again = upload(&world, &staff, &[], &report.text).await;
    assert_eq!(
        (&again["rows_rejected"], &again["errors"][0]["code"]),
        (&json!(1), &json!("stray_quote"))
    );
    let right = "sale_id,sale_date,amount,product,annals_errors\n1,2026-01-02,10,Desk,\n2,2026-01-02,20,Lamp,\n3,2026-01-02,30,Chair,\n";
    assert_eq!(upload(&world, &staff, &[], right).await["rows_accepted"], 3);
}

/// A report names its upload, so it is read as that one's file, whatever was uploaded since.
#[tokio::test]
async fn a_corrected_report_is_read_as_its_upload() {
    let (world, staff) = (World::new().await, Person::staff());
    let mapping = ("mapping", r#"{"sale_date":"Date","amount":"Total"}"#);
    let report_of = async |fields: &[(&str, &str)], file: &str| {
        let answer = upload(&world, &staff, fields, file).await;
        let path = format!("{}?format=csv", path_of(&answer));
        world.get(&staff, &path).await.expect(200).text
    };
    let euros = report_of(
        &[mapping, ("currency", "EUR")],
        "Date,Total\n2026-01-13,5.00\n2026-02-30,6.00\n",
    )
    .await;
    // No row of it is accepted, so nothing is remembered.
    let pounds = report_of(&[mapping, ("currency", "GBP")], "Date,Total\n2026-02-30,7.00\n").await;
    let numbers = ("mapping", r#"{"sale_date":"1","amount":"2"}"#);
    let plain = report_of(&[numbers, ("header", "none"), ("currency", "CHF")], "2026-02-30,8.00\n").await;
    upload(
        &world,
        &staff,
        &[mapping, ("currency", "USD")],
        "Date,Total\n2026-01-14,9.00\n",
    )
    .await;
    for (report, currency) in [(euros, "EUR"), (pounds, "GBP"), (plain, "CHF")] {
        let answer = upload(&world, &staff, &[], &report.replace("02-30", "02-28")).await;
        assert_eq!(answer["rows_accepted"], 1, "{answer}");
        let last = world
            .get(&staff, "/events?event_type=sale.created&limit=1")
            .await
            .expect(200);
        assert_eq!(last.items()[0]["data"]["currency"], currency, "{report}");
    }
}
