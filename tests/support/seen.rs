//! What the tests have seen of the OpenAPI document: each operation with the statuses and problem codes of its answers. If `ANNALS_SEEN` names
//! a file, each is added to it once, as a line; `cargo run -p tests --bin seen` then lists what is described and never occurred.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

use crate::answer::Answer;

static SEEN: LazyLock<Option<Mutex<Seen>>> = LazyLock::new(|| {
    let path = std::env::var_os("ANNALS_SEEN")?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.expect("the file of ANNALS_SEEN can be written");
    let lines = BTreeSet::new();
    Some(Mutex::new(Seen { file, lines }))
});

struct Seen {
    file: File,
    lines: BTreeSet<String>,
}

/// Notes an answer of an operation.
pub(crate) fn note(method: &str, path: &str, answer: &Answer) {
    let Some(seen) = &*SEEN else { return };
    let code = match &answer.body["code"] {
        Value::String(code) if answer.status >= 400 => code,
        _ => "",
    };
    let line = format!("{method} {path} {} {code}\n", answer.status);
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.lines.insert(line.clone()) {
        // One write, so that the lines of several processes do not mix.
        seen.file
            .write_all(line.as_bytes())
            .expect("the file of ANNALS_SEEN can be written");
    }
}
