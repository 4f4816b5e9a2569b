//! Formulas: a spreadsheet that opens a CSV file runs cells that begin like one, whoever wrote them. Cells that a report gives
//! back get a quote before them, and lose it when the report comes back, so that nothing is changed by the way.
//!
//! Invariant: `bare(guarded(text)) == text` for every text.

use std::borrow::Cow;

use crate::amount::Amount;
use crate::number::DecimalMark;

/// What a formula begins with, or what spreadsheets drop before one; the wide forms count where East Asian text is typed.
const TRIGGERS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
const QUOTE: char = '\'';

/// The text as a spreadsheet may open it.
pub(crate) fn guarded(text: &str) -> Cow<'_, str> {
    if is_dangerous(text) {
        format!("{QUOTE}{text}").into()
    } else {
        text.into()
    }
}

/// The text without the quote that [`guarded`] has put before it, if it has.
pub(crate) fn bare(text: &str) -> &str {
    text.strip_prefix(QUOTE)
        .filter(|rest| is_dangerous(rest))
        .unwrap_or(text)
}

/// Text that already has quotes before what is dangerous counts too, since one of them will be taken off.
fn is_dangerous(text: &str) -> bool {
    let text = text.trim_start_matches(QUOTE);
    text.starts_with(TRIGGERS) && !is_negative_number(text)
}

/// `-12.50`: a spreadsheet takes it for what it is. Not so `+49 30 901820`, which would lose its sign and its spaces.
fn is_negative_number(text: &str) -> bool {
    let is_amount = |mark| Amount::parse(text, mark).is_ok();
    text.starts_with('-') && (is_amount(DecimalMark::Point) || is_amount(DecimalMark::Comma))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_gets_a_quote() {
        for text in [
            "=1+1",
            "=cmd|' /C calc'!A0",
            "+1",
            "+1-270-555-0142",
            "-1+1",
            "-",
            "-2-3",
            "--1",
            "-1e5",
            "-cmd",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "＝1+1",
            "'=1",
        ] {
            assert_eq!(guarded(text), format!("'{text}"), "{text:?}");
            assert_eq!(bare(&guarded(text)), text);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "",
            "-12.50",
            "-1.234,50",
            "- 5",
            "-$5",
            "-0",
            "12",
            "(5)",
            "a=b",
            " =1",
            "O'Neill",
            "'quoted'",
            "'-5",
        ] {
            assert_eq!(guarded(text), text, "{text:?}");
            assert_eq!(bare(text), text, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_changed_by_the_way(text in "('|=|\\+|-|@|\t|\r|\n|＝|1|a|,|\\.| ){0,8}") {
            let written = guarded(&text);
            prop_assert_eq!(bare(&written), text.as_str());
            prop_assert!(!written.starts_with(TRIGGERS) || is_negative_number(&written));
        }
    }
}
