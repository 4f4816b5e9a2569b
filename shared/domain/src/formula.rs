//! Protection against formulas. A spreadsheet that opens a CSV file runs each cell that begins like a formula, so a quote is written before
//! such cells.
//!
//! The spreadsheet decides where a cell begins: one that separates by commas splits `x,=1+1`, even if the file separates by semicolons. The
//! text after any separator therefore counts as the beginning of a cell.
//!
//! A negative number begins like a formula, too, and must stay a number. What a number looks like is the caller's to say.
//!
//! Invariant: `bare(guarded(text)) == text` for every text, with the same numbers.

use std::borrow::Cow;

/// The byte order mark of UTF-8, with which a file for spreadsheets begins. Without it they read the file as Windows-1252.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// First characters of formulas. Spreadsheets accept the full-width forms of East Asian keyboards as well.
pub const TRIGGERS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// Characters that a spreadsheet may treat as the end of a cell, or drop before a cell.
pub const SEPARATORS: [char; 6] = [',', ';', '|', '\t', '\r', '\n'];
const QUOTE: char = '\'';

/// The text with a quote before each piece that a spreadsheet could run as a formula.
pub fn guarded(text: &str, is_number: impl Fn(&str) -> bool) -> Cow<'_, str> {
    piece_by_piece(text, |piece, guarded| {
        if is_dangerous(piece, &is_number) {
            guarded.push(QUOTE);
        }
        guarded.push_str(piece);
    })
}

/// The text without the quotes that [`guarded`] has added.
pub fn bare(text: &str, is_number: impl Fn(&str) -> bool) -> Cow<'_, str> {
    piece_by_piece(text, |piece, bare| {
        let rest = piece.strip_prefix(QUOTE).filter(|rest| is_dangerous(rest, &is_number));
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
fn is_dangerous(piece: &str, is_number: impl Fn(&str) -> bool) -> bool {
    let piece = piece.trim_start_matches(QUOTE);
    piece.starts_with(TRIGGERS) && !is_number(piece)
}
