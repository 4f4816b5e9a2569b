//! Databases as earlier releases left them.

use local::cluster::OWNER;
use refinery::Target;
use tokio_postgres::Client;

use crate::cluster::{cluster, connect};
use crate::world::World;

mod migrations {
    refinery::embed_migrations!("../migrations");
}

/// A new database of this name with the migrations up to this one, and its owner's session.
pub async fn database_at(name: &str, version: i32) -> (World, Client) {
    let admin = connect(&cluster().superuser_url_of("postgres")).await;
    let create = format!("create database {name} owner {OWNER}");
    admin.batch_execute(&create).await.expect("a database");
    crate::schema_check::install_schema_check(&connect(&cluster().superuser_url_of(name)).await).await;
    let url = cluster().url_of(name);
    let mut owner = connect(&url).await;
    let schema = owner.batch_execute("create schema annals").await;
    schema.expect("a schema");
    let mut runner = migrations::migrations::runner().set_target(Target::Version(version));
    runner.set_migration_table_name("annals.schema_history");
    runner.run_async(&mut owner).await.expect("migrations");
    (World::at(name.to_owned(), &url), owner)
}
