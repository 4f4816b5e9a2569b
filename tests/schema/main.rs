//! The schema that the migrations make, as text: one line for each thing, in an order that depends on names alone.
//!
//! `cargo run -p tests --bin schema` starts a private cluster (`ANNALS_POSTGRES` chooses the version), migrates it and prints
//! the lines. The gate compares the output of PostgreSQL 15, 16, 17 and 18: a construct that one version reads differently, or
//! does not read at all, shows as a difference.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: what fails ends it with its place, and what it finds it prints"
)]

use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use tests::connect;

/// Everything that the catalogs say about our schemas, without what differs by nature: object ids, the privilege MAINTAIN and
/// the rows for NOT NULL in `pg_constraint`, which came with 17 and 18, and the text of views, which each version writes in its
/// own way: its columns are compared instead. The catalog's rows are data, and are compared too.
const LINES: &str = include_str!("lines.sql");

#[tokio::main]
async fn main() {
    let cluster = Cluster::start(Options::ephemeral().with_settings(FAST_BUT_UNSAFE))
        .await
        .expect("a private cluster");
    annals::store::migrate(&cluster.url()).await.expect("migrations");
    let owner = connect(&cluster.url()).await;
    for row in owner.query(LINES, &[]).await.expect("the schema") {
        println!("{}", row.get::<_, String>(0));
    }
    cluster.stop().await.expect("the end of the cluster");
}
