//! The rule for ids and names: which text may name something. docs/guide/ids.md describes it for users.
//!
//! An auditor who reads an id must know which one it is, so two ids must not differ only in something invisible. Text that names something
//! therefore has no invisible, unassigned or private-use characters, no blank at the beginning or end, and one spelling (Unicode NFC).
//! Letters of different scripts that look alike, such as the Latin and the Cyrillic a, are allowed. Text inside an event's `data` is not
//! restricted by this.
//!
//! The SQL function `annals.text_fault` applies the same rule, by tables generated from this file. A test compares both for every
//! code point, so a new Unicode version on either side makes it fail.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    DefaultIgnorableCodePoint, Emoji, EmojiPresentation, ExtendedPictographic, GeneralCategory,
};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde::Serialize;

/// What is wrong with text that should name something. `Display` completes the sentence "the value …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// There is no text.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// A blank at the beginning or the end.
    #[error("must not begin or end with a space")]
    Blank,
    /// A control character, or another character that is not printable text.
    #[error("must be printable text: the character U+{0:04X} is invisible, unassigned or for private use")]
    Unprintable(u32),
    /// Not in Normalization Form C.
    #[error("must be in Unicode Normalization Form C (NFC)")]
    NotNormal,
    /// Not in the form that this kind of id has. The text completes the sentence "the value must …".
    #[error("must {0}")]
    Form(&'static str),
}

impl TextFault {
    /// Stable code of the fault, as used for faults of fields: `not_nfc` or `invalid_value`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotNormal => "not_nfc",
            _ => "invalid_value",
        }
    }
}

/// Printable text of 1 to `MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text, as it was sent or stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Text from the log, without a check. It was checked when it was appended, perhaps by an older rule, and must stay readable.
    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TextFault;

    fn try_from(text: String) -> Result<Self, TextFault> {
        if text.is_empty() {
            return Err(TextFault::Empty);
        }
        if text.chars().count() > MAX {
            return Err(TextFault::TooLong(MAX));
        }
        check(&text)?;
        Ok(Self(text))
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Zero width joiner: joins emoji to one picture.
const JOINER: char = '\u{200D}';
/// Variation selector 16: asks for the picture of a character that is also text.
const AS_PICTURE: char = '\u{FE0F}';
/// Turns a digit into a keycap: `1`, AS_PICTURE, KEYCAP.
const KEYCAP: char = '\u{20E3}';

/// Whether text may name something. The length is not checked.
///
/// # Errors
/// The first fault.
pub fn check(text: &str) -> Result<(), TextFault> {
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(TextFault::Blank);
    }
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Ok(());
    }
    let characters: Vec<char> = text.chars().collect();
    for (index, c) in characters.iter().copied().enumerate() {
        let before = index.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(index + 1).copied();
        let allowed = match c {
            JOINER => before.is_some_and(ends_picture) && after.is_some_and(is_picture),
            AS_PICTURE => before.is_some_and(|c| is_text_picture(c) || (is_key(c) && after == Some(KEYCAP))),
            _ => !is_refused(c),
        };
        if !allowed {
            return Err(TextFault::Unprintable(c.into()));
        }
    }
    // This is checked after the characters, because the normalizer accepts unassigned characters.
    if !ComposingNormalizerBorrowed::new_nfc().is_normalized(text) {
        return Err(TextFault::NotNormal);
    }
    Ok(())
}

/// Whether a character is refused everywhere. The two characters that join emoji are refused too; [`check`] allows them after
/// emoji.
pub fn is_refused(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    match category {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::Surrogate
        | GeneralCategory::PrivateUse
        | GeneralCategory::Unassigned
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator => true,
        // Only the ordinary blank is allowed, because the others look like it.
        GeneralCategory::SpaceSeparator => c != ' ',
        // Fillers, variation selectors, and the blank Braille pattern, which is the only symbol without ink.
        _ => c == '\u{2800}' || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c),
    }
}

/// Whether a character is a picture that a joiner may follow or precede.
pub fn is_picture(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c) && CodePointSetData::new::<Emoji>().contains(c)
}

/// Whether a character is shown as text unless U+FE0F follows. After other characters, U+FE0F would change nothing that can be
/// seen.
pub fn is_text_picture(c: char) -> bool {
    is_picture(c) && !CodePointSetData::new::<EmojiPresentation>().contains(c)
}

fn ends_picture(c: char) -> bool {
    is_picture(c) || c == AS_PICTURE || ('\u{1F3FB}'..='\u{1F3FF}').contains(&c)
}

fn is_key(c: char) -> bool {
    c.is_ascii_digit() || c == '#' || c == '*'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_script_is_allowed() {
        for good in [
            "CUST-0042",
            "a b",
            "München / Straße 5 €",
            "東京",
            "ไทย",
            "हिन्दी",
            "q\u{301}",
            "😀",
            "👨\u{200D}👩\u{200D}👧\u{200D}👦",
            "👩🏽\u{200D}🚀",
            "❤\u{FE0F}\u{200D}🔥",
            "1\u{FE0F}\u{20E3}",
            "🇮🇳",
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn invisible_characters_are_refused() {
        for bad in [
            "a\u{E0041}",
            "a\u{378}",
            "\u{10FFFF}",
            "\u{E000}",
            "\u{F0000}",
            "a\u{200D}b",
            "😀\u{200D}",
            "\u{200D}😀",
            "a\u{FE0F}",
            "😀\u{FE0F}",
            "1\u{FE0F}",
            "a\u{61C}",
            "\u{180E}",
            "\u{3164}",
            "\u{115F}",
            "\u{2800}",
            "a\u{A0}b",
            "\u{3000}",
            "a\u{AD}b",
            "\u{85}",
        ] {
            assert!(matches!(check(bad), Err(TextFault::Unprintable(_))), "{bad:?}");
        }
        assert_eq!(check(" a"), Err(TextFault::Blank));
        assert_eq!(check("a "), Err(TextFault::Blank));
    }

    #[test]
    fn a_name_has_one_spelling() {
        assert_eq!(check("Zoe\u{308}"), Err(TextFault::NotNormal));
        assert_eq!(check("Zo\u{EB}"), Ok(()));
        // The sign for Ångström is another spelling of the letter.
        assert_eq!(check("\u{212B}"), Err(TextFault::NotNormal));
        assert_eq!(TextFault::NotNormal.code(), "not_nfc");
    }
}
