//! The pages of problem codes.

use annals_openapi::{document, problem_codes};
use axum::http::StatusCode;

use super::get;

/// As a page shows it.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[test]
fn the_pages_have_the_codes_of_the_document() {
    let codes = document()["components"]["schemas"]["ProblemCode"]["oneOf"]
        .as_array()
        .unwrap();
    let documented: Vec<&str> = codes.iter().map(|code| code["const"].as_str().unwrap()).collect();
    let shown: Vec<&str> = problem_codes().iter().map(|code| code.name.as_str()).collect();
    assert!(shown.len() > 100, "{shown:?}");
    assert_eq!(shown, documented);
}

#[tokio::test]
async fn every_code_has_a_page_that_says_what_it_means_and_what_to_do() {
    for code in problem_codes() {
        let answer = get(&format!("/docs/problems/{}", code.name)).await;
        assert_eq!(answer.status, 200, "{}", code.name);
        let page = answer.text();
        assert!(page.contains(&format!("<h1><code>{}</code></h1>", code.name)), "{page}");
        assert!(
            page.contains(&format!("<title>{} · Annals</title>", code.name)),
            "{page}"
        );
        for text in [&code.meaning, &code.action] {
            assert!(page.contains(&format!("<p>{}</p>", escaped(text))), "{text}: {page}");
        }
        for status in &code.statuses {
            let status = StatusCode::from_u16(*status).unwrap();
            assert!(page.contains(&status.to_string()), "{status}: {page}");
        }
        // The `type` of an answered problem. `Answer::problem` of the tests' library compares every one.
        let member = escaped(&format!("\"type\": \"/docs/problems/{}\"", code.name));
        assert!(page.contains(&member), "{page}");
    }
}

#[tokio::test]
async fn the_list_has_every_code_under_each_of_its_statuses() {
    let answer = get("/docs/problems").await;
    let page = answer.text();
    for code in problem_codes() {
        let link = format!("<a href=\"/docs/problems/{0}\"><code>{0}</code></a>", code.name);
        assert_eq!(page.matches(&link).count(), code.statuses.len(), "{}", code.name);
        for text in [&code.meaning, &code.action] {
            assert!(page.contains(&format!("<p>{}</p>", escaped(text))), "{text}");
        }
    }
    let mut sections = page.split("<section ").skip(1);
    let first = sections.next().unwrap();
    assert!(
        first.starts_with("aria-labelledby=\"400\"><h2 id=\"400\">400 Bad Request</h2>"),
        "{first:.100}"
    );
    assert!(first.contains("/docs/problems/malformed_json\"") && !first.contains("/docs/problems/not_found\""));
}

#[tokio::test]
async fn an_unknown_code_is_answered_by_a_page_with_404_that_repeats_nothing() {
    for code in ["nothing", "NOT_FOUND", "%3Cscript%3E", "not_found%20"] {
        let answer = get(&format!("/docs/problems/{code}")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "text/html; charset=utf-8"),
            "{code}"
        );
        assert_eq!(answer.header("cache-control"), "private, no-store");
        assert!(answer.text().contains("<h1>Unknown problem</h1>"), "{code}");
        assert!(!answer.text().contains("script"), "{code}");
    }
}
