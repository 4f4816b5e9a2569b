//! Cursors: opaque, and valid only for the list and filter that they were made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::ApiError;

/// Bytes of the checksum. It detects damaged cursors, and cursors of other lists or filters. It need not be secret: a cursor only
/// names a position among rows that the policies allow anyway.
const CHECK_BYTES: usize = 8;

/// Encodes and decodes the cursors of one list with one filter.
#[derive(Debug, Clone)]
pub struct Cursor {
    scope: Vec<u8>,
}

impl Cursor {
    /// Cursors of the list with this name and filter.
    pub fn of(list: &str, filter: &impl Serialize) -> Self {
        let mut scope = list.as_bytes().to_vec();
        scope.push(0);
        scope.extend(serde_json::to_vec(filter).unwrap_or_default());
        Self { scope }
    }

    /// The cursor of the page after this key.
    pub fn encode(&self, key: &str) -> String {
        let mut bytes = self.check(key).to_vec();
        bytes.extend(key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key after which the page of this cursor begins.
    ///
    /// # Errors
    /// 400 `invalid_cursor` if it is malformed, cut, or belongs to another list or filter.
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

    /// As [`Self::decode`], for keys that are numbers.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_number(&self, cursor: &str) -> Result<i64, ApiError> {
        let key = self.decode(cursor)?;
        key.parse().map_err(|_| Self::invalid())
    }

    /// 400: this is not a cursor of this list.
    pub fn invalid() -> ApiError {
        ApiError::bad_request(
            "invalid_cursor",
            "the cursor does not belong to this list with these parameters: send it with the parameters of the request that \
             returned it, or leave it out to start from the beginning",
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
    fn cursors_are_valid_only_for_their_own_list_and_filter() {
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
