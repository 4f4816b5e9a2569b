//! Memory of large uploads and of migrations.

use local::cluster::OWNER;
use serde_json::json;
use tests::{BUCKET, Bucket, Person, World, cluster, connect};

use super::Process;

/// Bytes in each file.
const LARGE: usize = 12 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_of_any_shape_are_imported_or_refused() {
    let (mut world, staff, bucket) = (World::new().await, Person::staff(), Bucket::default());
    let endpoint = bucket.listen().await;
    world.app.storage = Bucket::storage(&endpoint);
    world.router = local::engine::router(world.app.clone());
    let settings = [
        ("AWS_ENDPOINT_URL_S3", endpoint.as_str()),
        ("UPLOAD_BUCKET", BUCKET),
        ("DATABASE_POOL_SIZE", "5"),
    ];
    let url = world.url_as("annals_api");
    let mut function = Process::start_at(&url, "importer", "Importer", &settings).await;
    let wide = format!("2026-01-31,1.00,{}\n", "x".repeat(60_000));
    let files = [
        // Rows as wide as allowed; many empty rows; one huge cell; a quote that is never closed; many columns and nothing else.
        format!("sale_date,amount,notes\n{}", wide.repeat(LARGE / wide.len())),
        format!("sale_date,amount\n{}", "x,\n".repeat(300_000)),
        format!("sale_date,amount,notes\n2026-01-31,1,\"{}\"\n", "x".repeat(LARGE)),
        format!("sale_date,amount\n2026-01-31,\"{}", "\n".repeat(LARGE)),
        format!("sale_date,amount,{}\n2026-01-31,1\n", "a,".repeat(LARGE / 2)),
    ];
    for (place, file) in files.into_iter().enumerate() {
        for mode in ["partial", "all_or_nothing"] {
            let head: String = file.chars().take(40).collect();
            let asked = world
                .ask_for_upload(&staff, json!({"dataset": "sales", "mode": mode}))
                .await;
            Bucket::send(&asked.url, file.clone()).await;
            let event = Bucket::event(BUCKET, &format!("uploads/{}", asked.id));
            function.invoke(serde_json::from_str(&event).unwrap()).await;
            let upload = world.upload(&staff, &asked).await.expect(200).body;
            let status = upload["status"].as_str().unwrap();
            let expected: &[&str] = if place == 0 {
                &["completed"]
            } else {
                &["completed", "failed"]
            };
            assert!(expected.contains(&status), "{mode} {head}: {upload}");
        }
    }
}

/// A new database has to run the most migrations.
#[tokio::test]
async fn a_new_database_is_migrated() {
    let admin = connect(&cluster().superuser_url_of("postgres")).await;
    let create = format!("create database migrated_within_memory owner {OWNER}");
    admin.batch_execute(&create).await.unwrap();
    let url = cluster().url_of("migrated_within_memory");
    let mut function = Process::start_at(&url, "migrate", "Migrate", &[]).await;
    let answer = function.invoke(json!({"padding": "x".repeat(250_000)})).await;
    assert!(answer["applied"].is_array() || answer["applied"].is_u64(), "{answer}");
}
