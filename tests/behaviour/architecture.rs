//! Borders between crates, as far as Cargo does not keep them by itself: which crate may depend on which library, and that every statement of
//! the store has a name of its own.
//!
//! A crate cannot use what it does not depend on. So each border is a list of the crates that may have a dependency, and a list of what
//! a function's binary must be free of, with everything that it depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every package that a package is built from, itself included, without those of build scripts and tests.
fn dependencies_of(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

/// The dependencies that each of our packages names in its manifest.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let folders = ["shared", "functions"].map(|folder| root().join(folder));
    let packages = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut packages: Vec<PathBuf> = packages.map(|entry| entry.unwrap().path()).collect();
    packages.retain(|package| package.join("Cargo.toml").exists());
    packages.push(root().join("local"));
    packages
        .iter()
        .map(|package| manifest(&package.join("Cargo.toml")))
        .collect()
}

fn manifest(path: &Path) -> (String, BTreeSet<String>) {
    let text = fs::read_to_string(path).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
    let (_, dependencies) = text.split_once("[dependencies]\n").unwrap();
    let dependencies = dependencies.lines().take_while(|line| !line.starts_with('['));
    let names = dependencies
        .filter_map(|line| line.split(['.', ' ']).next())
        .filter(|name| !name.is_empty());
    (name.trim_matches('"').to_owned(), names.map(str::to_owned).collect())
}

#[test]
fn each_outside_service_is_known_to_one_crate() {
    // Libraries, and the crates that may depend on them. `local` may too, because it replaces RDS, API Gateway and S3 on one machine.
    let borders: [(&[&str], &[&str]); 7] = [
        (
            &[
                "tokio-postgres",
                "deadpool",
                "tokio-postgres-rustls",
                "refinery",
                "postgres-protocol",
            ],
            &["annals-store", "local"],
        ),
        (
            &["axum", "lambda_http", "tower", "tower-http", "hyper"],
            &[
                "annals-http",
                "post-event",
                "audit-query",
                "csv-upload",
                "annals-console",
                "local",
            ],
        ),
        (&["aws-sdk-sqs"], &["annals-queue"]),
        (
            &["aws-sdk-secretsmanager", "aws-sigv4", "aws-smithy-http-client"],
            &["annals-aws"],
        ),
        (&["jsonschema"], &["annals-domain"]),
        (&["jsonwebtoken"], &["annals", "annals-storage", "local"]),
        (
            &["tracing-subscriber", "json-subscriber"],
            &["annals-telemetry", "local"],
        ),
    ];
    let manifests = manifests();
    assert!(manifests.len() > 12, "{manifests:?}");
    for (libraries, owners) in borders {
        for (package, dependencies) in &manifests {
            let found = libraries.iter().find(|library| dependencies.contains(**library));
            if let Some(library) = found {
                assert!(
                    owners.contains(&package.as_str()),
                    "{package} depends on {library}; only {owners:?} may"
                );
            }
        }
    }
}

#[test]
fn the_domain_does_no_io() {
    let dependencies = dependencies_of("annals-domain");
    let io = [
        "tokio",
        "futures-util",
        "reqwest",
        "hyper",
        "axum",
        "tracing",
        "socket2",
        "mio",
    ];
    assert_eq!(io.iter().find(|library| dependencies.contains(**library)), None);
    let ours = dependencies.iter().filter(|name| name.starts_with("annals"));
    assert_eq!(ours.collect::<Vec<_>>(), ["annals-domain"]);
}

#[test]
fn a_function_is_built_from_what_it_uses() {
    let http = ["axum", "lambda_http", "annals-http"];
    let schemas = ["jsonschema"];
    let queue = ["annals-queue", "aws-sdk-sqs"];
    let storage = ["annals-storage"];
    let files = ["annals-csv", "annals-import"];
    let free_of: [(&str, &[&[&str]]); 6] = [
        ("post-event", &[&storage, &files]),
        ("audit-query", &[&schemas, &queue, &storage, &files, &["annals-append"]]),
        (
            "annals-console",
            &[&schemas, &queue, &storage, &files, &["annals-append"]],
        ),
        ("importer", &[&http]),
        ("projector", &[&http, &schemas, &storage, &files, &["annals-append"]]),
        (
            "migrate",
            &[&http, &schemas, &queue, &storage, &files, &["annals-append"]],
        ),
    ];
    for (function, absent) in free_of {
        let dependencies = dependencies_of(function);
        let found: Vec<&&str> = absent
            .iter()
            .copied()
            .flatten()
            .filter(|name| dependencies.contains(**name))
            .collect();
        assert_eq!(found, [] as [&&str; 0], "{function} is built from these");
    }
}

/// `pg_stat_statements` shows a statement's first line, which leads back to the function that sends it.
#[test]
fn every_statement_of_the_store_has_a_name_of_its_own() {
    let mut texts = Vec::new();
    collect(&root().join("shared/store/src"), &mut texts);
    let mut names = Vec::new();
    for text in &texts {
        // In a file of its own, or in a literal.
        let starts = text
            .match_indices("-- ")
            .filter(|(at, _)| *at == 0 || text[..*at].ends_with('"'));
        for (at, _) in starts {
            let name = text[at + 3..].split(['\n', '\\', '"']).next().unwrap();
            // A macro that puts a statement together takes its name as an argument; round_trips.rs checks what is sent.
            if !name.is_empty() {
                assert!(
                    name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                    "{name:?} is no function's name"
                );
                names.push(name);
            }
        }
    }
    assert!(names.len() > 100, "{names:?}");
    names.sort_unstable();
    let repeated: Vec<&[&str]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert_eq!(repeated, [] as [&[&str]; 0]);
}

fn collect(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            None => collect(&path, texts),
            Some("rs" | "sql") => texts.push(fs::read_to_string(&path).unwrap()),
            Some(_) => {}
        }
    }
}
