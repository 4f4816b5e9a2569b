//! Lists what the OpenAPI document describes and no test has seen: a status or a problem code that never occurs is as wrong as one that is not
//! described, which `tests/support/contract.rs` finds.
//!
//! ```sh
//! ANNALS_SEEN=seen.txt cargo test -p tests --test behaviour
//! cargo run -p tests --bin seen -- seen.txt
//! ```

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: what fails ends it with its place, and what it finds it prints"
)]

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::Value;

/// Statuses that come from code which many operations share: the layers around all of them, the fold of a stream, an append, a catalog. That
/// each of their codes was seen once is enough.
const OF_SHARED_CODE: [&str; 10] = ["408", "409", "412", "413", "414", "422", "429", "431", "500", "503"];
/// Codes of requests that are no HTTP, or come from an integration that was not deployed by template.yaml. Tests of sockets and of whole
/// invocations see them.
const BEFORE_THE_ROUTER: [&str; 6] = [
    "malformed_http",
    "request_timeout",
    "uri_too_long",
    "headers_too_large",
    "payload_format",
    "internal",
];

/// Codes that a request in the tests cannot provoke, and where they are tested or why they exist.
const ELSEWHERE: [(&str, &str); 9] = [
    ("caller_unknown", "tests of SQL: over HTTP a caller has been verified"),
    ("catalog_changed", "a race that the append loses several times in a row"),
    ("catalog_full", "unit tests of its limit: a catalog of 16 MiB"),
    ("lifted_too_large", "tests of memory, in a process of its own"),
    (
        "malformed_event",
        "tests of SQL: the API finds the fault before the database does",
    ),
    ("not_storable", "what the database refuses and the API did not foresee"),
    ("too_many_values", "tests of memory, in a process of its own"),
    ("too_slow", "an upload that takes longer than a function may run"),
    (
        "unfoldable_event",
        "unit tests of folds: a catalog that lacks an upcaster cannot be registered",
    ),
];

fn main() -> ExitCode {
    let path = std::env::args().nth(1).expect("usage: seen FILE");
    let text = std::fs::read_to_string(path).expect("the file that ANNALS_SEEN named");
    let (mut statuses, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let operation = format!("{} {}", word(), word());
        statuses.insert(format!("{operation} {}", word()));
        codes.insert(word());
    }
    let document = annals_openapi::document();
    let never: Vec<String> = described_statuses(document)
        .filter(|status| !statuses.contains(status))
        .chain(described_codes(document).filter(|code| !codes.contains(code)))
        .collect();
    println!(
        "{} statuses of operations and {} codes were seen",
        statuses.len(),
        codes.len()
    );
    if never.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("described, but seen by no test:\n  {}", never.join("\n  "));
    ExitCode::FAILURE
}

/// Each operation with each of its statuses: `GET /api/v1/events 200`.
fn described_statuses(document: &Value) -> impl Iterator<Item = String> {
    members(&document["paths"]).flat_map(|(path, item)| {
        members(item).flat_map(move |(method, operation)| {
            let statuses = members(&operation["responses"]).map(|(status, _)| status.as_str());
            let own = statuses.filter(|status| !OF_SHARED_CODE.contains(status));
            own.map(move |status| format!("{} {path} {status}", method.to_uppercase()))
        })
    })
}

fn described_codes(document: &Value) -> impl Iterator<Item = String> {
    let codes = document["components"]["schemas"]["ProblemCode"]["oneOf"].as_array();
    let names = codes.into_iter().flatten().filter_map(|code| code["const"].as_str());
    let is_elsewhere = |code: &str| ELSEWHERE.iter().any(|(other, _)| *other == code);
    names
        .filter(move |code| !BEFORE_THE_ROUTER.contains(code) && !is_elsewhere(code))
        .map(str::to_owned)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
