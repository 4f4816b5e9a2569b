//! Cursors: opaque, and good for the list and filter that they were made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::ApiError;

/// Bytes of the check: it tells accidents and other filters, and secrecy is not its business, since a cursor only says where
/// to go on among rows that policies let through anyway.
const CHECK_BYTES: usize = 8;

/// What a list's cursors belong to.
#[derive(Debug, Clone)]
pub struct Cursor {
    scope: Vec<u8>,
}

impl Cursor {
    /// Cursors of the list of this name with this filter.
    pub fn of(list: &str, filter: &impl Serialize) -> Self {
        let mut scope = list.as_bytes().to_vec();
        scope.push(0);
        scope.extend(serde_json::to_vec(filter).unwrap_or_default());
        Self { scope }
    }

    /// The cursor that goes on after this key.
    pub fn encode(&self, key: &str) -> String {
        let mut bytes = self.check(key).to_vec();
        bytes.extend(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key that a cursor goes on after.
    ///
    /// # Errors
    /// 400 for one that is garbage, cut, or another list's or filter's.
    pub fn decode(&self, cursor: &str) -> Result<String, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Self::invalid())?;
        let (check, key) = bytes.split_at_checked(CHECK_BYTES).ok_or_else(Self::invalid)?;
        let key = std::str::from_utf8(key).map_err(|_| Self::invalid())?;
        if check == self.check(key) {
            Ok(key.to_owned())
        } else {
            Err(Self::invalid())
        }
    }

    /// The same for keys that are numbers.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_number(&self, cursor: &str) -> Result<i64, ApiError> {
        let key = self.decode(cursor)?;
        key.parse().map_err(|_| Self::invalid())
    }

    /// 400: the cursor is none, or another list's.
    pub fn invalid() -> ApiError {
        ApiError::bad_request(
            "invalid_cursor",
            "the cursor is not one of this list with these parameters: send it with the parameters of the request that gave it, \
             or leave it out to begin anew",
        )
    }

    fn check(&self, key: &str) -> [u8; CHECK_BYTES] {
        let digest = Sha256::new()
            .chain_update(&self.scope)
            .chain_update([0])
            .chain_update(key)
            .finalize();
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&digest[..CHECK_BYTES]);
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_good_for_their_own_list_and_filter_only() {
        let cursor = Cursor::of("events", &"filter");
        let encoded = cursor.encode("42");
        assert_eq!(cursor.decode_number(&encoded).ok(), Some(42));
        assert!(Cursor::of("events", &"other").decode(&encoded).is_err());
        assert!(Cursor::of("audit", &"filter").decode(&encoded).is_err());
        assert!(cursor.decode(&encoded[..encoded.len() - 1]).is_err());
        for garbage in ["", "AAAA", "%%%", "ü"] {
            assert!(cursor.decode(garbage).is_err(), "{garbage}");
        }
    }
}
