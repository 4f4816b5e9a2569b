//! Who may know what, read off the sources: SQL, HTTP, SQS and I/O each have one place.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file without its comments, tests and, where asked, string literals.
struct Source {
    /// From the workspace's root, with `/`.
    path: String,
    /// Code, each literal replaced by `""`.
    code: String,
    /// Contents of the string literals.
    literals: Vec<String>,
}

/// Every source of what is deployed, and of `local`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in ["shared/src", "functions", "local/src"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    let sources: Vec<Source> = files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).unwrap();
            // Unit tests stand at the end of their file.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let (code, literals) = split(text);
            let path = file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            Source { path, code, literals }
        })
        .collect();
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Code without comments and literals, and the literals: as much of Rust's grammar as keeps the three apart.
fn split(text: &str) -> (String, Vec<String>) {
    let (mut code, mut literals) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hashes = rest
            .strip_prefix('r')
            .map_or(0, |after| after.len() - after.trim_start_matches('#').len());
        let raw = rest.starts_with('r')
            && rest[1 + hashes..].starts_with('"')
            && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").map_or(rest.len(), |end| end + 2)..];
        } else if raw {
            let body = &rest[hashes + 2..];
            let end = body.find(&format!("\"{}", "#".repeat(hashes))).unwrap();
            literals.push(body[..end].to_owned());
            code.push_str("\"\"");
            rest = &body[end + 1 + hashes..];
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..]
                .find(|c| {
                    let is_end = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    is_end
                })
                .unwrap();
            literals.push(rest[1..=end].replace("\\n", "\n").replace("\\\"", "\""));
            code.push_str("\"\"");
            rest = &rest[end + 2..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = rest[1..].split_once('\'').unwrap().1;
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    (code, literals)
}

/// Whether a literal is a statement of SQL, or begins one. Its name, if it has one, is left out.
fn is_sql(literal: &str) -> bool {
    let text = unnamed(literal).to_lowercase();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    let objects = [
        "table", "role", "database", "schema", "index", "function", "view", "policy", "trigger", "sequence", "user",
        "or", "unique",
    ];
    match words[..] {
        ["select" | "truncate" | "begin;", ..]
        | ["insert", "into", ..]
        | ["delete", "from", ..]
        | ["update", _, "set"] => true,
        ["create" | "alter" | "drop", object, ..] => objects.contains(&object),
        ["set", "role" | "local", ..] | ["with", _, "as"] | ["begin" | "commit" | "rollback"] => true,
        _ => false,
    }
}

fn unnamed(literal: &str) -> &str {
    match literal.strip_prefix("-- ") {
        Some(named) => named.split_once('\n').map_or("", |(_, rest)| rest),
        None => literal,
    }
}

/// Places where a word stands in the code, apart from the folders and files where it may.
fn places(words: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources() {
        if allowed.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for word in words {
            if contains_word(&source.code, word) {
                found.push(format!("{} names {word}", source.path));
            }
        }
    }
    found
}

fn contains_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(start, _)| !code[..start].ends_with(is_part) && !code[start + word.len()..].starts_with(is_part))
}

const NONE: [String; 0] = [];

#[test]
fn only_the_store_holds_sql() {
    let mut found = Vec::new();
    let mut in_store = 0;
    for source in sources() {
        let statements = source.literals.iter().filter(|literal| is_sql(literal));
        match source.path.as_str() {
            path if path.starts_with("shared/src/store/") => in_store += statements.count(),
            // What Supabase or RDS give before the first migration: the owner and its database. No data of Annals.
            "local/src/cluster/provision.rs" => {}
            path => found.extend(statements.map(|sql| format!("{path}: {sql}"))),
        }
    }
    assert_eq!(found, NONE);
    assert!(in_store > 40, "only {in_store} statements were recognised in the store");
    let drivers = places(
        &["tokio_postgres", "deadpool_postgres", "refinery"],
        &[
            "shared/src/store/",
            "local/src/cluster/provision.rs",
            "local/src/error.rs",
        ],
    );
    assert_eq!(drivers, NONE);
}

#[test]
fn every_statement_of_the_store_begins_with_a_name_of_its_own() {
    let (mut names, mut unnamed_ones) = (Vec::new(), Vec::new());
    for source in sources() {
        if !source.path.starts_with("shared/src/store/") {
            continue;
        }
        for literal in &source.literals {
            // A macro's statement takes its name as an argument; what is sent is looked at in round_trips.rs.
            if literal == "-- " || literal.starts_with('\n') {
                continue;
            }
            if let Some(named) = literal.strip_prefix("-- ") {
                let name = named.lines().next().unwrap_or_default();
                let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                assert!(is_name, "{}: {name:?} is no function's name", source.path);
                names.push(name.to_owned());
            } else if is_sql(literal) && !is_transaction(literal) {
                unnamed_ones.push(format!("{}: {literal}", source.path));
            }
        }
    }
    assert_eq!(unnamed_ones, NONE);
    assert!(names.len() > 30, "{names:?}");
    names.sort_unstable();
    let repeated: Vec<&[String]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert_eq!(repeated, [] as [&[String]; 0]);
}

/// Transactions and their roles: they belong to the statement between them.
fn is_transaction(literal: &str) -> bool {
    ["begin", "commit", "rollback", "set role", "set local role"]
        .iter()
        .any(|start| literal.starts_with(start))
}

#[test]
fn only_the_http_layer_and_the_http_functions_know_http() {
    let known = [
        "shared/src/http/",
        "functions/post-event/",
        "functions/audit-query/",
        "functions/csv-upload/",
        // A laptop's one port, in API Gateway's and the bucket's place.
        "local/src/bucket.rs",
        "local/src/engine.rs",
        "local/src/serve.rs",
        "local/src/server.rs",
        "local/src/server/",
    ];
    let words = [
        "axum",
        "lambda_http",
        "hyper",
        "tower_http",
        "tower",
        "StatusCode",
        "HeaderMap",
        "HeaderValue",
    ];
    // The demo is a client: it knows HTTP from the other side, by reqwest.
    let allowed: Vec<&str> = known.into_iter().chain(["local/src/demo/"]).collect();
    assert_eq!(places(&words, &allowed), NONE);
    assert_eq!(places(&["axum", "lambda_http"], &known), NONE);
}

#[test]
fn only_the_queue_and_the_projector_know_sqs() {
    let words = [
        "aws_sdk_sqs",
        "aws_lambda_events::event::sqs",
        "SqsEvent",
        "SqsMessage",
        "SqsBatchResponse",
    ];
    // The stand-in on a laptop hands the projector what Lambda would.
    let known = ["shared/src/queue", "functions/projector/", "local/src/engine.rs"];
    assert_eq!(places(&words, &known), NONE);
    assert_eq!(
        places(&["aws_sdk_sqs"], &["shared/src/queue"]),
        NONE,
        "sending is the queue's alone"
    );
}

#[test]
fn only_the_secrets_know_where_they_are_kept() {
    assert_eq!(places(&["aws_sdk_secretsmanager"], &["shared/src/secrets.rs"]), NONE);
    assert_eq!(
        places(&["aws_sigv4"], &["shared/src/rds.rs", "shared/src/storage/s3.rs"]),
        NONE
    );
}

#[test]
fn only_the_storage_knows_s3() {
    let words = ["aws_sdk_s3", "ETAG", "IF_MATCH", "RANGE"];
    // If-Match is also what clients of entities say.
    let known = [
        "shared/src/storage/s3.rs",
        "shared/src/http/",
        "functions/post-event/",
        "functions/audit-query/",
    ];
    assert_eq!(places(&words, &known), NONE);
}

#[test]
fn the_domain_does_no_io() {
    let words = [
        "tokio",
        "futures_util",
        "reqwest",
        "hyper",
        "axum",
        "lambda_http",
        "lambda_runtime",
        "tokio_postgres",
        "deadpool_postgres",
        "tracing",
        "store",
        "queue",
        "http",
        "auth",
        "config",
        "intake",
        "std::fs",
        "std::net",
        "std::io",
        "std::env",
        "std::process",
        "std::thread",
        "async",
        "println",
        "eprintln",
    ];
    let mut found = Vec::new();
    let mut files = 0;
    for source in sources()
        .iter()
        .filter(|source| source.path.starts_with("shared/src/domain/"))
    {
        files += 1;
        for word in words.iter().filter(|word| contains_word(&source.code, word)) {
            found.push(format!("{} names {word}", source.path));
        }
    }
    assert!(files > 5);
    assert_eq!(found, NONE);
}

/// The functions cannot reach around the store: they do not even depend on a driver.
#[test]
fn no_function_depends_on_a_database_driver() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut functions = 0;
    for entry in fs::read_dir(root.join("functions")).unwrap() {
        let manifest = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        functions += 1;
        for driver in ["postgres", "sqlx", "refinery"] {
            assert!(!manifest.contains(driver), "{driver} in\n{manifest}");
        }
        if manifest.contains("name = \"migrate\"") {
            // CloudFormation's side of it is a client's, as the demo's is.
            assert!(
                !["axum", "lambda_http", "sqs"]
                    .iter()
                    .any(|word| manifest.contains(word)),
                "{manifest}"
            );
        } else if manifest.contains("name = \"projector\"") {
            assert!(
                !manifest.contains("axum") && !manifest.contains("lambda_http"),
                "{manifest}"
            );
        } else {
            assert!(!manifest.contains("sqs"), "{manifest}");
        }
    }
    assert_eq!(functions, 5);
}

#[test]
fn the_scanner_tells_code_comments_and_literals_apart() {
    let text = "// select 1\nlet a = \"insert into x\"; /* \"no\" */ let b = r#\"with t as ( \"q\"\"#; let c = '\"'; let d = \"a\\\"b\";";
    let (code, literals) = split(text);
    assert_eq!(literals, ["insert into x", "with t as ( \"q\"", "a\"b"]);
    assert!(!code.contains("select") && code.contains("let d"), "{code}");
    assert!(
        is_sql("-- name\nselect 1")
            && is_sql("update annals.heads set x")
            && !is_sql("update the catalog")
            && !is_sql("create it")
    );
}
