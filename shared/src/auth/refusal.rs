//! Why a token is refused, in words that help whoever sent it and tell nothing that a token's bearer does not know: neither keys nor
//! what would be accepted in place of a wrong value. Claims are judged after the signature, so only a token of ours hears about them.

use jsonwebtoken::errors::{Error, ErrorKind};

/// Why a token names no caller. `Display` is the sentence that its bearer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Larger than any token of ours.
    #[error("the token is larger than 8 KiB")]
    TooLarge,
    /// No JSON Web Token.
    #[error("the token is not a signed JSON Web Token")]
    Malformed,
    /// Its header demands something that this server does not know.
    #[error("the token's header names extensions (crit) that this server does not know")]
    Critical,
    /// Its key is not among those that are known, or not for its algorithm.
    #[error("the token names a key or an algorithm that this server does not accept")]
    Key,
    /// The signature is not one by its key.
    #[error("the token's signature does not match: it was signed with another key, or changed afterwards")]
    Signature,
    /// Past its `exp`.
    #[error("the token has expired: get a new one")]
    Expired,
    /// Before its `nbf`.
    #[error("the token is not valid yet (nbf)")]
    NotYetValid,
    /// For somebody else.
    #[error("the token is for another audience (aud)")]
    Audience,
    /// By somebody else.
    #[error("the token is from another issuer (iss)")]
    Issuer,
    /// `exp`, `nbf` or `iat` is no time.
    #[error("the token's times (exp, nbf, iat) must be seconds since 1970, before the year 10000")]
    Times,
    /// A claim is missing.
    #[error("the token lacks a claim: it needs exp, aud and sub, and iss where an issuer is configured")]
    Incomplete,
    /// A claim is not what it should be.
    #[error("the token's claims are not usable: {0}")]
    Claims(&'static str),
}

impl TokenFault {
    /// The stable code of the answer.
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
            ErrorKind::Json(_) => Self::Claims("sub must be a uuid, role a text, app_metadata an object"),
            _ => Self::Malformed,
        }
    }
}
