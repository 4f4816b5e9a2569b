//! Protection against formulas in reports of rejected rows ([`annals_domain::formula`]). If the report is sent again, the quotes are removed,
//! and the data are unchanged. A negative number is what the amounts of files are.

use std::borrow::Cow;

use annals_domain::formula;

use crate::amount::Amount;
use crate::number::DecimalMark;

/// The text with a quote before each piece that a spreadsheet could run as a formula.
pub fn guarded(text: &str) -> Cow<'_, str> {
    formula::guarded(text, is_negative_number)
}

/// The text without the quotes that [`guarded`] has added.
pub fn bare(text: &str) -> Cow<'_, str> {
    formula::bare(text, is_negative_number)
}

/// `-12.50` is shown as the number that it is. `+49 30 901820` is not exempt: it would lose its sign and its spaces.
fn is_negative_number(text: &str) -> bool {
    let is_amount = |mark| Amount::parse(text, mark).is_ok();
    text.starts_with('-') && (is_amount(DecimalMark::Point) || is_amount(DecimalMark::Comma))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use annals_domain::formula::{SEPARATORS, TRIGGERS};

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
            "＝1+1",
            "'=1",
        ] {
            assert_eq!(guarded(text), format!("'{text}"), "{text:?}");
            assert_eq!(bare(&guarded(text)), text);
        }
    }

    #[test]
    fn what_another_separator_cuts_off_gets_one_as_well() {
        for (text, written) in [
            ("\t=1", "\t'=1"),
            ("\r=1", "\r'=1"),
            ("\n=1", "\n'=1"),
            ("x,=cmd|'/C calc'!A0", "x,'=cmd|'/C calc'!A0"),
            ("x;=1,@a|+b\t-c\r\n=d", "x;'=1,'@a|'+b\t'-c\r\n'=d"),
            ("=1,=2", "'=1,'=2"),
            ("a,'=1", "a,''=1"),
            ("a,-5;-1.5|-x", "a,-5;-1.5|'-x"),
        ] {
            assert_eq!(guarded(text), written, "{text:?}");
            assert_eq!(bare(written), text);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "",
            "-12.50",
            "-1.234,50",
            "-1,234.50",
            "1,-5",
            "a, =b; c",
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

    /// `-1;a`: the cell is neither a number nor a formula, but its text before the separator is a number.
    fn is_number_up_to_a_separator(cell: &str) -> bool {
        is_negative_number(cell.split(SEPARATORS).next().unwrap_or_default())
    }

    proptest! {
        #[test]
        fn nothing_is_changed_by_the_way(text in "('|=|\\+|-|@|\t|\r|\n|＝|1|a|,|;|\\||\\.| ){0,8}") {
            let written = guarded(&text);
            prop_assert_eq!(bare(&written), text.as_str());
            // No cell begins like a formula, for any set of separators.
            for separators in [&[','][..], &[';'], &['|'], &['\t'], &['\r', '\n'], &SEPARATORS] {
                for cell in written.split(separators) {
                    prop_assert!(!cell.starts_with(TRIGGERS) || is_negative_number(cell) || is_number_up_to_a_separator(cell));
                }
            }
        }
    }
}
