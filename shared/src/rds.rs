//! RDS' IAM authentication: instead of a password, a request to `rds-db:connect` that was signed and never sent. PostgreSQL on
//! RDS verifies it when a connection is made; it is good for fifteen minutes, so each connection gets one of its own.
//!
//! By `aws-sigv4`, which the SDK brings along, in place of `aws-sdk-rds`, whose hundreds of operations would come with the one.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::aws;

/// Lifetime of a token. Longer ones are refused.
const LIVES: Duration = Duration::from_secs(900);

/// All but the characters that stand for themselves in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Makes tokens.
#[derive(Clone)]
pub struct Signer {
    credentials: SharedCredentialsProvider,
    region: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The function has no role, or no region.
    #[error("{0} is not known")]
    Unknown(&'static str),
    /// The role's credentials cannot be had.
    #[error("no credentials to sign with")]
    Credentials(#[from] CredentialsError),
    /// The request cannot be signed.
    #[error("the token cannot be signed")]
    Signing(#[from] SigningError),
    /// The credentials lack what a signature takes.
    #[error("the credentials cannot sign")]
    Incomplete(#[from] v4::signing_params::BuildError),
}

impl Signer {
    /// Signs as the function's role, for its region.
    ///
    /// # Errors
    /// A process that runs as nobody or nowhere.
    pub fn of_function() -> Result<Self, TokenError> {
        let settings = aws::settings();
        let credentials = settings.credentials_provider().ok_or(TokenError::Unknown("the role"))?;
        let region = settings.region().ok_or(TokenError::Unknown("the region"))?;
        Ok(Self::new(credentials, region.to_string()))
    }

    /// Signs with these credentials.
    pub fn new(credentials: SharedCredentialsProvider, region: String) -> Self {
        Self { credentials, region }
    }

    /// A token that lets `user` in at this address, from now on.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn token(&self, host: &str, port: u16, user: &str) -> Result<String, TokenError> {
        let credentials = self.credentials.provide_credentials().await?;
        sign_token(credentials, &self.region, (host, port), user, SystemTime::now())
    }
}

fn sign_token(
    credentials: Credentials,
    region: &str,
    (host, port): (&str, u16),
    user: &str,
    now: SystemTime,
) -> Result<String, TokenError> {
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(LIVES);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let user = utf8_percent_encode(user, QUERY);
    let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (instructions, _signature) = sign(request, &params)?.into_parts();
    let (_headers, query) = instructions.into_parts();
    let mut token = format!("{host}:{port}/?Action=connect&DBUser={user}");
    for (name, value) in query {
        token += &format!("&{name}={}", utf8_percent_encode(&value, QUERY));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(credentials: Credentials, user: &str) -> String {
        let place = ("prod-instance.us-east-1.rds.amazonaws.com", 3306);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_724_709_600);
        sign_token(credentials, "us-east-1", place, user, now).expect("a token")
    }

    /// The example that AWS' own SDK is tested with.
    #[test]
    fn the_token_is_the_one_that_aws_makes() {
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        assert_eq!(
            token(credentials, "peccy"),
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20240826T220000Z&X-Amz-Expires=900\
             &X-Amz-SignedHeaders=host&X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89"
        );
    }

    /// A function's credentials always have one; what is checked here is that it is signed and sent.
    #[test]
    fn a_session_token_is_part_of_it() {
        let credentials = Credentials::new("akid", "secret", Some("a/session+token=".to_owned()), None, "test");
        let token = token(credentials, "annals_api");
        assert!(
            token.contains("&X-Amz-Security-Token=a%2Fsession%2Btoken%3D"),
            "{token}"
        );
    }
}
