//! Uploads that are not sales files: a 4xx with a code, and nothing is stored.

use tests::{Part, Person, World, multipart};

use super::count_events;

/// Name, file, status, code.
const FILES: [(&str, &[u8], u16, &str); 16] = [
    ("empty", b"", 400, "empty_file"),
    ("only white space", b"\n\n", 400, "empty_file"),
    ("missing columns", b"sale_id,amount\n1,2\n", 400, "missing_columns"),
    ("no header", b"1,2026-01-02,3\n2,2026-01-02,4\n", 400, "no_header"),
    ("header only", b"sale_id,sale_date,amount\n", 400, "no_rows"),
    (
        "a header twice",
        b"sale_id,sale_date,amount,amount\n1,2026-01-02,3,4\n",
        400,
        "duplicate_header",
    ),
    (
        "an unclosed quote",
        b"sale_id,sale_date,amount\n1,2026-01-02,\"3\n2,2026-01-02,4\n",
        400,
        "unclosed_quote",
    ),
    (
        "a NUL byte",
        b"sale_id,sale_date,amount\n1,2026-01-02,\x003\n",
        400,
        "nul_character",
    ),
    ("a zip", b"PK\x03\x04\x14\x00\x06\x00", 400, "not_csv"),
    (
        "an old spreadsheet",
        b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
        400,
        "not_csv",
    ),
    (
        "a workbook",
        b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml",
        400,
        "not_csv",
    ),
    (
        "a header twice in other letters",
        b"sale_id,sale_date,Amount,AMOUNT \n1,2026-01-02,3,4\n",
        400,
        "duplicate_header",
    ),
    ("a million semicolons", &[b';'; 1_000_000], 400, "too_many_columns"),
    (
        "text after a quoted name",
        b"\"sale_id\"x,sale_date,amount\n1,2026-01-02,3\n",
        400,
        "stray_quote",
    ),
    ("a name of two thousand letters", &[b'x'; 2_000], 400, "header_too_long"),
    ("half of UTF-16", b"\xFF\xFEs\x00a", 400, "wrong_encoding"),
];

#[tokio::test]
async fn files_that_are_not_sales_are_refused_as_a_whole() {
    let (world, staff) = (World::new().await, Person::staff());
    for (name, file, status, code) in FILES {
        let answer = world.upload_sales(&staff, &[], file).await;
        assert!((400..500).contains(&answer.status), "{name}: {}", answer.text);
        assert_eq!(
            (answer.status, answer.problem(answer.status)),
            (status, code),
            "{name}: {}",
            answer.text
        );
    }
    assert_eq!(count_events(&world).await, 0);
}

/// The fault comes after rows that would have been appended, in a later chunk.
#[tokio::test]
async fn of_files_that_break_off_nothing_is_stored() {
    let (world, staff) = (World::new().await, Person::staff());
    let rows: String = (1..=1_500).map(|n| format!("{n},2026-01-02,1\n")).collect();
    let long = [b"1501,2026-01-02,\"".to_vec(), vec![b'1'; 1_100_000], b"\"\n".to_vec()].concat();
    let ends: [(&[u8], &str, usize); 5] = [
        (&long, "record_too_long", 1_502),
        (b"1501,2026-01-02,\"1\n1502,2026-01-02,1\n", "unclosed_quote", 1_502),
        (b"1501,2026-01-02,\xFF\xFE\n", "wrong_encoding", 1_502),
        (b"1501,2026-01-02,1\0\n", "nul_character", 1_502),
        (&[b','; 20_000], "too_many_columns", 1_502),
    ];
    for mode in ["partial", "all_or_nothing"] {
        for (end, code, line) in ends {
            let file = [b"sale_id,sale_date,amount\n", rows.as_bytes(), end].concat();
            let fields = [("mode", mode), ("encoding", "utf-8")];
            let answer = world.upload_sales(&staff, &fields, &file).await;
            assert_eq!(answer.problem(400), code, "{}", answer.text);
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("line {line}: ")), "{detail}");
        }
    }
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn lines_are_counted_by_every_kind_of_line_end() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount\r1,2026-01-02,1\r\n2,2026-01-02,x\n\n3,2026-01-02,\"1\r\n\"\r4,2026-01-02,=1+1\n\r5,2026-01-02,٣";
    let answer = world.upload_sales(&staff, &[], file).await.expect(200);
    let errors = answer.body["errors"].as_array().unwrap();
    let places: Vec<_> = errors
        .iter()
        .map(|e| (e["row"].as_i64(), e["line"].as_i64(), e["value"].as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (Some(2), Some(3), Some("x")),
            (Some(4), Some(7), Some("=1+1")),
            (Some(5), Some(9), Some("٣"))
        ]
    );
    assert_eq!(answer.body["rows_accepted"], 2);
}

#[tokio::test]
async fn a_declared_encoding_that_the_file_is_not_in_is_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = b"sale_id,sale_date,amount,product\n1,2026-01-02,3,Caf\xE9\n";
    let answer = world.upload_sales(&staff, &[("encoding", "utf-8")], file).await;
    assert_eq!(answer.problem(answer.status), "wrong_encoding", "{}", answer.text);
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn unknown_and_invalid_fields_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = "sale_id,sale_date,amount\n1,2026-01-02,3\n";
    for (field, value) in [
        ("colour", "red"),
        ("mapping", "{"),
        ("mapping", r#"{"price":"x"}"#),
        ("mapping", r#"{"amount":"no such header"}"#),
        ("currency", "usd!"),
        ("rounding", "up"),
        ("mode", "some"),
        ("dry_run", "perhaps"),
        ("max_errors", "-1"),
        ("decimal", ";"),
        ("encoding", "klingon"),
        ("delimiter", "ab"),
        ("date_format", "%Q"),
    ] {
        let answer = world.upload_sales(&staff, &[(field, value)], file).await;
        assert!((400..500).contains(&answer.status), "{field}={value}: {}", answer.text);
        answer.problem(answer.status);
    }
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn bodies_that_are_not_uploads_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let file = b"sale_id,sale_date,amount\n1,2026-01-02,3\n".to_vec();
    let json = world.upload_bytes(&staff, "", "application/json", b"{}".to_vec()).await;
    assert_eq!(json.problem(415), "unsupported_media_type");
    let cut = b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nsale_id,sale_date,amo".to_vec();
    let answer = world
        .upload_bytes(&staff, "", "multipart/form-data; boundary=b", cut)
        .await;
    assert_eq!(answer.problem(400), "malformed_multipart");
    let unbounded = world
        .upload_bytes(&staff, "", "multipart/form-data", file.clone())
        .await;
    assert_eq!(unbounded.problem(400), "malformed_multipart");
    for content_type in ["text/plain", "application/vnd.ms-excel", "application/zip", ""] {
        let answer = world.upload_bytes(&staff, "", content_type, file.clone()).await;
        assert_eq!(answer.problem(415), "unsupported_media_type", "{content_type}");
    }
    let no_file = b"--b\r\nContent-Disposition: form-data; name=\"mode\"\r\n\r\npartial\r\n--b--\r\n".to_vec();
    let answer = world
        .upload_bytes(&staff, "", "multipart/form-data; boundary=b", no_file)
        .await;
    assert_eq!(answer.problem(400), "missing_file");
    let twice = multipart(&[Part::File(b"sale_date,amount\n"), Part::File(b"sale_date,amount\n")]);
    assert_eq!(world.upload_form(&staff, twice).await.problem(400), "repeated_file");
    let mut large = file.clone();
    large.resize(4 * 1024 * 1024 + 1, b'\n');
    let answer = world.upload_bytes(&staff, "", "text/csv", large).await;
    assert_eq!(answer.problem(413), "body_too_large");
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn people_who_may_not_post_sales_may_not_upload_them() {
    let world = World::new().await;
    for person in [Person::user(), Person::agent("buyer")] {
        let answer = world
            .upload_sales(&person, &[], "sale_id,sale_date,amount\n1,2026-01-02,3\n")
            .await;
        assert_eq!(answer.problem(403), "event_type_forbidden");
    }
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn the_template_is_a_header_with_an_example_that_is_refused_as_data() {
    let (world, staff) = (World::new().await, Person::staff());
    let template = world.get(&staff, "/data/upload-template/sales").await.expect(200);
    assert_eq!(template.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(template.text.starts_with("sale_date,amount,"), "{}", template.text);
    let answer = world.upload_sales(&staff, &[], &template.text).await.expect(200);
    assert_eq!(answer.body["rows_rejected"], 1, "{}", answer.text);
    assert_eq!(answer.body["errors"][0]["code"], "example_row");
    assert_eq!(count_events(&world).await, 0);
    assert_eq!(
        world.get(&staff, "/data/upload-template/stars").await.problem(404),
        "not_found"
    );
}
