//! A large file through the server of `cargo run`: the address, the folder, and the importer in the same process.

use reqwest::Client;
use serde_json::{Value, json};
use tests::{DataDir, Local};

use super::{figures, file};

#[tokio::test]
async fn local_takes_a_large_file_at_its_address_and_imports_it() {
    let (data_dir, http) = (DataDir::fresh(), Client::new());
    let local = Local::start(&data_dir.0);
    let asked = local
        .post_and_read(&http, "/data/uploads", &json!({"dataset": "sales"}), 201)
        .await;
    let (url, id) = (asked["url"].as_str().unwrap(), asked["upload_id"].as_str().unwrap());
    // Larger than any request to a function.
    let content = file(120_000);
    assert!(content.len() > annals_http::MAX_BODY_BYTES);

    let other = url.replace(id, "0198c0de-0000-7000-8000-000000000000");
    for (wrong, status) in [
        (other.as_str(), 403),
        (url.split('?').next().unwrap(), 403),
        (&format!("{url}x"), 403),
    ] {
        let answer = http.put(wrong).body("sale_id").send().await.unwrap();
        assert_eq!(answer.status(), status, "{wrong}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "address_expired");
    }
    assert_eq!(http.put(url).body(content).send().await.unwrap().status(), 200);
    let done = loop {
        let upload = local.get(&http, &format!("/data/uploads/{id}")).await;
        if upload["finished_at"].is_string() {
            break upload;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(figures(&done), [120_000, 119_880, 120, 0, 0, 1_200, 119_880]);
    let kept = std::fs::read_dir(data_dir.0.join("uploads")).unwrap().count();
    assert_eq!(kept, 0);
}

/// Ctrl-C does not wait for an import. The next start continues it, and deletes files that no import needs.
#[tokio::test]
async fn local_stops_during_an_import_and_continues_it_at_the_next_start() {
    let (data_dir, http) = (DataDir::fresh(), Client::new());
    let mut local = Local::start(&data_dir.0);
    let asked = local
        .post_and_read(&http, "/data/uploads", &json!({"dataset": "sales"}), 201)
        .await;
    let (url, id) = (asked["url"].as_str().unwrap(), asked["upload_id"].as_str().unwrap());
    let sent = http.put(url).body(file(100_000)).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let path = format!("/data/uploads/{id}");
    while local.get(&http, &path).await["rows_total"] == 0 {
        tokio::task::yield_now().await;
    }
    assert!(local.stop());
    let folder = data_dir.0.join("uploads");
    let stranger = "0198c0de-0000-7000-8000-000000000000";
    for name in [
        stranger.to_owned(),
        format!("{stranger}.{stranger}"),
        format!("{id}.{stranger}"),
        "mine.csv".to_owned(),
    ] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    let local = Local::start(&data_dir.0);
    let upload = local.get(&http, &path).await;
    assert_eq!(upload["status"], "running", "{upload}");
    while folder.join(stranger).exists() {
        tokio::task::yield_now().await;
    }
    let mut left: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [id, "mine.csv"]);
}
