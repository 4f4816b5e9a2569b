//! Signs requests to AWS (Signature Version 4), for services that are called without their SDK crate.
//!
//! This uses `aws-sigv4`, which the SDK includes anyway. The SDK crates of S3 and RDS would each be as large as a whole function.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningError,
    SigningInstructions, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::settings;

/// Encodes everything except the characters that a query may contain unencoded (RFC 3986, unreserved).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Signs requests to one service in one region.
#[derive(Clone)]
pub struct RequestSigner {
    credentials: SharedCredentialsProvider,
    region: String,
    service: Service,
}

/// A service, with what its signatures need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// RDS, for logging in to a database. The body is empty.
    Rds,
    /// S3. The body is not signed.
    S3,
}

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The function has no role, or no region.
    #[error("{0} is not known")]
    Unknown(&'static str),
    /// The credentials of the role cannot be obtained.
    #[error("no credentials to sign with")]
    Credentials(#[from] CredentialsError),
    /// The request cannot be signed.
    #[error("the request cannot be signed")]
    Signing(#[from] SigningError),
    /// The credentials lack something that a signature needs.
    #[error("the credentials cannot sign")]
    Incomplete(#[from] v4::signing_params::BuildError),
}

impl RequestSigner {
    /// Signs with the function's role, for its region.
    ///
    /// # Errors
    /// [`SignError::Unknown`]: the process has no credentials or no region.
    pub fn of_function(service: Service) -> Result<Self, SignError> {
        let settings = settings::settings();
        let credentials = settings.credentials_provider().ok_or(SignError::Unknown("the role"))?;
        let region = settings.region().ok_or(SignError::Unknown("the region"))?;
        Ok(Self::new(service, credentials, region.to_string()))
    }

    /// Signs with these credentials.
    pub fn new(service: Service, credentials: SharedCredentialsProvider, region: String) -> Self {
        Self {
            credentials,
            region,
            service,
        }
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The headers that sign a request, without `host`, which every HTTP client sends.
    pub async fn headers(&self, method: &str, url: &str) -> Result<Vec<(String, String)>, SignError> {
        let (headers, _) = self.sign(method, url, None, SystemTime::now()).await?.into_parts();
        Ok(headers
            .into_iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()))
            .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            .collect())
    }

    /// The URL with a signature in its query, which anybody can use from `now` on for this lifetime.
    pub async fn presign(
        &self,
        method: &str,
        url: &str,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, SignError> {
        let (_, query) = self.sign(method, url, Some(lifetime), now).await?.into_parts();
        let mut signed = url.to_owned();
        for (name, value) in query {
            let separator = if signed.contains('?') { '&' } else { '?' };
            signed += &format!("{separator}{name}={}", encoded(&value));
        }
        Ok(signed)
    }

    async fn sign(
        &self,
        method: &str,
        url: &str,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<SigningInstructions, SignError> {
        let mut settings = SigningSettings::default();
        let (name, body) = match self.service {
            Service::Rds => ("rds-db", SignableBody::Bytes(&[])),
            Service::S3 => {
                settings.percent_encoding_mode = PercentEncodingMode::Single;
                settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
                if lifetime.is_none() {
                    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
                }
                ("s3", SignableBody::UnsignedPayload)
            }
        };
        if lifetime.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = lifetime;
        }
        let identity = self.credentials.provide_credentials().await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(name)
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let request = SignableRequest::new(method, url, std::iter::empty(), body)?;
        Ok(sign(request, &params)?.into_parts().0)
    }
}

/// Text as it may be in a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    /// The example of S3's own documentation. The access key is written in two pieces, so that scanners do not take it for a
    /// leaked one.
    #[tokio::test]
    async fn an_address_is_signed_as_s3_documents_it() {
        let credentials = Credentials::new(
            concat!("AKIA", "IOSFODNN7EXAMPLE"),
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let signer = RequestSigner::new(
            Service::S3,
            SharedCredentialsProvider::new(credentials),
            "us-east-1".to_owned(),
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let url = "https://examplebucket.s3.amazonaws.com/test.txt";
        let signed = signer.presign("GET", url, Duration::from_secs(86_400), now).await;
        let signature = "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        let signed = signed.expect("a signature");
        assert!(signed.contains(signature), "{signed}");
    }
}
