//! The files that pages refer to: scripts, styles, the icon.
//!
//! The name of an asset contains a digest of its content. So what is at an address never changes, and browsers and caches may keep it for
//! ever. A page of a new version refers to new addresses.
//!
//! The files of Swagger UI and ReDoc are large. They are kept gzipped (`vendor/`) and answered as they are; a client that does not accept
//! gzip gets them inflated. The small files of our own (`assets/`) are kept and answered as they were written.

use std::io::{self, Read};
use std::sync::OnceLock;

use annals_domain::hex;
use annals_http::{ApiError, Path, is_known};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::accept::accepts_gzip;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub static ICON: Asset = Asset::plain("icon", "svg", "image/svg+xml", include_bytes!("../assets/icon.svg"));
pub static PAGES_STYLE: Asset = Asset::plain("pages", "css", STYLE, include_bytes!("../assets/pages.css"));
pub static REDOC: Asset = Asset::gzipped("redoc", "js", SCRIPT, include_bytes!("../vendor/redoc.js.gz"));
pub static REDOC_START: Asset = Asset::plain("redoc-start", "js", SCRIPT, include_bytes!("../assets/redoc-start.js"));
pub static SWAGGER_UI: Asset = Asset::gzipped("swagger-ui", "js", SCRIPT, include_bytes!("../vendor/swagger-ui.js.gz"));
pub static SWAGGER_UI_START: Asset = Asset::plain(
    "swagger-ui-start",
    "js",
    SCRIPT,
    include_bytes!("../assets/swagger-ui-start.js"),
);
pub static SWAGGER_UI_STYLE: Asset = Asset::gzipped(
    "swagger-ui",
    "css",
    STYLE,
    include_bytes!("../vendor/swagger-ui.css.gz"),
);

static ALL: [&Asset; 7] = [
    &ICON,
    &PAGES_STYLE,
    &REDOC,
    &REDOC_START,
    &SWAGGER_UI,
    &SWAGGER_UI_START,
    &SWAGGER_UI_STYLE,
];

/// A file that is part of the program.
pub struct Asset {
    name: &'static str,
    extension: &'static str,
    media_type: &'static str,
    content: Content,
    digest: OnceLock<String>,
}

enum Content {
    Gzipped(&'static [u8]),
    Plain(&'static [u8]),
}

impl Asset {
    const fn gzipped(
        name: &'static str,
        extension: &'static str,
        media_type: &'static str,
        bytes: &'static [u8],
    ) -> Self {
        Self::new(name, extension, media_type, Content::Gzipped(bytes))
    }

    const fn plain(
        name: &'static str,
        extension: &'static str,
        media_type: &'static str,
        bytes: &'static [u8],
    ) -> Self {
        Self::new(name, extension, media_type, Content::Plain(bytes))
    }

    const fn new(name: &'static str, extension: &'static str, media_type: &'static str, content: Content) -> Self {
        Self {
            name,
            extension,
            media_type,
            content,
            digest: OnceLock::new(),
        }
    }

    /// The path that pages refer to.
    pub fn path(&self) -> String {
        format!("/docs/assets/{}", self.file_name())
    }

    fn file_name(&self) -> String {
        format!("{}-{}.{}", self.name, self.digest(), self.extension)
    }

    /// The first 8 bytes of the content's SHA-256.
    fn digest(&self) -> &str {
        let (Content::Gzipped(bytes) | Content::Plain(bytes)) = self.content;
        self.digest.get_or_init(|| hex::encode(&Sha256::digest(bytes)[..8]))
    }

    /// The content in the coding that the client accepts, or 304 if the client has it.
    fn answer(&self, request: &HeaderMap) -> Result<Response, ApiError> {
        let is_gzip = matches!(self.content, Content::Gzipped(_)) && accepts_gzip(request);
        let tag = format!("\"{}\"", self.digest());
        let is_known = is_known(request, &tag, None);
        let body = match self.content {
            _ if is_known => Body::empty(),
            Content::Gzipped(bytes) if !is_gzip => {
                Body::from(inflated(bytes).map_err(|e| ApiError::Internal(e.into()))?)
            }
            Content::Gzipped(bytes) | Content::Plain(bytes) => Body::from(Bytes::from_static(bytes)),
        };
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        );
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(header::ETAG, tag);
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

fn inflated(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content)?;
    Ok(content)
}

/// `GET /docs/assets/{name}`.
pub async fn answer(Path(name): Path<String>, request: HeaderMap) -> Result<Response, ApiError> {
    let asset = ALL.iter().find(|asset| asset.file_name() == name);
    asset
        .ok_or_else(|| ApiError::not_found("there is no file with this name; reload the page that refers to it"))?
        .answer(&request)
}
