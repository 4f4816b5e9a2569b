//! The document names exactly the problem codes that the code base has.
//!
//! Codes are found where they are written: at the calls that make a problem in Rust, and a refusal in SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use annals_openapi::document;
use serde_json::Value;

use super::walk;

/// What stands before a code, and how many arguments come before it.
const CALLS: [(&str, usize); 19] = [
    ("Problem::new(", 1),
    ("bad_request(", 0),
    ("forbidden(", 0),
    ("conflict(", 0),
    ("unprocessable(", 0),
    ("FileFault::new(", 0),
    ("JsonFault::here(", 0),
    ("self.add(", 1),
    ("Refusal::new(", 1),
    ("annals.refuse(", 1),
    ("KEY_REUSED: &str = ", 0),
    ("TENANT_FORGED: &str = ", 0),
    ("TOO_MANY_VALUES: &str = ", 0),
    ("RefusalKind::Conflict,", 0),
    ("Self::new(", 0),
    ("refused(", 0),
    ("let code = ", 0),
    ("(\"data\", ", 0),
    ("(\"metadata\", ", 0),
];
/// Files in which every value of a match is a code.
const MATCHES: [&str; 2] = ["shared/annals/src/auth/refusal.rs", "shared/domain/src/catalog.rs"];
/// The file in which each text with an underscore after a bracket is a code.
const PAIRS: &str = "local/src/server.rs";

/// Codes that no operation of the API answers with, and where they occur.
const ELSEWHERE: [(&str, &str); 11] = [
    ("wrong_isolation", "SQL: read_events"),
    ("pg_jsonschema_missing", "SQL: post_event"),
    ("format_unchecked", "SQL: post_event"),
    ("checkpoint_taken", "the command replay"),
    ("checkpoint_moved", "the command replay"),
    (
        "import_taken_over",
        "the importer, which then leaves the upload to the other one",
    ),
    ("file_changed", "the failure of an upload"),
    ("file_missing", "the failure of an upload"),
    ("not_confirmed", "the failure of an upload"),
    ("upload_interrupted", "the failure of an upload"),
    ("upload_ended", "the address of a large file, with local"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The program's sources and the migrations, without tests.
fn sources() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for folder in ["shared", "functions", "local/src", "migrations"] {
        collect(&root().join(folder), &mut files);
    }
    files
}

fn collect(folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let is_source = name.ends_with(".rs") && !name.ends_with("_tests.rs");
        if path.is_dir() {
            collect(&path, files);
        } else if is_source || name.starts_with("migrations/V") || name.contains("/queries/") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
            files.insert(name, text);
        }
    }
}

/// The text in quotes that a list of arguments has at this place, if it has one there.
fn argument(arguments: &str, place: usize) -> Option<&str> {
    let (mut depth, mut left, mut quoted) = (0, place, None);
    let mut start = 0;
    for (at, character) in arguments.char_indices() {
        if left == 0 {
            start = at;
            break;
        }
        match (character, quoted) {
            (c, Some(quote)) if c == quote => quoted = None,
            (_, Some(_)) => {}
            ('"', None) => quoted = Some(character),
            ('(' | '[' | '{', None) => depth += 1,
            (')' | ']' | '}', None) => depth -= 1,
            (',', None) if depth == 0 => left -= 1,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    literal(arguments[start..].trim_start())
}

/// The text at the beginning, if it is in quotes and is a code.
fn literal(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let code = text[1..].split(quote).next()?;
    let is_code = !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_code.then_some(code)
}

fn written() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for (file, text) in sources() {
        for (call, place) in CALLS {
            for (at, _) in text.match_indices(call) {
                if let Some(code) = argument(&text[at + call.len()..], place) {
                    codes.insert(code.to_owned(), file.clone());
                }
            }
        }
        let before = match file.as_str() {
            PAIRS => "(",
            file if MATCHES.contains(&file) => "=> ",
            _ => continue,
        };
        for code in text
            .split(before)
            .skip(1)
            .filter_map(|after| literal(after.trim_start()))
        {
            if before == "=> " || code.contains('_') {
                codes.insert(code.to_owned(), file.clone());
            }
        }
    }
    codes
}

fn documented() -> BTreeSet<String> {
    let codes = document()["components"]["schemas"]["ProblemCode"]["oneOf"]
        .as_array()
        .unwrap();
    codes
        .iter()
        .map(|code| code["const"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_code_of_the_code_base_is_in_the_document() {
    let documented = documented();
    let elsewhere = |code: &str| ELSEWHERE.iter().any(|(known, _)| *known == code);
    let missing: Vec<_> = written()
        .into_iter()
        .filter(|(code, _)| !documented.contains(code) && !elsewhere(code))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_code_of_the_document_is_in_the_code_base() {
    let written = written();
    let missing: Vec<_> = documented()
        .into_iter()
        .filter(|code| !written.contains_key(code))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let listed = ELSEWHERE.iter().filter(|(code, _)| !written.contains_key(*code));
    assert_eq!(
        listed.count(),
        0,
        "a code that does not exist is listed as one that occurs elsewhere"
    );
}

#[test]
fn every_code_says_what_it_means_and_is_answered_by_some_operation() {
    let mut answered = BTreeSet::new();
    walk(&document()["paths"], &mut |value| collect_codes(value, &mut answered));
    walk(&document()["components"]["responses"], &mut |value| {
        collect_codes(value, &mut answered)
    });
    // The first answers a method that no operation has, the second an invocation that is no request.
    answered.extend(["method_not_allowed".to_owned(), "payload_format".to_owned()]);
    assert_eq!(answered, documented());
    for code in document()["components"]["schemas"]["ProblemCode"]["oneOf"]
        .as_array()
        .unwrap()
    {
        let text = code["description"].as_str().unwrap();
        assert!(text.matches('.').count() >= 2 && text.ends_with('.'), "{code}");
    }
}

fn collect_codes(value: &Value, found: &mut BTreeSet<String>) {
    let codes = value.pointer("/properties/code/enum").and_then(Value::as_array);
    // An upload's failure has codes, too.
    let is_problem = value
        .pointer("/allOf/0/$ref")
        .is_some_and(|to| to == "#/components/schemas/Problem");
    for code in codes.into_iter().flatten().filter(|_| is_problem) {
        found.insert(code.as_str().unwrap().to_owned());
    }
}
