//! Formulas: a spreadsheet that opens a CSV file runs cells that begin like one, whoever wrote them. Cells that a report gives
//! back get a quote before them, and lose it when the report comes back, so that nothing is changed by the way.
//!
//! Where a cell begins the spreadsheet decides: one that separates by commas cuts `x,=1+1` in two, though the file has semicolons. So
//! whatever follows any separator counts as a beginning.
//!
//! Invariant: `bare(guarded(text)) == text` for every text.

use std::borrow::Cow;

use crate::amount::Amount;
use crate::number::DecimalMark;

/// What a formula begins with; the wide forms count where East Asian text is typed.
const TRIGGERS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// What a spreadsheet may take for the end of a cell, or drop before one.
const SEPARATORS: [char; 6] = [',', ';', '|', '\t', '\r', '\n'];
const QUOTE: char = '\'';

/// The text as a spreadsheet may open it.
pub(crate) fn guarded(text: &str) -> Cow<'_, str> {
    piece_by_piece(text, |piece, guarded| {
        if is_dangerous(piece) {
            guarded.push(QUOTE);
        }
        guarded.push_str(piece);
    })
}

/// The text without the quotes that [`guarded`] has put into it, if it has.
pub(crate) fn bare(text: &str) -> Cow<'_, str> {
    piece_by_piece(text, |piece, bare| {
        let rest = piece.strip_prefix(QUOTE).filter(|rest| is_dangerous(rest));
        bare.push_str(rest.unwrap_or(piece));
    })
}

/// What becomes of a text when each of its pieces is written. Quotes separate nothing, so the outcome has the same pieces.
fn piece_by_piece(text: &str, write: impl Fn(&str, &mut String)) -> Cow<'_, str> {
    // Most texts are nothing of the kind.
    if !text.contains(TRIGGERS) {
        return text.into();
    }
    let mut written = String::with_capacity(text.len() + 1);
    for piece in text.split_inclusive(SEPARATORS) {
        let (piece, separator) = match piece
            .char_indices()
            .next_back()
            .filter(|(_, last)| SEPARATORS.contains(last))
        {
            Some((place, _)) => piece.split_at(place),
            None => (piece, ""),
        };
        write(piece, &mut written);
        written.push_str(separator);
    }
    written.into()
}

/// Text that already has quotes before what is dangerous counts too, since one of them will be taken off.
fn is_dangerous(piece: &str) -> bool {
    let piece = piece.trim_start_matches(QUOTE);
    piece.starts_with(TRIGGERS) && !is_negative_number(piece)
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

    /// `-1;a`: the cell is no number, but no formula either, and cut anywhere else its beginning is one.
    fn is_number_up_to_a_separator(cell: &str) -> bool {
        is_negative_number(cell.split(SEPARATORS).next().unwrap_or_default())
    }

    proptest! {
        #[test]
        fn nothing_is_changed_by_the_way(text in "('|=|\\+|-|@|\t|\r|\n|＝|1|a|,|;|\\||\\.| ){0,8}") {
            let written = guarded(&text);
            prop_assert_eq!(bare(&written), text.as_str());
            // Whatever separates, nothing begins like a formula.
            for separators in [&[','][..], &[';'], &['|'], &['\t'], &['\r', '\n'], &SEPARATORS] {
                for cell in written.split(separators) {
                    prop_assert!(!cell.starts_with(TRIGGERS) || is_negative_number(cell) || is_number_up_to_a_separator(cell));
                }
            }
        }
    }
}
