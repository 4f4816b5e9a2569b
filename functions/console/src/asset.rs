//! The files that pages refer to: scripts, styles, the icon.
//!
//! The name of an asset contains a digest of its content. So what is at an address never changes, and browsers and caches may keep it for
//! ever. A page of a new version refers to new addresses.
//!
//! The files of Swagger UI and ReDoc are large. They are kept gzipped (`vendor/`) and answered as they are; a client that does not accept
//! gzip gets them inflated. The small files of our own (`assets/`) are kept and answered as they were written.

use std::io::{self, Read};
use std::sync::OnceLock;

use annals_http::{ApiError, Path, accepts_gzip, digest_of, unless_known};
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

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
        self.digest.get_or_init(|| digest_of(bytes))
    }

    /// The content in the coding that the client accepts, or 304 if the client has it.
    fn answer(&self, request: &HeaderMap) -> Result<Response, ApiError> {
        let mut coding = None;
        let body = match self.content {
            Content::Gzipped(bytes) if !accepts_gzip(request) => {
                Bytes::from(inflated(bytes).map_err(|e| ApiError::Internal(e.into()))?)
            }
            Content::Gzipped(bytes) => {
                coding = Some([(header::CONTENT_ENCODING, "gzip")]);
                Bytes::from_static(bytes)
            }
            Content::Plain(bytes) => Bytes::from_static(bytes),
        };
        let kept = [
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::VARY, "accept-encoding"),
        ];
        let tag = format!("\"{}\"", self.digest());
        let answer = ([(header::CONTENT_TYPE, self.media_type)], coding, body);
        Ok((kept, unless_known(request, &tag, None, answer)).into_response())
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
