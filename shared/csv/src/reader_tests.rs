use futures_util::stream;
use proptest::prelude::*;

use super::*;

/// A record's line and fields.
type Read = (u64, Vec<String>);

fn read_chunks(chunks: Vec<Bytes>, format: Format) -> Result<Vec<Read>, (&'static str, Option<u64>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut reader = Reader::new(stream::iter(chunks.into_iter().map(Ok)), format);
        let mut found = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(record)) => found.push((record.line(), record.fields().map(str::to_owned).collect())),
                Ok(None) => return Ok(found),
                Err(ReadError::File(fault)) => return Err((fault.code, fault.line)),
                Err(ReadError::Source(error)) => panic!("{error}"),
            }
        }
    })
}

fn read(bytes: &[u8]) -> Result<Vec<Read>, (&'static str, Option<u64>)> {
    read_chunks(vec![Bytes::copy_from_slice(bytes)], Format::default())
}

fn rows(rows: &[(u64, &[&str])]) -> Result<Vec<Read>, (&'static str, Option<u64>)> {
    Ok(rows
        .iter()
        .map(|(line, fields)| (*line, fields.iter().map(|f| (*f).to_owned()).collect()))
        .collect())
}

#[test]
fn lines_end_with_lf_crlf_or_cr_and_are_counted_alike() {
    let expected = rows(&[(1, &["a", "b"]), (2, &["1", "x\ny"]), (4, &["2", ""]), (6, &["3", "z"])]);
    for end in ["\n", "\r\n", "\r"] {
        let text = ["a,b", "1,\"x\ny\"", "2,", "", "3,z"].join(end);
        assert_eq!(read(text.as_bytes()), expected, "{end:?}");
        assert_eq!(read((text + end).as_bytes()), expected, "{end:?} at the end");
    }
    assert_eq!(
        read(b"a\r1\n2\r\n3"),
        rows(&[(1, &["a"]), (2, &["1"]), (3, &["2"]), (4, &["3"])])
    );
}

#[test]
fn quotes_protect_delimiters_line_ends_and_themselves() {
    let text = b"a,b\n\"x, \"\"y\"\"\r\nz\",\"\"\n\"\",q\"q\n\"last\",\"\xE2\x82\xAC\"";
    let expected = rows(&[
        (1, &["a", "b"]),
        (2, &["x, \"y\"\r\nz", ""]),
        (4, &["", "q\"q"]),
        (5, &["last", "€"]),
    ]);
    assert_eq!(read(text), expected);
}

/// For each record after the header the line of its stray quote.
fn stray_quotes(bytes: &[u8], chunk: usize) -> Vec<Option<u64>> {
    let chunks: Vec<_> = bytes.chunks(chunk).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut reader = Reader::new(stream::iter(chunks), Format::default());
        let mut found = Vec::new();
        while let Some(record) = reader.next().await.expect("records") {
            found.push(record.stray_quote());
        }
        found.split_off(1)
    })
}

#[test]
fn a_quote_that_ends_a_field_is_followed_by_nothing_of_it() {
    for (text, expected) in [
        ("1,\"Desk\n2,Lamp\n3,\"Chair\"\n4,Bed\n", &[Some(4), None][..]),
        ("1,\"a\"b\n2,\"a\" ,x\n3,\"a\"\"\"b", &[Some(2), Some(3), Some(4)]),
        (
            "1,\"a\"\"b\"\n2,a\"b\"c\n3,\"\"\n\"\",\"\"\r\n\"a\rb\"\r\"\"\"\"\"\"",
            // The record of two empty fields is no row.
            &[None; 5],
        ),
        ("\n\n\"a\nb\"c\n\"d\"", &[Some(5), None]),
    ] {
        for delimiter in [",", ";"] {
            let text = format!("a,b\n{text}").replace(',', delimiter);
            for chunk in [1, 2, 3, 1_000] {
                assert_eq!(stray_quotes(text.as_bytes(), chunk), expected, "{text:?} {chunk}");
            }
        }
    }
}

#[test]
fn the_delimiter_is_the_headers() {
    for delimiter in [",", ";", "\t", "|"] {
        let text = format!("\"a,;|\"{delimiter}b\n1{delimiter}2;,|\t");
        let found = read(text.as_bytes()).expect("records");
        assert_eq!(found[0].1, ["a,;|", "b"], "{delimiter:?}");
    }
    let declared = Format {
        delimiter: Some(b'|'),
        ..Format::default()
    };
    assert_eq!(
        read_chunks(vec![Bytes::from_static(b"a,b,c|d")], declared),
        rows(&[(1, &["a,b,c", "d"])])
    );
}

#[test]
fn nothing_readable_is_said_with_its_line() {
    assert_eq!(read(b""), Ok(Vec::new()));
    assert_eq!(read(b"\r\n\n\r"), Ok(Vec::new()));
    assert_eq!(read(b"a,b\n1,2\n\n3,\"4\n5,6\n"), Err(("unclosed_quote", Some(4))));
    assert_eq!(read(b"\"a,b\n1,2"), Err(("unclosed_quote", Some(1))));
    assert_eq!(read(b"a,b\n1,\"x\ny\"\n2,\0\n"), Err(("nul_character", Some(4))));
    assert_eq!(
        read(b"a,b\n1,K\xC3\xB6ln\n\n2,K\xC3\xB6ln\n3,K\xC3ln\n"),
        Err(("wrong_encoding", Some(5)))
    );
}

#[test]
fn a_line_end_cut_in_two_is_one() {
    let chunks = [&b"a,b\r"[..], b"\n\0"].map(Bytes::from_static).to_vec();
    assert_eq!(read_chunks(chunks, Format::default()), Err(("nul_character", Some(2))));
}

#[test]
fn records_have_limits() {
    let wide = "x,".repeat(MAX_RECORD_BYTES);
    assert_eq!(
        read(format!("a\n{wide}").as_bytes()),
        Err(("too_many_columns", Some(2)))
    );
    let long = "x".repeat(MAX_RECORD_BYTES + 1);
    assert_eq!(
        read(format!("a\n\n{long}").as_bytes()),
        Err(("record_too_long", Some(3)))
    );
    assert_eq!(read(long.as_bytes()), Err(("record_too_long", Some(1))));
    let fits = "x".repeat(MAX_RECORD_BYTES - 1);
    assert_eq!(read(format!("a\n{fits}\nb").as_bytes()).map(|found| found.len()), Ok(3));
    let forgotten = format!("a,b\n1,\"2\n{}", "3,4\n".repeat(MAX_RECORD_BYTES / 4));
    assert_eq!(read(forgotten.as_bytes()), Err(("record_too_long", Some(2))));
}

/// The cases of the public csv-spectrum suite, with other rows.
#[test]
fn the_cases_of_csv_spectrum_are_read_as_it_expects() {
    type Case<'a> = (&'a str, &'a [&'a [&'a str]]);
    let cases: [Case<'_>; 9] = [
        (
            "who,where\nAda,\"London, UK\"",
            &[&["who", "where"], &["Ada", "London, UK"]],
        ),
        (
            "x,y,z\n7,\"\",\"\"\n8,9,10",
            &[&["x", "y", "z"], &["7", "", ""], &["8", "9", "10"]],
        ),
        (
            "x,y\n7,\"so \"\"they\"\" say\"\n8,9\n",
            &[&["x", "y"], &["7", "so \"they\" say"], &["8", "9"]],
        ),
        (
            "n,doc\n1,\"{\"\"kind\"\": \"\"Line\"\", \"\"at\"\": [1.5, 2.5]}\"\n",
            &[&["n", "doc"], &["1", "{\"kind\": \"Line\", \"at\": [1.5, 2.5]}"]],
        ),
        (
            "x,y\n\"two \nlines\",6\n7,8\n",
            &[&["x", "y"], &["two \nlines", "6"], &["7", "8"]],
        ),
        (
            "x,y\n7,\"oh \n\"\"no\"\" \nno\"\n8,9\n",
            &[&["x", "y"], &["7", "oh \n\"no\" \nno"], &["8", "9"]],
        ),
        ("x,y\n1,2\n", &[&["x", "y"], &["1", "2"]]),
        ("x,y\n1,2\n3,ʤ", &[&["x", "y"], &["1", "2"], &["3", "ʤ"]]),
        ("where\n\"51.5° N, 0.1° W\"\n", &[&["where"], &["51.5° N, 0.1° W"]]),
    ];
    for (text, expected) in cases {
        for end in ["\n", "\r\n"] {
            let found = read(text.replace('\n', end).as_bytes()).expect("records");
            let found: Vec<Vec<String>> = found.into_iter().map(|(_, fields)| fields).collect();
            let expected: Vec<Vec<String>> = expected
                .iter()
                .map(|fields| fields.iter().map(|field| field.replace('\n', end)).collect())
                .collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}

/// A gigabyte that is generated when it is read: how much was read shows how much the reader would have held or read for nothing.
#[test]
fn a_gigabyte_without_a_line_end_is_refused_after_its_first_megabytes() {
    const PIECE: usize = 64 * 1024;
    for (start, piece, code, line) in [
        ("", "x", "record_too_long", 1),
        ("", "\"x", "record_too_long", 1),
        ("", "a,", "too_many_columns", 1),
        ("a,b\n", "x", "record_too_long", 2),
        ("a,b\n\"", "1,2\n", "record_too_long", 2),
        ("a,b\n", "é", "record_too_long", 2),
        ("a,b\n", ";", "record_too_long", 2),
        ("a,b\n", ",", "too_many_columns", 2),
    ] {
        let mut pieces = 0;
        let body = Bytes::from(piece.repeat(PIECE / piece.len()));
        let endless = std::iter::repeat_with(|| {
            pieces += 1;
            Ok(body.clone())
        });
        let source =
            stream::iter(std::iter::once(Ok(Bytes::from(start))).chain(endless.take(1024 * 1024 * 1024 / PIECE)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let fault = runtime.block_on(async {
            let mut reader = Reader::new(source, Format::default());
            loop {
                match reader.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("a gigabyte was read"),
                    Err(ReadError::File(fault)) => {
                        // The text that is decoded and not split yet, and the record itself.
                        assert!(
                            reader.text.capacity() <= 4 * MAX_RECORD_BYTES,
                            "{}",
                            reader.text.capacity()
                        );
                        return fault;
                    }
                    Err(ReadError::Source(error)) => panic!("{error}"),
                }
            }
        });
        assert_eq!(
            (fault.code, fault.line),
            (code, Some(line)),
            "{start:?} {piece:?}: {fault}"
        );
        assert!(
            pieces * PIECE <= 3 * MAX_RECORD_BYTES,
            "{start:?} {piece:?}: {pieces} pieces"
        );
    }
}

/// Pieces of valid and of broken CSV files.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["a", "1,5", "x y", "\"q\"", "\"\"", "\"", "é", "€", "\u{1F600}"]).prop_map(|s| s.as_bytes().to_vec()),
        4 => prop::sample::select(vec![",", ";", "\n", "\r\n", "\r", "\t"]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::sample::select(vec![&b"\xEF\xBB\xBF"[..], b"\xE9", b"\xFF\xFE", b"\0", b"\xC3"]).prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn chunk_boundaries_make_no_difference(bytes in file(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let chunks = places.windows(2).map(|pair| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]])).collect();
        let single = bytes.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
        let whole = read(&bytes);
        prop_assert_eq!(&whole, &read_chunks(chunks, Format::default()));
        prop_assert_eq!(&whole, &read_chunks(single, Format::default()));
        if whole.is_ok_and(|records| !records.is_empty()) {
            prop_assert_eq!(stray_quotes(&bytes, 1), stray_quotes(&bytes, bytes.len()));
        }
    }

    #[test]
    fn what_is_written_is_read(table in prop::collection::vec(prop::collection::vec("[a-z,;\"\r\n é]{0,6}", 3), 1..8)) {
        let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let text: Vec<String> = table.iter().map(|row| row.iter().map(quote).collect::<Vec<_>>().join(",")).collect();
        let found = read(text.join("\r\n").as_bytes()).expect("records");
        let fields: Vec<Vec<String>> = found.into_iter().map(|(_, fields)| fields).collect();
        let is_blank = |row: &Vec<String>| row.iter().all(|field| field.trim().is_empty());
        let rows: Vec<Vec<String>> = table.into_iter().filter(|row| !is_blank(row)).collect();
        prop_assert_eq!(fields, rows);
    }
}

/// Reads a file to its end; returns each record with its end.
fn places(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
    chunk: usize,
) -> (Vec<(Read, ResumePoint)>, &'static Encoding, u8) {
    let format = Format {
        encoding: declared,
        ..Format::default()
    };
    let chunks: Vec<_> = bytes.chunks(chunk).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut reader = Reader::new(stream::iter(chunks), format);
        let mut found = Vec::new();
        while let Some(record) = reader.next().await.expect("records") {
            let read = (record.line(), record.fields().map(str::to_owned).collect());
            found.push((read, reader.resume_point()));
        }
        let (encoding, delimiter) = (reader.encoding(), reader.delimiter());
        (found, encoding, delimiter)
    })
}

/// The records that a reader gives from a point on.
fn rest(
    bytes: &[u8],
    encoding: &'static Encoding,
    delimiter: u8,
    place: ResumePoint,
    chunk: usize,
) -> Vec<(Read, ResumePoint)> {
    let from = usize::try_from(place.offset).expect("an offset");
    let chunks: Vec<_> = bytes[from..]
        .chunks(chunk)
        .map(|c| Ok(Bytes::copy_from_slice(c)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut reader = Reader::resume(stream::iter(chunks), encoding, delimiter, place);
        let mut found = Vec::new();
        while let Some(record) = reader.next().await.expect("records") {
            let read = (record.line(), record.fields().map(str::to_owned).collect());
            found.push((read, reader.resume_point()));
        }
        found
    })
}

fn encoded(text: &str, encoding: &'static Encoding, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{FEFF}" } else { "" };
    let text = format!("{mark}{text}");
    match encoding {
        e if e == encoding_rs::UTF_16LE => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        e if e == encoding_rs::UTF_16BE => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        other => other.encode(&text).0.into_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A reader that resumes at the end of any record reads the same as one that began at the first: in every encoding, with any chunks.
    #[test]
    fn reading_goes_on_from_the_end_of_any_record(
        records in proptest::collection::vec(("[a-zé\n ]{0,6}", "[a-z\u{3042}\u{0A}\"]{0,9}"), 1..24),
        end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        which in 0..7_usize,
        chunk in 1..70_usize,
        other_chunk in 1..70_usize,
    ) {
        let (encoding, mark, declared) = [
            (UTF_8, false, true),
            (UTF_8, true, false),
            (encoding_rs::UTF_16LE, true, false),
            (encoding_rs::UTF_16BE, true, false),
            (encoding_rs::SHIFT_JIS, false, true),
            (encoding_rs::GB18030, false, true),
            (encoding_rs::ISO_2022_JP, false, true),
        ][which];
        let mut text = format!("a;b{end}");
        for (left, right) in &records {
            text += &format!("\"{}\";\"{}\"{end}", left.replace('\n', end), right.replace('"', "\"\""));
        }
        let bytes = encoded(&text, encoding, mark);
        let (all, found, delimiter) = places(&bytes, declared.then_some(encoding), chunk);
        prop_assert_eq!(found, encoding);
        let rows = records.iter().filter(|(left, right)| !left.trim().is_empty() || !right.trim().is_empty());
        prop_assert_eq!(all.len(), rows.count() + 1);
        for (done, (_, place)) in all.iter().enumerate() {
            let rest = rest(&bytes, found, delimiter, *place, other_chunk);
            let read: Vec<_> = rest.iter().map(|(read, _)| read).collect();
            let expected: Vec<_> = all[done + 1..].iter().map(|(read, _)| read).collect();
            prop_assert_eq!(read, expected);
        }
    }
}

#[test]
fn places_of_a_long_file_lie_near_its_records() {
    let text = "id,text\n".to_owned() + &"1,\"some text\nof two lines\"\n".repeat(20_000);
    let (all, encoding, delimiter) = places(text.as_bytes(), None, 100_000);
    assert_eq!(encoding, UTF_8);
    for (done, (_, place)) in all.iter().enumerate().step_by(997) {
        assert!(place.skip <= SLICE, "{place:?}");
        assert_eq!(
            rest(text.as_bytes(), encoding, delimiter, *place, 4_096).len(),
            all.len() - done - 1
        );
    }
}
