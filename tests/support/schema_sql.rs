//! `migrations/schema.sql`: the schema of a migrated database as SQL, for reading. The text is the same on PostgreSQL 15 to 18, so that a
//! test can compare it on each.

use std::path::{Path, PathBuf};

use refinery::{Migration, load_sql_migrations};
use tokio_postgres::{Client, Row};

const DEFINITIONS: &str = include_str!("schema_sql.sql");

const HEADER: &str = "\
-- The whole schema, as the migrations make it. This file is generated, for reading; nothing runs it. This command writes it anew:
--
--     cargo run -p tests --bin schema -- write
--
-- A test fails if it differs from what the migrations make. Objects are listed under the migration that creates them, in the order of
-- creation; triggers, policies and rights are listed below their table. The comment above an object or a column is its `comment on` text.
-- The owner's rights are left out, and no function may be executed by PUBLIC. Rows that migrations insert are not listed; the event types
-- are in public.event_types.
";

/// Width of the file's comments.
const WIDTH: usize = 140;

/// What `migrations/schema.sql` has to say of the database of this session, which is its owner's.
///
/// # Panics
/// When the catalogs cannot be read, or an object is not found in the migrations.
pub async fn schema_sql(owner: &Client) -> String {
    owner
        .batch_execute("begin; set local search_path = pg_catalog")
        .await
        .expect("a transaction");
    let rows = owner.query(DEFINITIONS, &[]).await.expect("definitions");
    owner.batch_execute("rollback").await.expect("its end");
    let sections = sections(&annals_store::migration_script(None));
    let places: Vec<usize> = rows.iter().map(|row| place_of(&sections, row)).collect();
    let mut text = HEADER.to_owned();
    for (place, section) in sections.iter().enumerate() {
        let made = rows.iter().zip(&places).filter(|(_, found)| **found == place);
        let made: Vec<String> = made.map(|(row, _)| definition(section, row)).collect();
        if !made.is_empty() {
            let line = "-".repeat(WIDTH - 3);
            text += &format!("\n-- {line}\n-- {}\n-- {line}\n\n{}", section.name, made.join("\n"));
        }
    }
    text
}

/// Where the file is.
pub fn schema_file() -> PathBuf {
    migrations_folder().join("schema.sql")
}

/// Where the checksums of migrations that have landed are.
pub fn landed_file() -> PathBuf {
    migrations_folder().join("landed.txt")
}

/// What `landed.txt` has to say: a line for each migration, in their order, with its name and refinery's checksum of its text.
///
/// # Panics
/// When the migrations cannot be read.
pub fn landed_lines() -> Vec<String> {
    let mut migrations = load_sql_migrations(migrations_folder()).expect("migrations");
    migrations.sort();
    let line = |migration: &Migration| format!("{migration} {}", migration.checksum());
    migrations.iter().map(line).collect()
}

fn migrations_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

/// A migration.
struct Section {
    name: String,
    sql: String,
}

/// The migrations in a script of all of them. What comes before the first is the work of the program that runs them.
fn sections(script: &str) -> Vec<Section> {
    let mut sections = vec![Section {
        name: "before the first migration".to_owned(),
        sql: String::new(),
    }];
    for line in script.lines() {
        match line.strip_prefix("-- V").and_then(|line| line.split_once("__")) {
            Some((number, name)) if number.bytes().all(|byte| byte.is_ascii_digit()) => sections.push(Section {
                name: name.to_owned(),
                sql: String::new(),
            }),
            _ => {
                let section = sections.last_mut().expect("the first one");
                section.sql.push_str(line);
                section.sql.push('\n');
            }
        }
    }
    sections
}

/// The number of the section that creates an object. Roles and schemas are made by the first migration, by statements that it puts together.
fn place_of(sections: &[Section], row: &Row) -> usize {
    let (kind, name): (&str, &str) = (row.get("kind"), row.get("name"));
    let begins = match kind {
        "role" | "schema" => return 1,
        // Made before the first migration.
        _ if ["annals.schema_history", "annals_locks.migrations"].contains(&name) => return 0,
        // The sequence of an identity column comes with its table, and has a comment.
        "sequence" => vec![format!("create sequence {name}"), format!("comment on sequence {name}")],
        kind => vec![format!("create {kind} {name}")],
    };
    // The function that writes a state table is made where the table is registered.
    let table = name.strip_prefix("annals.fill_").unwrap_or_default();
    // And the functions of lists by a function that puts them together.
    let made = [
        format!("annals.register_state_table('public.{table}'"),
        format!("annals.make_event_list('{name}'"),
    ];
    let begins = [begins, made.to_vec()].concat();
    let makes = |section: &Section| begins.iter().any(|begin| begins_somewhere(&section.sql, begin));
    sections
        .iter()
        .position(makes)
        .unwrap_or_else(|| panic!("no migration creates {kind} {name}"))
}

/// Whether a text has these words, and not merely the beginning of a longer word.
fn begins_somewhere(sql: &str, words: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    sql.match_indices(words)
        .any(|(at, _)| !sql[at + words.len()..].starts_with(is_word))
}

fn definition(section: &Section, row: &Row) -> String {
    let (kind, name, body): (&str, &str, &str) = (row.get("kind"), row.get("name"), row.get("body"));
    let mut text = row
        .get::<_, Option<&str>>("comment")
        .map_or_else(String::new, |comment| wrapped(comment, "-- ", "-- "));
    match kind {
        "view" => {
            for column in row.get::<_, &str>("columns").lines() {
                text.push_str(&wrapped(column, "--   ", "--     "));
            }
            text.push_str(view(section, name));
            text.push_str(body);
        }
        "table" => {
            for line in body.replace("(\n\n)", "()").lines() {
                match line.strip_prefix("    -- ") {
                    Some(comment) => text.push_str(&wrapped(comment, "    -- ", "    -- ")),
                    None => text += &format!("{line}\n"),
                }
            }
            text.pop();
        }
        _ => text.push_str(body),
    }
    text.push('\n');
    text
}

/// A view as its migration has it, because each version of PostgreSQL prints it in a way of its own.
fn view<'a>(section: &'a Section, name: &str) -> &'a str {
    let begin = format!("create view {name}");
    let text = section
        .sql
        .split_once(&begin)
        .map(|(before, _)| &section.sql[before.len()..]);
    let text = text.unwrap_or_else(|| panic!("no view {name} in {}", section.name));
    &text[..text.find(";\n").expect("its end") + 2]
}

/// A comment in lines of at most the file's width, the first and the others each with what they begin with.
fn wrapped(comment: &str, first: &str, others: &str) -> String {
    let mut lines = vec![first.to_owned()];
    let mut is_new = true;
    for word in comment.split_whitespace() {
        let width = lines.last().map_or(0, |line| line.chars().count());
        if !is_new && width + 1 + word.chars().count() > WIDTH {
            lines.push(others.to_owned());
            is_new = true;
        }
        let line = lines.last_mut().expect("a line");
        if !is_new {
            line.push(' ');
        }
        line.push_str(word);
        is_new = false;
    }
    lines.join("\n") + "\n"
}
