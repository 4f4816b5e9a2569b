//! The reason that a caller gives for a request. The same rule applies to every request that takes one.

use std::fmt;

use serde::Serialize;

use super::text::is_refused;

/// A reason of 1 to 1,000 characters. At least one of them is visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reason(String);

/// The text is not a usable reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} characters, not only spaces and invisible ones", Reason::MAX)]
pub struct ReasonFault;

impl Reason {
    /// Maximum number of characters of a reason.
    pub const MAX: usize = 1_000;

    /// The text, as the caller sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reason {
    type Error = ReasonFault;

    fn try_from(text: String) -> Result<Self, ReasonFault> {
        // The bytes are checked first, so that the characters of a very long text are not counted.
        let is_short = text.len() <= 4 * Self::MAX && text.chars().count() <= Self::MAX;
        let can_be_read = || text.chars().any(|c| !c.is_whitespace() && !is_refused(c));
        match is_short && can_be_read() {
            true => Ok(Self(text)),
            false => Err(ReasonFault),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_a_thousand_characters_at_most_and_one_at_least() {
        for (text, is_reason) in [
            (String::new(), false),
            (" \t ".to_owned(), false),
            ("\u{200B}\u{202E}".to_owned(), false),
            ("\u{200B}r".to_owned(), true),
            ("r".to_owned(), true),
            ("\u{1F600}".repeat(1_000), true),
            ("r".repeat(1_001), false),
        ] {
            assert_eq!(Reason::try_from(text.clone()).is_ok(), is_reason, "{text:.10}");
        }
    }
}
