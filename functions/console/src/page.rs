//! What all pages share: their layout, and the headers that protect them.

use annals_http::{digest_of, unless_known};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::asset;

/// The policy of a page without scripts. A browser then loads nothing that this server does not answer, and no other page can frame it.
pub const STATIC_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The policy of everything else that this function answers: scripts, styles, problems. It applies if one of them is opened as a page.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The pages that the bar at the top of each page leads to.
const BAR: [(&str, &str); 4] = [
    ("/docs", "Try the API"),
    ("/redoc", "Reference"),
    ("/docs/problems", "Problems"),
    ("/api/v1/openapi.json", "OpenAPI document"),
];

/// A page.
pub struct Page {
    /// The title. The browser shows it with ` · Annals`.
    pub title: String,
    /// The path in the bar that this page belongs to.
    pub section: &'static str,
    /// What it adds to the head: styles and scripts.
    pub head: Markup,
    /// What is below the bar.
    pub main: Markup,
    /// Its Content-Security-Policy.
    pub policy: &'static str,
}

impl Page {
    /// The page with status 200, or 304 if the client has it. A browser asks each time whether the page has changed.
    pub fn answer(self, request: &HeaderMap) -> Response {
        let policy = self.policy;
        let text = self.text();
        let tag = format!("\"{}\"", digest_of(text.as_bytes()));
        let mut response = unless_known(request, &tag, None, Html(text));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        response
    }

    /// The page with status 404.
    pub fn not_found(self) -> Response {
        let policy = [(header::CONTENT_SECURITY_POLICY, self.policy)];
        (StatusCode::NOT_FOUND, policy, Html(self.text())).into_response()
    }

    fn text(self) -> String {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " · Annals" }
                    link rel="icon" type="image/svg+xml" href=(asset::ICON.path());
                    link rel="stylesheet" href=(asset::PAGES_STYLE.path());
                    (self.head)
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.bar {
                        nav aria-label="Pages" {
                            @for (path, name) in BAR {
                                a href=(path) aria-current=[(path == self.section).then_some("page")] { (name) }
                            }
                        }
                    }
                    (self.main)
                }
            }
        };
        markup.into_string()
    }
}

/// Adds the headers that every answer of this function has.
pub async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    response
}
