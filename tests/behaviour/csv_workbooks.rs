//! Files that are gzip archives or workbooks are read as the tables in them, small ones in the request and large ones by the importer.

use annals_import::ImportOutcome;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

use files::{Cell, Table, csv, gzip, number, ods, text, xlsx, zipped};

mod files;

fn header(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| text(*name)).collect()
}

/// Sales with what is written differently in each format.
fn sales(ids: &str) -> Table {
    let mut table = vec![header(&["sale_id", "sale_date", "amount", "product", "notes"])];
    let rows = [
        // As spreadsheets store 12.1.
        (
            Cell::Number("12.100000000000001".to_owned(), "12.1".to_owned()),
            "Table, round",
        ),
        (number("261.96"), "\"Bookcase\" <b> & Söhne"),
        (number("-4"), "two\nlines"),
        (number("957.58"), "3 1/2"),
        (number("1200"), "漢字"),
    ];
    for (place, (amount, product)) in (0..).zip(rows) {
        table.push(vec![
            text(format!("{ids}-{place}")),
            Cell::Day(place),
            amount,
            text(product),
        ]);
    }
    table[2].push(text("a note"));
    table
}

/// A table in each format, with the format's name.
fn formats(table: &Table) -> [(&'static str, Vec<u8>); 6] {
    let named = [("Sheet1", table)];
    [
        ("csv", csv(table)),
        ("csv.gz", gzip(&csv(table))),
        ("xlsx", xlsx(&named)),
        ("ods", ods(&named)),
        ("xlsx.gz", gzip(&xlsx(&named))),
        ("ods.gz", gzip(&ods(&named))),
    ]
}

fn counts(answer: &Answer) -> [i64; 4] {
    ["rows_accepted", "rows_duplicate", "rows_updated", "rows_rejected"]
        .map(|name| answer.body[name].as_i64().unwrap_or_else(|| panic!("{}", answer.text)))
}

/// The sales that were created, by their ids.
async fn created(world: &World, staff: &Person) -> Vec<Value> {
    let found = world
        .get(staff, "/events?event_type=sale.created&order=asc")
        .await
        .expect(200);
    let mut sales: Vec<Value> = found
        .items()
        .iter()
        .map(|event| json!([event["aggregate_id"], event["data"]]))
        .collect();
    sales.sort_by_key(|sale| sale[0].to_string());
    sales
}

/// The code and the detail of why a file is refused, in the small and in the large way.
async fn refusal(world: &World, staff: &Person, sheet: Option<&str>, file: &[u8]) -> (String, String) {
    let fields: Vec<(&str, &str)> = sheet.map(|name| ("sheet", name)).into_iter().collect();
    let small = world.upload_sales(staff, &fields, file).await;
    let code = small.body["code"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", small.text))
        .to_owned();
    small.problem(if code == "file_too_large" { 413 } else { 400 });
    let mut asked = json!({"dataset": "sales"});
    if let Some(name) = sheet {
        asked["sheet"] = json!(name);
    }
    let large = world.import(staff, asked, file).await.body;
    assert_eq!(
        (&large["status"], &large["failure"]["code"]),
        (&json!("failed"), &json!(code)),
        "{large}"
    );
    let detail = large["failure"]["detail"].as_str().unwrap().to_owned();
    (code, detail)
}

#[tokio::test]
async fn a_table_gives_the_same_events_in_every_format_and_in_both_ways() {
    let (world, staff) = (World::new().await, Person::staff());
    let table = sales("S");
    world.upload_sales(&staff, &[], csv(&table)).await.expect(200);
    let events = created(&world, &staff).await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[0][1]["amount_cents"], 1210);
    assert_eq!(events[2][1]["product"], "two\nlines");
    for (format, file) in formats(&table) {
        let small = world.upload_sales(&staff, &[], &file).await.expect(200);
        assert_eq!(counts(&small), [0, 5, 0, 0], "{format}: {}", small.text);
        let large = world.import(&staff, json!({"dataset": "sales"}), &file).await;
        assert_eq!(counts(&large), [0, 5, 0, 0], "{format}: {}", large.text);
        // By itself, too.
        let (other, person) = (World::new().await, Person::staff());
        let answer = match format.len() % 2 {
            0 => other.import(&person, json!({"dataset": "sales"}), &file).await,
            _ => other.upload_sales(&person, &[], &file).await.expect(200),
        };
        assert_eq!(counts(&answer), [5, 0, 0, 0], "{format}: {}", answer.text);
        assert_eq!(created(&other, &person).await, events, "{format}");
    }
}

/// A workbook says how its text is written, so fields that say something else do not apply to it.
#[tokio::test]
async fn the_text_of_a_workbook_is_read_as_it_was_written() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut table = vec![
        vec![text("Sales of March")],
        vec![],
        header(&["sale_id", "sale_date", "amount", "product"]),
        vec![text("S-1"), Cell::Day(0), number("1.5"), text("Müller")],
        vec![text("S-2"), Cell::Day(1), number("1234.5"), Cell::Error("#N/A")],
    ];
    let fields = [("decimal", ","), ("delimiter", ";"), ("encoding", "windows-1252")];
    for (place, file) in [xlsx(&[("A", &table)]), ods(&[("A", &table)])].into_iter().enumerate() {
        let answer = world.upload_sales(&staff, &fields, file).await.expect(200);
        assert_eq!(counts(&answer), [[2, 0, 0, 0], [0, 2, 0, 0]][place], "{}", answer.text);
    }
    let events = created(&world, &staff).await;
    assert_eq!(
        (&events[0][1]["amount_cents"], &events[0][1]["product"]),
        (&json!(150), &json!("Müller"))
    );
    assert_eq!(
        (&events[1][1]["amount_cents"], &events[1][1]["product"]),
        (&json!(123_450), &json!("#N/A"))
    );
    // Numbers of texts are read as in any file, those of cells as they are.
    for (amount, fields, code) in [
        (text("1.234"), &[][..], Some("ambiguous_amount")),
        (text("1.234,50"), &[("decimal", ",")], None),
        (number("1.234"), &[], None),
        (number("1.234"), &[("decimal", ",")], None),
    ] {
        let table = vec![
            header(&["sale_id", "sale_date", "amount"]),
            vec![text("T"), Cell::Day(0), amount],
        ];
        let fields = [fields, &[("dry_run", "true"), ("currency", "KWD")]].concat();
        let answer = world
            .upload_sales(&staff, &fields, xlsx(&[("A", &table)]))
            .await
            .expect(200);
        assert_eq!(answer.body["errors"][0]["code"], json!(code), "{}", answer.text);
    }
    // A row's line is its row in the sheet, and its report can be corrected and sent with the same fields.
    table.push(vec![text("S-3"), text("31.4.2026"), number("7"), text("late")]);
    let answer = world
        .upload_sales(&staff, &[("sheet", "a")], xlsx(&[("A", &table)]))
        .await
        .expect(200);
    assert_eq!(
        (counts(&answer), &answer.body["errors"][0]["line"]),
        ([0, 2, 0, 1], &json!(6))
    );
    let report = format!(
        "/data/uploads/{}/errors?format=csv",
        answer.body["upload_id"].as_str().unwrap()
    );
    let report = world.get(&staff, &report).await.text.replace("31.4.2026", "2026-04-30");
    let corrected = world.upload_sales(&staff, &[("sheet", "a")], report).await.expect(200);
    assert_eq!(counts(&corrected), [1, 0, 0, 0], "{}", corrected.text);
}

#[tokio::test]
async fn the_sheet_is_the_first_with_cells_or_the_one_that_is_named() {
    let (world, staff) = (World::new().await, Person::staff());
    let (none, first, second) = (Table::new(), sales("A"), sales("B"));
    let sheets = [("Cover", &none), ("Sales & more", &first), ("Old", &second)];
    let mut accepted = [5, 0, 0, 0];
    for file in [xlsx(&sheets), ods(&sheets)] {
        let answer = world.upload_sales(&staff, &[], &file).await.expect(200);
        assert_eq!(
            (counts(&answer), created(&world, &staff).await[0][0].as_str()),
            (accepted, Some("A-0"))
        );
        let (code, detail) = refusal(&world, &staff, Some("New"), &file).await;
        assert_eq!(code, "unknown_sheet");
        assert!(
            detail.contains("\"New\"") && detail.ends_with("Cover, Sales & more, Old"),
            "{detail}"
        );
        assert_eq!(refusal(&world, &staff, Some("Cover"), &file).await.0, "empty_file");
        accepted = [0, 5, 0, 0];
    }
    for (file, accepted) in [(xlsx(&sheets), [5, 0, 0, 0]), (ods(&sheets), [0, 5, 0, 0])] {
        let answer = world
            .import(&staff, json!({"dataset": "sales", "sheet": "OLD"}), &file)
            .await;
        assert_eq!(counts(&answer), accepted, "{}", answer.text);
    }
    for name in ["", " "] {
        let refused = world.upload_sales(&staff, &[("sheet", name)], xlsx(&sheets)).await;
        assert_eq!(refused.problem(400), "malformed_request");
    }
    // A file that is no workbook has no sheets to choose from.
    let answer = world
        .upload_sales(&staff, &[("sheet", "New")], csv(&first))
        .await
        .expect(200);
    assert_eq!(counts(&answer), [0, 5, 0, 0]);
}

#[tokio::test]
async fn formulas_have_the_values_that_are_saved() {
    let (world, staff) = (World::new().await, Person::staff());
    let table = vec![
        header(&["sale_id", "sale_date", "amount", "notes"]),
        vec![
            text("S-1"),
            Cell::Day(0),
            Cell::Formula("1+2.5", Some("3.5")),
            text("=1+1"),
        ],
        vec![text("S-2"), Cell::Day(0), number("1"), Cell::Formula("A1", None)],
    ];
    for (file, accepted) in [
        (xlsx(&[("A", &table)]), [2, 0, 0, 0]),
        (ods(&[("A", &table)]), [0, 2, 0, 0]),
    ] {
        let small = world.upload_sales(&staff, &[], &file).await.expect(200);
        let large = world.import(&staff, json!({"dataset": "sales"}), &file).await;
        assert_eq!(counts(&small), accepted);
        for answer in [small, large] {
            let warning = &answer.body["warnings"][0];
            assert_eq!(warning["code"], "formulas_without_values", "{}", answer.text);
            assert!(
                warning["message"]
                    .as_str()
                    .unwrap()
                    .contains("empty cells: 1, the first is D3")
            );
        }
    }
    let events = created(&world, &staff).await;
    assert_eq!(
        (&events[0][1]["amount_cents"], &events[0][1]["notes"]),
        (&json!(350), &json!("=1+1"))
    );
    assert_eq!(events[1][1].get("notes"), None);
}

#[tokio::test]
async fn files_that_cannot_be_read_say_why() {
    let (world, staff) = (World::new().await, Person::staff());
    let whole = xlsx(&[("A", &sales("S"))]);
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let protected = [&b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"[..], &[0; 1_000], &name].concat();
    let encrypted = zipped(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        (
            "META-INF/manifest.xml",
            "<manifest:manifest><manifest:encryption-data/></manifest:manifest>",
        ),
    ]);
    let archive = gzip(&csv(&sales("S")));
    for (file, why) in [
        (whole[..whole.len() / 2].to_vec(), "broken"),
        (protected, "password"),
        (encrypted, "password"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1".to_vec(), ".xls workbook"),
        (zipped(&[("sales.csv", "a,b\n")]), "ZIP archive"),
        (archive[..archive.len() - 5].to_vec(), "cut short"),
        (gzip(&archive), "gzip archive in a gzip archive"),
        (gzip(b"%PDF-1.7"), "PDF"),
    ] {
        let (code, detail) = refusal(&world, &staff, None, &file).await;
        assert_eq!(code, "not_csv", "{detail}");
        assert!(detail.contains(why), "{why}: {detail}");
    }
    assert_eq!(created(&world, &staff).await.len(), 0);
}

/// Small files that become large ones.
#[tokio::test]
async fn bombs_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let text = [&b"sale_id,sale_date,amount\n"[..], &[b'\n'; 66 << 20]].concat();
    let refused = world.upload_sales(&staff, &[], gzip(&text)).await;
    assert_eq!(refused.problem(413), "file_too_large");
    assert!(
        refused.body["detail"].as_str().unwrap().contains("16 MiB"),
        "{}",
        refused.text
    );
    let workbook = gzip(&[&b"PK\x03\x04"[..], &[0; 100 << 20]].concat());
    assert_eq!(refusal(&world, &staff, None, &workbook).await.0, "file_too_large");

    let row = r#"<table:table-cell table:number-columns-repeated="16384" office:value-type="float" office:value="1"/>"#;
    let row = format!(r#"<table:table-row table:number-rows-repeated="1000000">{row}</table:table-row>"#);
    let content = format!(
        r#"<office:document-content><table:table table:name="A">{row}</table:table></office:document-content>"#
    );
    let wide = zipped(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", &content),
    ]);
    let (code, detail) = refusal(&world, &staff, None, &wide).await;
    assert_eq!(code, "file_too_large");
    assert!(detail.contains("5,000,000 cells"), "{detail}");
    assert_eq!(refusal(&world, &staff, None, &gzip(&wide)).await.0, "file_too_large");
    assert_eq!(created(&world, &staff).await.len(), 0);
}

/// Progress is counted in bytes of the text, so an import that continues inflates the file again and skips what it has read.
#[tokio::test]
async fn imports_of_archives_and_workbooks_continue_where_they_ended() {
    let mut table = vec![header(&["sale_id", "sale_date", "amount"])];
    for row in 0..4_000_u32 {
        table.push(vec![text(format!("S-{row}")), Cell::Day(row % 30), number("1.25")]);
    }
    for (format, file) in formats(&table).into_iter().skip(1).take(3) {
        let (world, staff) = (World::new().await, Person::staff());
        let asked = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
        world.put_file(&asked, &file).await;
        let mut visits = 1;
        while world.import_a_little(&asked).await.unwrap() == ImportOutcome::GoesOn {
            visits += 1;
            assert!(visits < 100, "{format}");
        }
        assert!(visits > 2, "{format}");
        let done = world.upload(&staff, &asked).await.expect(200);
        assert_eq!(done.body["status"], "completed", "{}", done.text);
        assert_eq!(counts(&done), [4_000, 0, 0, 0], "{format}: {}", done.text);
    }
}
