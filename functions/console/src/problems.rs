//! The pages of problems. The member `type` of each problem is the path of its page.

use annals_http::{ApiError, Path};
use annals_openapi::{ProblemCode, problem_codes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::page::{Page, STATIC_POLICY};

/// `GET /docs/problems`: every code, by status.
pub async fn list(request: HeaderMap) -> Response {
    let statuses = statuses();
    page(
        "Problems",
        html! {
            h1 { "Problems" }
            p {
                "A request that Annals refuses is answered with a problem "
                "(RFC 9457, " code { "application/problem+json" } "). Programs decide by its " code { "code" } ". "
                code { "detail" } " says to people what is wrong, and " code { "errors" } " names each field at fault. "
                code { "type" } " is the path of the code's page. "
                "Every answer has a " code { "request_id" } ", under which the server's log has more."
            }
            nav aria-label="Statuses" {
                ul.statuses {
                    @for status in &statuses {
                        li { a href={ "#" (status) } { (named(*status)) } }
                    }
                }
            }
            @for status in &statuses {
                section aria-labelledby=(status) {
                    h2 id=(status) { (named(*status)) }
                    dl {
                        @for code in problem_codes().iter().filter(|code| code.statuses.contains(status)) {
                            dt { a href={ "/docs/problems/" (code.name) } { code { (code.name) } } }
                            dd {
                                p { (code.meaning) }
                                p { (code.action) }
                            }
                        }
                    }
                }
            }
        },
    )
    .answer(&request)
}

/// `GET /docs/problems/{code}`: one code.
pub async fn show(Path(name): Path<String>, request: HeaderMap) -> Result<Response, ApiError> {
    match problem_codes().iter().find(|code| code.name == name) {
        Some(code) => Ok(page(&code.name, about(code)).answer(&request)),
        None => Ok(page("Unknown problem", unknown()).not_found()),
    }
}

fn page(title: &str, content: Markup) -> Page {
    Page {
        title: title.to_owned(),
        section: "/docs/problems",
        head: Markup::default(),
        main: html! { main #main .text tabindex="-1" { (content) } },
        policy: STATIC_POLICY,
    }
}

fn about(code: &ProblemCode) -> Markup {
    html! {
        h1 { code { (code.name) } }
        p.status {
            @for (place, status) in code.statuses.iter().enumerate() {
                @if place > 0 { " or " }
                a href={ "/docs/problems#" (status) } { (named(*status)) }
            }
        }
        h2 { "What it means" }
        p { (code.meaning) }
        h2 { "What to do" }
        p { (code.action) }
        h2 { "The answer" }
        pre tabindex="0" { code { (example(code)) } }
        p { a href="/docs/problems" { "All problems" } }
    }
}

/// The members that all answers with this code have in common.
fn example(code: &ProblemCode) -> String {
    let status = code.statuses.first().copied().unwrap_or_default();
    let (title, name) = (title_of(status), &code.name);
    format!(
        "{{\n  \"type\": \"/docs/problems/{name}\",\n  \"title\": \"{title}\",\n  \"status\": {status},\n  \"code\": \"{name}\",\n  \
         \"detail\": \"…\",\n  \"request_id\": \"…\"\n}}"
    )
}

fn unknown() -> Markup {
    html! {
        h1 { "Unknown problem" }
        p { "There is no problem with this code. " a href="/docs/problems" { "All problems" } }
    }
}

/// The statuses that problems have, in ascending order.
fn statuses() -> Vec<u16> {
    let mut statuses: Vec<u16> = problem_codes().iter().flat_map(|code| code.statuses.clone()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn named(status: u16) -> String {
    format!("{status} {}", title_of(status))
}

fn title_of(status: u16) -> &'static str {
    let status = StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or_default()
}
