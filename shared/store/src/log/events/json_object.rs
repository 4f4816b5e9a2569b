//! Writes a JSON object member by member, as serde_json would write it. An event has 21 members; serde_json examines each name and each
//! value byte by byte for characters to escape, which takes longer than everything else about a page.

use std::io::Write as _;

use annals_domain::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// The text of an object that is not closed yet. Names of members are literals that need no escapes.
pub(crate) struct JsonObject(Vec<u8>);

impl JsonObject {
    /// An object without members, with room for this many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut text = Vec::with_capacity(bytes);
        text.push(b'{');
        Self(text)
    }

    /// An object that begins with all members of another one.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub(crate) fn with_members_of(object: &impl Serialize) -> Result<Self, serde_json::Error> {
        let mut text = serde_json::to_vec(object)?;
        text.pop();
        Ok(Self(text))
    }

    /// Closes it and returns its text.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &'static str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// Adds a member that is JSON text already.
    pub(crate) fn json(&mut self, name: &'static str, text: &str) {
        self.name(name);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Adds any value. Returns the number of bytes of its text.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub(crate) fn value(&mut self, name: &'static str, value: &impl Serialize) -> Result<usize, serde_json::Error> {
        self.name(name);
        let begin = self.0.len();
        serde_json::to_writer(&mut self.0, value)?;
        Ok(self.0.len() - begin)
    }

    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        self.name(name);
        if needs_escapes(text) {
            self.0.extend_from_slice(Value::from(text).to_string().as_bytes());
        } else {
            self.quoted(text.as_bytes());
        }
    }

    pub(crate) fn text_or_null(&mut self, name: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.json(name, "null"),
        }
    }

    pub(crate) fn uuid(&mut self, name: &'static str, uuid: Uuid) {
        self.name(name);
        let mut text = [0; Hyphenated::LENGTH];
        self.quoted(uuid.hyphenated().encode_lower(&mut text).as_bytes());
    }

    pub(crate) fn uuid_or_null(&mut self, name: &'static str, uuid: Option<Uuid>) {
        match uuid {
            Some(uuid) => self.uuid(name, uuid),
            None => self.json(name, "null"),
        }
    }

    pub(crate) fn number(&mut self, name: &'static str, number: i64) {
        self.name(name);
        // Writing to a vector cannot fail.
        let _written = write!(self.0, "{number}");
    }

    pub(crate) fn boolean(&mut self, name: &'static str, value: bool) {
        self.json(name, if value { "true" } else { "false" });
    }

    pub(crate) fn time(&mut self, name: &'static str, time: Timestamp) {
        self.name(name);
        // As above. A time has no characters to escape.
        let _written = write!(self.0, "\"{time}\"");
    }

    fn quoted(&mut self, text: &[u8]) {
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
    }
}

/// Whether JSON must escape a character of the text. All bytes are examined, without stopping at the first hit, so that the compiler can
/// examine many at once.
fn needs_escapes(text: &str) -> bool {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    text.bytes().fold(false, |found, byte| found | is_special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_serde_json_escapes_them() {
        let all: String = ('\u{0}'..'\u{100}').chain(['\u{2028}', '\u{FFFF}', '😀']).collect();
        for text in [&all, "", "plain", "a\"b", "a\\b", "a\nb", "\u{7f}"] {
            let mut object = JsonObject::with_capacity(0);
            object.text("text", text);
            object.text_or_null("none", None);
            let quoted = serde_json::to_string(text).expect("JSON");
            let expected = format!("{{\"text\":{quoted},\"none\":null}}");
            assert_eq!(String::from_utf8(object.end()).expect("text"), expected);
        }
    }
}
