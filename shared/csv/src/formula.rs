//! Protection against formulas. A spreadsheet that opens a CSV file runs each cell that begins like a formula, so a report of rejected rows
//! has a quote before such cells. If the report is sent again, the quotes are removed, and the data are unchanged.
//!
//! The spreadsheet decides where a cell begins: one that separates by commas splits `x,=1+1`, even if the file separates by semicolons. The
//! text after any separator therefore counts as the beginning of a cell.
//!
//! Invariant: `bare(guarded(text)) == text` for every text.

use std::borrow::Cow;

use crate::amount::Amount;
use crate::number::DecimalMark;

/// First characters of formulas. Spreadsheets accept the full-width forms of East Asian keyboards as well.
const TRIGGERS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// Characters that a spreadsheet may treat as the end of a cell, or drop before a cell.
const SEPARATORS: [char; 6] = [',', ';', '|', '\t', '\r', '\n'];
const QUOTE: char = '\'';

/// The text with a quote before each piece that a spreadsheet could run as a formula.
pub fn guarded(text: &str) -> Cow<'_, str> {
    piece_by_piece(text, |piece, guarded| {
        if is_dangerous(piece) {
            guarded.push(QUOTE);
        }
        guarded.push_str(piece);
    })
}

/// The text without the quotes that [`guarded`] has added.
pub fn bare(text: &str) -> Cow<'_, str> {
    piece_by_piece(text, |piece, bare| {
        let rest = piece.strip_prefix(QUOTE).filter(|rest| is_dangerous(rest));
        bare.push_str(rest.unwrap_or(piece));
    })
}

/// The text with each piece between separators rewritten. Quotes are no separators, so the result has the same pieces.
fn piece_by_piece(text: &str, write: impl Fn(&str, &mut String)) -> Cow<'_, str> {
    // Fast path: most texts have none of these characters.
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

/// A piece that already has quotes before a formula counts, too: `bare` will remove one of the quotes.
fn is_dangerous(piece: &str) -> bool {
    let piece = piece.trim_start_matches(QUOTE);
    piece.starts_with(TRIGGERS) && !is_negative_number(piece)
}

/// `-12.50` is shown as the number that it is. `+49 30 901820` is not exempt: it would lose its sign and its spaces.
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
