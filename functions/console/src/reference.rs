//! The OpenAPI document for readers: `/docs` (Swagger UI, which can also send requests) and `/redoc` (ReDoc, for reading).
//!
//! Both load `/api/v1/openapi.json` from this server in the browser. A token that is entered in `/docs` stays in the page and is sent only to
//! this server. Nothing is ever asked of another origin: the policies forbid it, and the files were changed where they would
//! (`vendor/renew`).

use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use maud::{Markup, html};

use crate::asset::{self, Asset};
use crate::page::Page;

/// Scripts and styles are files of this server: nothing inline, no `eval`. Swagger UI's style refers to pictures that are part of it (`data:`).
const SWAGGER_UI_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same, and what ReDoc does besides:
///
/// - It adds two styles to the page, which the policy names by their digests. The first is empty; ReDoc fills it by scripting, rule by rule,
///   which is no inline style. The second is of its scroll bars. If a new version of ReDoc changes it, `tests/browser` fails and Chromium's
///   message has the new digest.
/// - Its search runs in a worker, which it starts from its own text (`blob:`).
const REDOC_POLICY: &str = "default-src 'none'; script-src 'self'; worker-src blob:; style-src 'self' \
     'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /docs`.
pub async fn swagger_ui(request: HeaderMap) -> Response {
    let page = Page {
        title: "Try the API".to_owned(),
        section: "/docs",
        head: html! {
            link rel="stylesheet" href=(asset::SWAGGER_UI_STYLE.path());
            (scripts(&[&asset::SWAGGER_UI, &asset::SWAGGER_UI_START]))
        },
        main: main_element("swagger-ui"),
        policy: SWAGGER_UI_POLICY,
    };
    page.answer(&request)
}

/// `GET /docs/`.
pub async fn without_slash() -> Redirect {
    Redirect::permanent("/docs")
}

/// `GET /redoc`.
pub async fn redoc(request: HeaderMap) -> Response {
    let page = Page {
        title: "Reference".to_owned(),
        section: "/redoc",
        head: scripts(&[&asset::REDOC, &asset::REDOC_START]),
        main: main_element("redoc"),
        policy: REDOC_POLICY,
    };
    page.answer(&request)
}

/// Scripts that run in this order, after the page was read.
fn scripts(assets: &[&Asset]) -> Markup {
    html! {
        @for asset in assets {
            script src=(asset.path()) defer {}
        }
    }
}

/// The element that the script fills.
fn main_element(id: &str) -> Markup {
    html! {
        main #main tabindex="-1" {
            div id=(id) {}
            noscript {
                p { "This page needs JavaScript. Without it, read the " a href="/api/v1/openapi.json" { "OpenAPI document" } "." }
            }
        }
    }
}
