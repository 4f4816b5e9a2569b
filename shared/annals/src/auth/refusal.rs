//! Why a token is refused. The messages help the sender, but reveal neither keys nor the configured audience and issuer. Claims are
//! checked after the signature, so only the sender of a correctly signed token learns what its claims must be.

use jsonwebtoken::errors::{Error, ErrorKind};

/// A fault of a token. `Display` is the message for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Larger than 8 KiB.
    #[error("the token is larger than 8 KiB")]
    TooLarge,
    /// Not a JSON Web Token.
    #[error("the token is not a signed JSON Web Token")]
    Malformed,
    /// The header requires extensions that this server does not support.
    #[error("the token requires extensions (crit) that this server does not support")]
    Critical,
    /// The key is unknown, or has another algorithm.
    #[error("the token uses a key or an algorithm that this server does not accept")]
    Key,
    /// The signature does not match the key.
    #[error("the token's signature does not match: it was signed with another key, or changed afterwards")]
    Signature,
    /// `exp` is in the past.
    #[error("the token has expired: get a new one")]
    Expired,
    /// `nbf` is in the future.
    #[error("the token is not valid yet (nbf)")]
    NotYetValid,
    /// `aud` is another audience.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// `iss` is another issuer.
    #[error("the token is from another issuer (iss)")]
    Issuer,
    /// `exp`, `nbf` or `iat` is not a valid time.
    #[error("the token's times (exp, nbf, iat) must be seconds since 1970, before the year 10000")]
    Times,
    /// A required claim is missing.
    #[error("the token lacks a claim: exp, aud and sub are required, and iss if an issuer is configured")]
    Incomplete,
    /// A claim has an unusable value.
    #[error("the token's claims are invalid: {0}")]
    Claims(&'static str),
}

impl TokenFault {
    /// Stable code of the answer.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "token_too_large",
            Self::Malformed => "token_malformed",
            Self::Critical => "token_critical_header",
            Self::Key => "token_key",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Issuer => "token_issuer",
            Self::Times => "token_times",
            Self::Incomplete => "token_incomplete",
            Self::Claims(_) => "token_claims",
        }
    }
}

impl From<Error> for TokenFault {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
                Self::Key
            }
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYetValid,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidClaimFormat(_) => Self::Times,
            ErrorKind::MissingRequiredClaim(_) => Self::Incomplete,
            ErrorKind::Json(_) => Self::Claims("sub must be a uuid, role a string, app_metadata an object"),
            _ => Self::Malformed,
        }
    }
}
