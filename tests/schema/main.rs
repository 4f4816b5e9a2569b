//! The schema that the migrations make. It starts a private cluster (`ANNALS_POSTGRES` chooses the version) and migrates it.
//!
//! `cargo run -p tests --bin schema` prints it as text: one line for each thing, in an order that depends on names alone. The gate compares
//! the output of PostgreSQL 15, 16, 17 and 18: a construct that one version reads differently, or does not read at all, shows as a
//! difference.
//!
//! `cargo run -p tests --bin schema -- write` writes it as SQL to `migrations/schema.sql`, and adds new migrations to `migrations/landed.txt`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: what fails ends it with its place, and what it finds it prints"
)]

use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use tests::{connect, landed_file, landed_lines, schema_file, schema_sql};

/// Everything that the system catalogs contain about our schemas, except what always differs: object ids; the privilege MAINTAIN (from 17 on)
/// and the NOT NULL rows of `pg_constraint` (from 18 on); and the text of views, which each version writes differently, so their columns
/// are compared. The rows of our own catalog are data, and are compared too.
const LINES: &str = include_str!("lines.sql");

#[tokio::main]
async fn main() {
    let cluster = Cluster::start(Options::ephemeral().with_settings(FAST_BUT_UNSAFE))
        .await
        .expect("a private cluster");
    annals_store::migrate(&cluster.url()).await.expect("migrations");
    let owner = connect(&cluster.url()).await;
    if std::env::args().nth(1).is_some_and(|what| what == "write") {
        std::fs::write(schema_file(), schema_sql(&owner).await).expect("migrations/schema.sql can be written");
        add_landed();
    } else {
        for row in owner.query(LINES, &[]).await.expect("the schema") {
            println!("{}", row.get::<_, String>(0));
        }
    }
    cluster.stop().await.expect("the end of the cluster");
}

/// Adds the migrations that are not in the list yet. The others' lines stay, so that an edit shows.
fn add_landed() {
    let mut landed = std::fs::read_to_string(landed_file()).expect("migrations/landed.txt");
    let known = landed.lines().count();
    for line in landed_lines().iter().skip(known) {
        landed += line;
        landed.push('\n');
    }
    std::fs::write(landed_file(), landed).expect("migrations/landed.txt can be written");
}
