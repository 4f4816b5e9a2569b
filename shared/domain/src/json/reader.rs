//! Reads JSON text into a value, in one pass.
//!
//! Whether the text is JSON at all has been checked before. The reader refuses what JSON allows and the log does not accept. It works on the
//! text itself, so a number's text is available before it could be rounded, and a key can never be confused with serde_json's own marker of
//! a number. On text that is not JSON it returns a fault.

use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::{json_pointer, weight};

/// Maximum number of levels of nested arrays and objects.
pub const MAX_DEPTH: usize = 64;
/// Maximum number of digits that a number may need when it is written without an exponent.
pub const MAX_DIGITS: i64 = 1_000;
/// Maximum bytes of memory that the values of one text may take (`weight::footprint`). Without this limit, 4 MiB of `{"a":1}` would take
/// 370 MB.
pub const MAX_FOOTPRINT: usize = 96 << 20;
/// Code of the fault if a text exceeds [`MAX_FOOTPRINT`].
pub const TOO_MANY_VALUES: &str = "too_many_values";

/// Why the log does not accept a text as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonFault {
    /// Stable code, e.g. `duplicate_key`.
    pub code: &'static str,
    /// JSON pointer to the place. Empty if the fault is about the whole text.
    pub pointer: String,
    /// Human-readable text: what is wrong.
    pub message: String,
}

impl JsonFault {
    /// A fault of the value that is being read.
    pub(super) fn here(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            pointer: String::new(),
            message: message.into(),
        }
    }

    /// The fault of a member or item, as a fault of what contains it.
    fn below(mut self, name: &str) -> Self {
        // There may be too many values in the whole text, so that fault has no place.
        if self.code != TOO_MANY_VALUES {
            self.pointer.insert_str(0, &json_pointer::child("", name));
        }
        self
    }
}

/// Reads the only value of a text.
pub(super) fn read(text: &str) -> Result<Value, JsonFault> {
    let mut reader = Reader {
        text,
        at: 0,
        bytes_left: MAX_FOOTPRINT,
    };
    reader.value(0)
}

struct Reader<'t> {
    text: &'t str,
    /// The next byte.
    at: usize,
    /// Bytes of memory that further values may take.
    bytes_left: usize,
}

impl<'t> Reader<'t> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonFault> {
        match self.next_byte() {
            b'{' | b'[' if depth == MAX_DEPTH => Err(JsonFault::here(
                "nesting_too_deep",
                format!("is nested more than {MAX_DEPTH} levels deep"),
            )),
            b'{' => self.object(depth).map(Value::Object),
            b'[' => self.array(depth).map(Value::Array),
            b'"' => {
                let text = self.quoted();
                self.reserve(weight::of_text(text))?;
                let malformed = |e| format!("is not a string of Unicode characters: {e}");
                let string = unquoted(text).map_err(|e| JsonFault::here("malformed_json", malformed(e)))?;
                refuse_nul(&string)?;
                Ok(Value::String(string))
            }
            b't' => Ok(self.word("true", Value::Bool(true))),
            b'f' => Ok(self.word("false", Value::Bool(false))),
            b'n' => Ok(self.word("null", Value::Null)),
            _ => self.number().map(Value::Number),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Map<String, Value>, JsonFault> {
        let mut object = Map::new();
        self.at += 1;
        loop {
            match self.next_byte() {
                b'}' => break,
                b',' => self.at += 1,
                _ => {}
            }
            self.reserve(weight::of_members(object.len() + 1) - weight::of_members(object.len()))?;
            let key = self.key()?;
            let value = self.member(&key, depth).map_err(|fault| fault.below(&key))?;
            match object.entry(key) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(entry) => {
                    let fault = JsonFault::here("duplicate_key", "occurs twice in its object");
                    return Err(fault.below(entry.key()));
                }
            };
        }
        self.at += 1;
        Ok(object)
    }

    fn key(&mut self) -> Result<String, JsonFault> {
        match self.next_byte() {
            b'"' => unquoted(self.quoted()).map_err(|e| JsonFault::here("malformed_json", e.to_string())),
            _ => Err(JsonFault::here("malformed_json", "has a member without a name")),
        }
    }

    fn member(&mut self, key: &str, depth: usize) -> Result<Value, JsonFault> {
        refuse_nul(key)?;
        if key.starts_with("$serde_json::private::") {
            let message = "is a reserved key: choose another name";
            return Err(JsonFault::here("reserved_key", message));
        }
        self.reserve(weight::of_text(key))?;
        if self.next_byte() == b':' {
            self.at += 1;
        }
        self.value(depth + 1)
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, JsonFault> {
        let mut array = Vec::new();
        self.at += 1;
        self.reserve(weight::of_items(0))?;
        loop {
            match self.next_byte() {
                b']' => break,
                b',' => self.at += 1,
                _ => {}
            }
            self.reserve(weight::of_items(1) - weight::of_items(0))?;
            let item = self.value(depth + 1);
            array.push(item.map_err(|fault| fault.below(&array.len().to_string()))?);
        }
        self.at += 1;
        Ok(array)
    }

    fn word(&mut self, word: &str, value: Value) -> Value {
        self.at += word.len();
        value
    }

    fn number(&mut self) -> Result<Number, JsonFault> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let text = self.take(self.rest().bytes().take_while(is_part).count());
        self.reserve(weight::of_text(text))?;
        if digits_needed(text) > MAX_DIGITS {
            let message = format!("has more than {MAX_DIGITS} digits when written without an exponent");
            return Err(JsonFault::here("number_too_long", message));
        }
        let malformed = |_| JsonFault::here("malformed_json", "is not a number");
        text.parse().map_err(malformed)
    }

    /// The text of a string, with its quotation marks.
    fn quoted(&mut self) -> &'t str {
        let bytes = self.rest().as_bytes();
        let mut end = 1;
        loop {
            match bytes.get(end) {
                None | Some(b'"') => break,
                // The next byte belongs to the escape; it may be a quotation mark.
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        self.take(end + 1)
    }

    /// The next byte that is not a blank; 0 at the end.
    fn next_byte(&mut self) -> u8 {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> &'t str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        taken
    }

    /// Must be called before the memory is taken.
    fn reserve(&mut self, bytes: usize) -> Result<(), JsonFault> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            let message = "the body has too many values; send less at a time";
            JsonFault::here(TOO_MANY_VALUES, message)
        })?;
        Ok(())
    }
}

/// The content of a quoted string.
fn unquoted(text: &str) -> Result<String, serde_json::Error> {
    let content = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match content {
        Some(plain) if !plain.contains('\\') => Ok(plain.to_owned()),
        _ => serde_json::from_str(text),
    }
}

fn refuse_nul(text: &str) -> Result<(), JsonFault> {
    if text.contains('\0') {
        let message = "contains the character U+0000, which cannot be stored";
        return Err(JsonFault::here("nul_character", message));
    }
    Ok(())
}

/// Digits of the number when it is written without an exponent. PostgreSQL's numeric would have to store as many.
fn digits_needed(text: &str) -> i64 {
    let count = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX / 4);
    // Most numbers are short. Their signs and points may count, too.
    if count(text) <= MAX_DIGITS && !text.contains(['e', 'E']) {
        return count(text);
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa
        .trim_start_matches('-')
        .split_once('.')
        .unwrap_or((mantissa.trim_start_matches('-'), ""));
    // An exponent that does not fit into an i64 exceeds every limit. This also refuses zeros with such an exponent, which have no use.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX / 4);
    let before = count(whole).saturating_add(exponent).max(1);
    let after = count(fraction).saturating_sub(exponent).max(0);
    before.saturating_add(after)
}
