//! RDS' IAM authentication. Instead of a password, the client gives a signed request to `rds-db:connect` that is never sent.
//! RDS verifies it when a connection is opened. It is valid for fifteen minutes, so each connection gets its own.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::SharedCredentialsProvider;

use crate::signer::{RequestSigner, Service, SignError, encoded};

/// Lifetime of a token. RDS refuses longer ones.
const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// Makes tokens.
#[derive(Clone)]
pub struct TokenSigner(RequestSigner);

impl TokenSigner {
    /// Signs with the function's role, for its region.
    ///
    /// # Errors
    /// [`SignError::Unknown`]: the process has no credentials or no region.
    pub fn of_function() -> Result<Self, SignError> {
        RequestSigner::of_function(Service::Rds).map(Self)
    }

    /// Signs with these credentials.
    pub fn new(credentials: SharedCredentialsProvider, region: String) -> Self {
        Self(RequestSigner::new(Service::Rds, credentials, region))
    }

    /// A token with which `user` can log in at this address, valid from now on.
    pub async fn token(&self, host: &str, port: u16, user: &str) -> Result<String, SignError> {
        self.token_at((host, port), user, SystemTime::now()).await
    }

    async fn token_at(&self, (host, port): (&str, u16), user: &str, now: SystemTime) -> Result<String, SignError> {
        let address = format!("{host}:{port}/?Action=connect&DBUser={}", encoded(user));
        let url = format!("https://{address}");
        let signed = self.0.presign("GET", &url, TOKEN_LIFETIME, now).await?;
        Ok(signed.trim_start_matches("https://").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    async fn token(credentials: Credentials, user: &str) -> String {
        let address = ("prod-instance.us-east-1.rds.amazonaws.com", 3306);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_724_709_600);
        let signer = TokenSigner::new(SharedCredentialsProvider::new(credentials), "us-east-1".to_owned());
        signer.token_at(address, user, now).await.expect("a token")
    }

    /// The example of AWS' own SDK tests.
    #[tokio::test]
    async fn the_token_equals_the_one_of_the_aws_sdk() {
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        assert_eq!(
            token(credentials, "peccy").await,
            "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect&DBUser=peccy&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=akid%2F20240826%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20240826T220000Z&X-Amz-Expires=900\
             &X-Amz-SignedHeaders=host&X-Amz-Signature=dd0cba843009474347af724090233265628ace491ea17ce3eb3da098b983ad89"
        );
    }

    /// A function's credentials always have a session token. This checks that it is signed and sent.
    #[tokio::test]
    async fn the_session_token_is_signed_and_sent() {
        let credentials = Credentials::new("akid", "secret", Some("a/session+token=".to_owned()), None, "test");
        let token = token(credentials, "annals_api").await;
        assert!(
            token.contains("&X-Amz-Security-Token=a%2Fsession%2Btoken%3D"),
            "{token}"
        );
    }
}
