//! `POST /data/inspect` and `options=auto`: what a file says, and what it does not decide.

use annals_import::ImportOutcome;
use serde_json::{Value, json};
use tests::{Answer, Part, Person, World, multipart};
use tokio::time::Instant;

const GERMAN: &str = "Umsätze\n\nBuchungstag;Betrag (EUR);Empfänger\n13.01.2026;-1.234,50;Miete\n02.02.2026;-9,99;Strom\nSumme;-1.244,49;\n";

async fn inspect(world: &World, person: &Person, dataset: &str, fields: &[(&str, &str)], file: &[u8]) -> Answer {
    let mut parts = vec![Part::Field("dataset", dataset)];
    parts.extend(fields.iter().map(|(name, value)| Part::Field(name, value)));
    parts.push(Part::File(file));
    world.post_form(person, "/api/v1/data/inspect", multipart(&parts)).await
}

/// The options of an inspection as fields of a form.
fn fields_of(inspection: &Value) -> Vec<(String, String)> {
    let options = inspection["options"].as_object().unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    options
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

async fn upload(world: &World, dataset: &str, fields: &[(String, String)], file: &str) -> Answer {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    world.upload_file(&Person::staff(), dataset, &fields, file).await
}

#[tokio::test]
async fn an_inspection_shows_what_it_understood_and_its_options_do_exactly_that() {
    let (world, staff) = (World::new().await, Person::staff());
    let answer = inspect(&world, &staff, "expenses", &[], GERMAN.as_bytes())
        .await
        .expect(200);
    let found = &answer.body;
    assert_eq!(
        (
            &found["certain"],
            &found["header_line"],
            &found["before"],
            &found["after"]
        ),
        (
            &json!(true),
            &json!(3),
            &json!(["Umsätze", ""]),
            &json!(["Summe -1.244,49"])
        ),
        "{}",
        answer.text
    );
    assert_eq!(
        (&found["delimiter"], &found["line_ends"], &found["encoding"]),
        (&json!(";"), &json!("lf"), &json!("UTF-8"))
    );
    let options = json!({
        "delimiter": ";", "skip_rows": 2, "skip_footer": 1, "date_format": "%d.%m.%Y", "decimal": ",", "currency": "EUR", "negate": true,
        "mapping": {"expense_date": "Buchungstag", "amount": "Betrag (EUR)", "vendor": "Empfänger"},
    });
    assert_eq!(found["options"], options);
    let trial = &found["trial"];
    assert_eq!(
        trial["totals"],
        json!([{"currency": "EUR", "amount_cents": 124449, "rows": 2}])
    );
    assert_eq!(
        (&trial["rows_left_out"], &trial["first_day"], &trial["last_day"]),
        (&json!(1), &json!("2026-01-13"), &json!("2026-02-02"))
    );
    assert_eq!(trial["first_rows"][0]["data"]["amount_cents"], 123450);
    assert!(
        found["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["field"] == "decimal"),
        "{found}"
    );
    assert_eq!(
        world
            .owner()
            .await
            .query("select from annals.events", &[])
            .await
            .unwrap()
            .len(),
        0,
        "nothing is stored"
    );

    let imported = upload(&world, "expenses", &fields_of(found), GERMAN).await.expect(200);
    assert_eq!(
        (&imported.body["rows_accepted"], &imported.body["rows_rejected"]),
        (&json!(2), &json!(0)),
        "{}",
        imported.text
    );
    assert_eq!(imported.body["warnings"][0]["code"], "rows_left_out");
    let mut large = found["options"].clone();
    large["dataset"] = json!("expenses");
    let large = world.import(&staff, large, GERMAN).await;
    assert_eq!(large.body["rows_duplicate"], 2, "{}", large.text);
    let auto = upload(&world, "expenses", &[("options".to_owned(), "auto".to_owned())], GERMAN)
        .await
        .expect(200);
    assert_eq!(auto.body["rows_duplicate"], 2, "{}", auto.text);
}

#[tokio::test]
async fn what_the_file_does_not_decide_is_asked() {
    let world = World::new().await;
    let file = "Order Date,Order Total\n01/02/2026,5.00\n03/04/2026,6.00\n";
    let auto = ("options".to_owned(), "auto".to_owned());
    let refused = upload(&world, "sales", std::slice::from_ref(&auto), file).await;
    assert_eq!(refused.problem(422), "options_uncertain");
    let doubts = refused.body["proposal"]["doubts"].as_array().unwrap();
    let about = |field: &str| {
        doubts
            .iter()
            .find(|doubt| doubt["field"] == field)
            .map(|doubt| &doubt["choices"])
    };
    assert_eq!(
        about("date_format"),
        Some(&json!(["%d/%m/%Y", "%m/%d/%Y"])),
        "{}",
        refused.text
    );
    assert!(about("currency").is_some());
    let declared = |more: &[(&str, &str)]| -> Vec<(String, String)> {
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        [auto.clone()].into_iter().chain(more).collect()
    };
    let half = upload(&world, "sales", &declared(&[("currency", "EUR")]), file).await;
    assert_eq!(half.problem(422), "options_uncertain");
    let whole = upload(
        &world,
        "sales",
        &declared(&[("currency", "EUR"), ("date_format", "%d/%m/%Y")]),
        file,
    )
    .await
    .expect(200);
    assert_eq!(whole.body["rows_accepted"], 2);
    // A row that would be refused is a doubt, too.
    let faulty = "Order Date,Order Total\n31/01/2026,5.00 EUR\n30/01/2026,6.00 EUR\n29/01/2026, EUR\n";
    let refused = upload(&world, "sales", std::slice::from_ref(&auto), faulty).await;
    assert_eq!(refused.problem(422), "options_uncertain", "{}", refused.text);
    let unknown = upload(&world, "sales", &[("options".to_owned(), "guess".to_owned())], file).await;
    assert_eq!(unknown.problem(400), "malformed_request");
}

#[tokio::test]
async fn what_was_confirmed_for_a_header_is_proposed_the_next_time() {
    let (world, staff) = (World::new().await, Person::staff());
    let january = "Tag,Wert,Was\n01/02/2026,5.00,Mug\n";
    let confirmed = [
        ("mapping", r#"{"sale_date":"Tag","amount":"Wert","product":"Was"}"#),
        ("date_format", "%d/%m/%Y"),
        ("currency", "CHF"),
        ("decimal", "."),
    ];
    world.upload_sales(&staff, &confirmed, january).await.expect(200);
    let saved = world.all_pages(&staff, "/events?event_type=import_profile.saved").await;
    assert_eq!(
        (
            saved.len(),
            &saved[0]["data"]["options"]["mapping"]["amount"],
            &saved[0]["data"]["header"]
        ),
        (1, &json!("Wert"), &json!(["Tag", "Wert", "Was"]))
    );
    let february = "Tag,Wert,Was\n02/03/2026,7.00,Cup\n";
    let inspection = inspect(&world, &staff, "sales", &[], february.as_bytes())
        .await
        .expect(200)
        .body;
    assert_eq!(inspection["certain"], true, "{inspection}");
    assert_eq!(inspection["trial"]["totals"][0]["currency"], "CHF");
    assert_eq!(inspection["trial"]["first_day"], "2026-03-02");
    let is_named = |finding: &Value| {
        finding["reason"]
            .as_str()
            .unwrap()
            .contains("confirmed for a file with this header")
    };
    assert!(
        inspection["findings"].as_array().unwrap().iter().any(is_named),
        "{inspection}"
    );
    let auto = world
        .upload_sales(&staff, &[("options", "auto")], february)
        .await
        .expect(200);
    assert_eq!(auto.body["rows_accepted"], 1);
    // The same fields are not saved again, and no one else's proposals change.
    assert_eq!(
        world
            .all_pages(&staff, "/events?event_type=import_profile.saved")
            .await
            .len(),
        1
    );
    let elsewhere = Person::staff().in_tenant(uuid::Uuid::new_v4());
    let theirs = inspect(&world, &elsewhere, "sales", &[], february.as_bytes())
        .await
        .expect(200)
        .body;
    assert_eq!(theirs["certain"], false);

    // A repaired report needs no mapping again.
    let march = "Tag,Wert,Was\n31/02/2026,7.00,Cup\n03/03/2026,8.00,Jug\n";
    let rejected = world.upload_sales(&staff, &confirmed, march).await.expect(200);
    let report = world
        .get(
            &staff,
            &format!(
                "/data/uploads/{}/errors?format=csv",
                rejected.body["upload_id"].as_str().unwrap()
            ),
        )
        .await
        .expect(200);
    let repaired = report.text.replace("31/02/2026", "28/02/2026");
    let again = world.upload_sales(&staff, &[], &repaired).await.expect(200);
    assert_eq!(
        (&again.body["rows_accepted"], &again.body["rows_rejected"]),
        (&json!(1), &json!(0)),
        "{}",
        again.text
    );
}

#[tokio::test]
async fn what_was_reverted_is_not_remembered() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "Order Date,Order Total\n01/02/2026,5.00 EUR\n";
    let mapping = r#"{"sale_date":"Order Date","amount":"Order Total"}"#;
    let fields = [("mapping", mapping), ("date_format", "%m/%d/%Y")];
    let id = world.upload_sales(&staff, &fields, file).await.expect(200).body["upload_id"].clone();
    let certain = async || {
        inspect(&world, &staff, "sales", &[], file.as_bytes())
            .await
            .expect(200)
            .body["certain"]
            .clone()
    };
    assert_eq!(certain().await, true);
    let revert = format!("/data/uploads/{}/revert", id.as_str().unwrap());
    world.post(&staff, &revert, json!({})).await.expect(200);
    assert_eq!(certain().await, false);
}

#[tokio::test]
async fn the_beginning_of_a_file_is_enough() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut file = "Order Date,Order Total (EUR)\n".to_owned();
    (0..1000).for_each(|row| file.push_str(&format!("2026-01-{:02},{row}.50\n", row % 31 + 1)));
    let cut = &file.as_bytes()[..file.len() - 5];
    let whole = inspect(&world, &staff, "sales", &[("partial", "true")], cut)
        .await
        .expect(200);
    assert_eq!(
        (&whole.body["doubts"], &whole.body["trial"]["rows_accepted"]),
        (&json!([]), &json!(999)),
        "{}",
        whole.text
    );
    // Nothing is known of the rows that are not there.
    assert_eq!(whole.body["certain"], false);
    // Cut between the two bytes of a character, and within a quoted field.
    let utf16: Vec<u8> = [0xFF, 0xFE]
        .into_iter()
        .chain(file.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let quoted = format!("{file}2026-01-01,\"7");
    for cut in [&utf16[..utf16.len() - 21], quoted.as_bytes()] {
        let part = inspect(&world, &staff, "sales", &[("partial", "true")], cut)
            .await
            .expect(200);
        assert_eq!(part.body["trial"]["rows_refused"], 0, "{}", part.text);
    }
}

#[tokio::test]
async fn an_inspection_needs_a_file_a_dataset_and_permission() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = b"sale_date,amount\n2026-01-01,5\n";
    for (fields, code) in [
        (vec![Part::File(file)], "malformed_request"),
        (
            vec![Part::Field("dataset", "stock"), Part::File(file)],
            "malformed_request",
        ),
        (vec![Part::Field("dataset", "sales")], "missing_file"),
        (
            vec![
                Part::Field("dataset", "sales"),
                Part::Field("colour", "red"),
                Part::File(file),
            ],
            "malformed_request",
        ),
        (
            vec![
                Part::Field("dataset", "sales"),
                Part::Field("partial", "yes"),
                Part::File(file),
            ],
            "malformed_request",
        ),
        (
            vec![
                Part::Field("dataset", "sales"),
                Part::Field("dry_run", "true"),
                Part::File(file),
            ],
            "malformed_request",
        ),
        (vec![Part::Field("dataset", "sales"), Part::File(b"")], "empty_file"),
    ] {
        let answer = world
            .post_form(&staff, "/api/v1/data/inspect", multipart(&fields))
            .await;
        assert_eq!(answer.problem(400), code, "{}", answer.text);
    }
    let known = inspect(&world, &staff, "sales", &[("currency", "EUR")], file)
        .await
        .expect(200);
    assert_eq!(known.body["trial"]["first_rows"][0]["data"]["currency"], "EUR");
    let agent = Person::agent("clerk");
    assert_eq!(
        inspect(&world, &agent, "sales", &[], file).await.problem(403),
        "event_type_forbidden"
    );
}

#[tokio::test]
async fn a_large_file_is_inspected_and_imported_as_confirmed() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world
        .ask_for_upload(&staff, json!({"dataset": "expenses", "start": "confirmed"}))
        .await;
    let inspection = format!("/data/uploads/{}/inspection", asked.id);
    assert_eq!(
        world.get(&staff, &inspection).await.problem(409),
        "inspection_not_asked"
    );
    let body = json!({"upload_id": asked.id});
    let waiting = world.post(&staff, "/data/inspect", body.clone()).await.expect(202);
    assert_eq!(waiting.body["status"], "waiting");
    world.get(&staff, &inspection).await.expect(202);
    world.put_file(&asked, GERMAN).await;
    let import = || async { world.importer().import(asked.id, None).await.unwrap() };
    assert_eq!(import().await, ImportOutcome::Unconfirmed);
    let found = world.get(&staff, &inspection).await.expect(200).body;
    assert_eq!(
        (&found["certain"], &found["trial"]["totals"][0]["amount_cents"]),
        (&json!(true), &json!(124449))
    );
    // Asked again with what the caller knows better.
    let asked_again = json!({"upload_id": asked.id, "currency": "CHF", "negate": false});
    world.post(&staff, "/data/inspect", asked_again).await.expect(202);
    world.get(&staff, &inspection).await.expect(202);
    world.importer().import_due(None).await.unwrap();
    let other = world.get(&staff, &inspection).await.expect(200).body;
    assert_eq!(
        other["trial"]["totals"],
        json!([{"currency": "CHF", "amount_cents": -124449, "rows": 2}])
    );
    // It waits, and is no work of the schedule.
    world.importer().import_due(None).await.unwrap();
    assert_eq!(world.upload(&staff, &asked).await.expect(202).body["status"], "waiting");

    let start = format!("/data/uploads/{}/start", asked.id);
    let wrong = world
        .post(&staff, &start, json!({"options": {"currency": "euro"}}))
        .await;
    assert_eq!(wrong.problem(400), "malformed_request");
    let theirs = Person::staff().in_tenant(uuid::Uuid::new_v4());
    let options = json!({"options": found["options"]});
    assert_eq!(
        world.post(&theirs, &start, options.clone()).await.problem(404),
        "not_found"
    );
    world.post(&staff, &start, options.clone()).await.expect(202);
    assert_eq!(import().await, ImportOutcome::Ended);
    let ended = world.upload(&staff, &asked).await.expect(200);
    assert_eq!(
        (
            &ended.body["status"],
            &ended.body["rows_accepted"],
            &ended.body["rows_rejected"]
        ),
        (&json!("completed"), &json!(2), &json!(0)),
        "{}",
        ended.text
    );
    assert_eq!(
        world.post(&staff, &start, options.clone()).await.problem(409),
        "import_started"
    );
    assert_eq!(
        world.post(&staff, "/data/inspect", body.clone()).await.problem(409),
        "import_started"
    );
    let told = world.all_pages(&staff, "/events?event_type=import.confirmed").await;
    assert_eq!(
        (told.len(), &told[0]["data"]["options"]["currency"]),
        (1, &json!("EUR"))
    );
}

#[tokio::test]
async fn a_large_file_may_be_confirmed_before_it_arrives_and_imported_as_it_decides() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world
        .ask_for_upload(&staff, json!({"dataset": "expenses", "start": "confirmed"}))
        .await;
    let start = format!("/data/uploads/{}/start", asked.id);
    world
        .post(&staff, &start, json!({"options": {"options": "auto"}}))
        .await
        .expect(202);
    world.put_file(&asked, GERMAN).await;
    assert_eq!(
        world.importer().import(asked.id, None).await.unwrap(),
        ImportOutcome::Ended
    );
    let ended = world.upload(&staff, &asked).await.expect(200);
    assert_eq!(ended.body["rows_accepted"], 2, "{}", ended.text);

    let doubtful = "Order Date,Order Total (EUR)\n01/02/2026,5.00\n";
    let refused = world
        .import(&staff, json!({"dataset": "sales", "options": "auto"}), doubtful)
        .await;
    assert_eq!(
        (&refused.body["status"], &refused.body["failure"]["code"]),
        (&json!("failed"), &json!("options_uncertain")),
        "{}",
        refused.text
    );
    let broken = world
        .ask_for_upload(&staff, json!({"dataset": "sales", "start": "confirmed"}))
        .await;
    world
        .post(&staff, "/data/inspect", json!({"upload_id": broken.id}))
        .await
        .expect(202);
    world.put_file(&broken, b"\0\0").await;
    world.importer().import(broken.id, None).await.unwrap();
    let fault = world
        .get(&staff, &format!("/data/uploads/{}/inspection", broken.id))
        .await;
    assert_eq!(fault.problem(400), "nul_character");
    // An upload that is not confirmed fails, and its file is deleted.
    let later =
        "update annals.imports set expires_at = clock_timestamp() - interval '1 day' where upload_id::text = $1";
    world
        .owner()
        .await
        .execute(later, &[&broken.id.to_string()])
        .await
        .unwrap();
    world.importer().import_due(None).await.unwrap();
    let forgotten = world.upload(&staff, &broken).await.expect(200);
    assert_eq!(forgotten.body["failure"]["code"], "not_confirmed", "{}", forgotten.text);
    let twice = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    assert_eq!(
        world
            .post(&staff, "/data/inspect", json!({"upload_id": twice.id}))
            .await
            .problem(409),
        "import_started"
    );
    let unknown = json!({"upload_id": uuid::Uuid::nil()});
    assert_eq!(
        world.post(&staff, "/data/inspect", unknown).await.problem(404),
        "not_found"
    );
    for body in [json!({}), json!({"upload_id": 5}), json!([])] {
        assert_eq!(
            world.post(&staff, "/data/inspect", body.clone()).await.problem(400),
            "malformed_request",
            "{body}"
        );
    }
}

/// What is confirmed is how the inspected file is read, not one that is sent afterwards.
#[tokio::test]
async fn a_file_that_was_replaced_after_its_inspection_is_not_imported() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world
        .ask_for_upload(&staff, json!({"dataset": "expenses", "start": "confirmed"}))
        .await;
    world.put_file(&asked, GERMAN).await;
    let body = json!({"upload_id": asked.id});
    world.post(&staff, "/data/inspect", body).await.expect(202);
    world.importer().import(asked.id, None).await.unwrap();
    let inspection = format!("/data/uploads/{}/inspection", asked.id);
    let found = world.get(&staff, &inspection).await.expect(200).body;
    world
        .put_file(&asked, &&format!("{GERMAN}01.03.2026;-5000,00;Other\n"))
        .await;
    let start = format!("/data/uploads/{}/start", asked.id);
    let options = json!({"options": found["options"]});
    world.post(&staff, &start, options).await.expect(202);
    world.importer().import(asked.id, None).await.unwrap();
    let ended = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        (&ended["status"], &ended["failure"]["code"], &ended["events_appended"]),
        (&json!("failed"), &json!("file_changed"), &json!(0))
    );
}

/// A file that cannot be inspected is not tried for ever, and the caller learns of it.
#[tokio::test]
async fn an_inspection_ends_after_some_attempts_or_with_its_time() {
    let (world, staff) = (World::new().await, Person::staff());
    for (attempts, deadline, code) in [(5, None, "import_stuck"), (0, Some(Instant::now()), "too_slow")] {
        let asked = world
            .ask_for_upload(&staff, json!({"dataset": "expenses", "start": "confirmed"}))
            .await;
        world.put_file(&asked, GERMAN).await;
        let body = json!({"upload_id": asked.id});
        world.post(&staff, "/data/inspect", body.clone()).await.expect(202);
        let tried = "update annals.imports set attempts = $2 where upload_id::text = $1";
        let id = asked.id.to_string();
        world.owner().await.execute(tried, &[&id, &attempts]).await.unwrap();
        world.importer().import(asked.id, deadline).await.unwrap();
        let inspection = format!("/data/uploads/{}/inspection", asked.id);
        assert_eq!(world.get(&staff, &inspection).await.problem(400), code);
        // It can be asked for again.
        world.post(&staff, "/data/inspect", body).await.expect(202);
        world.importer().import(asked.id, None).await.unwrap();
        world.get(&staff, &inspection).await.expect(200);
    }
}
