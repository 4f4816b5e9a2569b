//! The files of pages: how they are answered, and that those of others are the ones that were reviewed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use annals_domain::hex;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::Method;
use flate2::read::GzDecoder;
use serde_json::Value;

use super::{assets, get, request};

/// Names of the files that are kept gzipped begin with these.
const COMPRESSED: [&str; 2] = ["redoc-", "swagger-ui-"];

fn vendor() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("functions/console/vendor")
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

fn is_compressed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    COMPRESSED.iter().any(|start| name.starts_with(start)) && !name.contains("-start-")
}

#[tokio::test]
async fn files_are_kept_for_ever_under_names_with_a_digest_of_their_content() {
    for path in assets().await {
        // The bytes that the program contains.
        let coding = if is_compressed(&path) { "gzip, br" } else { "identity" };
        let answer = request(Method::GET, &path, &[("accept-encoding", coding)]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        let own = &hex::encode(digest(&SHA256, &answer.body))[..16];
        assert!(path.contains(&format!("-{own}.")), "{path}: {own}");
        let media_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        assert_eq!(answer.header("content-type"), media_type, "{path}");
    }
}

#[tokio::test]
async fn large_files_are_answered_in_gzip_and_inflated_for_clients_that_do_not_accept_it() {
    let mut large = 0;
    for path in assets().await.iter().filter(|path| is_compressed(path)) {
        let packed = request(Method::GET, path, &[("accept-encoding", "gzip, br")]).await;
        let plain = get(path).await;
        let refused = request(Method::GET, path, &[("accept-encoding", "gzip;q=0, br")]).await;
        assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        assert!(
            inflated(&packed.body) == plain.body && plain.body == refused.body,
            "{path}"
        );
        assert!(packed.body.len() * 3 < plain.body.len(), "{path}");
        for answer in [&packed, &plain] {
            assert_eq!(answer.header("vary"), "accept-encoding", "{path}");
        }
        // Each form has its own tag, and is not sent to those who have one of them.
        assert_ne!(packed.header("etag"), plain.header("etag"));
        for (headers, expected) in [
            (
                [("accept-encoding", "gzip"), ("if-none-match", packed.header("etag"))],
                304,
            ),
            (
                [("accept-encoding", "br"), ("if-none-match", plain.header("etag"))],
                304,
            ),
            (
                [("accept-encoding", "br"), ("if-none-match", packed.header("etag"))],
                304,
            ),
            ([("accept-encoding", "br"), ("if-none-match", "\"another\"")], 200),
        ] {
            let answer = request(Method::GET, path, &headers).await;
            assert_eq!(answer.status, expected, "{path}: {headers:?}");
            assert_eq!(answer.body.is_empty(), expected == 304, "{path}");
        }
        large += 1;
    }
    assert_eq!(large, 3);
}

#[tokio::test]
async fn small_files_are_compressed_as_all_answers_are() {
    for path in assets().await.iter().filter(|path| !is_compressed(path)) {
        let (answer, plain) = (
            request(Method::GET, path, &[("accept-encoding", "gzip")]).await,
            get(path).await,
        );
        let is_packed = plain.body.len() > 1024;
        assert_eq!(
            answer.header("content-encoding"),
            if is_packed { "gzip" } else { "" },
            "{path}"
        );
        assert!(!is_packed || inflated(&answer.body) == plain.body, "{path}");
        let again = request(Method::GET, path, &[("if-none-match", answer.header("etag"))]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_answered_by_a_problem_that_no_cache_keeps() {
    let (name, digest) = ("/docs/assets/redoc-", "0123456789abcdef.js");
    for path in [
        format!("{name}{digest}"),
        "/docs/assets/redoc.js".to_owned(),
        "/docs/assets/..%2Fvendor%2Frenew".to_owned(),
    ] {
        let answer = get(&path).await;
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &problem["code"]),
            (404, &Value::from("not_found")),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), "private, no-store");
    }
}

/// `renew --check` makes them again from npm, in the gate.
#[test]
fn vendored_files_are_the_recorded_ones() {
    let sums = fs::read_to_string(vendor().join("SHA256SUMS")).unwrap();
    let recorded: Vec<(&str, &str)> = sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
    for (sum, name) in &recorded {
        let content = fs::read(vendor().join(name)).unwrap();
        assert_eq!(hex::encode(digest(&SHA256, &content)), *sum, "{name}");
    }
    let names = recorded.iter().map(|(_, name)| (*name).to_owned());
    let expected: BTreeSet<String> = names.chain(["SHA256SUMS", "renew"].map(str::to_owned)).collect();
    let entries = fs::read_dir(vendor()).unwrap();
    let found = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    for package in ["redoc", "swagger-ui"] {
        assert!(expected.contains(&format!("{package}.LICENSE")));
    }
}

#[test]
fn vendored_files_are_without_the_logo_and_the_maps_that_a_browser_would_ask_for() {
    for name in ["redoc.js.gz", "swagger-ui.js.gz", "swagger-ui.css.gz"] {
        let content = inflated(&fs::read(vendor().join(name)).unwrap());
        let text = String::from_utf8(content).unwrap();
        for address in ["cdn.redoc", ".js.map", ".css.map", "fonts.googleapis"] {
            assert!(!text.contains(address), "{name}: {address}");
        }
    }
}
