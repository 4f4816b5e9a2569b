//! Western text of older computers: Mac Roman and the code page 850 of DOS use the bytes of Windows-1252 for other letters. Read as Windows-1252,
//! such text has capital letters and signs in the middle of words, and control characters.

use std::cmp::Ordering;

use encoding_rs::{Encoding, MACINTOSH, WINDOWS_1252};

/// An encoding that is not Windows-1252 although its bytes could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Western {
    /// That of Macintosh computers.
    MacRoman,
    /// Code page 850.
    Dos,
    /// One of the two.
    Either,
}

/// The characters of the code page 850 from 128 on. `encoding_rs` does not have it.
const CODE_PAGE_850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{AD}±‗¾¶§÷¸°¨·¹³²■\u{A0}";

/// The encoding of a text, which follows a byte of ASCII, that is neither UTF-8 nor, as it seems, Windows-1252: of its characters beyond ASCII, more would be out of place than
/// twice as many as are in the encoding that is returned.
pub fn older_than_windows(before: u8, bytes: &[u8]) -> Option<Western> {
    let windows = out_of_place(&table(WINDOWS_1252), before, bytes);
    if windows == 0 {
        return None;
    }
    let mac = out_of_place(&table(MACINTOSH), before, bytes);
    let dos = out_of_place(&CODE_PAGE_850.chars().collect::<Vec<char>>(), before, bytes);
    let encoding = match mac.cmp(&dos) {
        Ordering::Less => Western::MacRoman,
        Ordering::Greater => Western::Dos,
        Ordering::Equal => Western::Either,
    };
    (mac.min(dos) * 2 < windows).then_some(encoding)
}

/// The characters of an encoding from 128 on.
fn table(encoding: &'static Encoding) -> Vec<char> {
    let bytes: Vec<u8> = (128..=255).collect();
    let (text, _) = encoding.decode_without_bom_handling(&bytes);
    text.chars().collect()
}

/// How many characters beyond ASCII are where text has none; the text follows the first byte.
fn out_of_place(table: &[char], first: u8, bytes: &[u8]) -> usize {
    let read = |byte: u8| match byte.checked_sub(128) {
        Some(place) => table.get(usize::from(place)).copied().unwrap_or('\u{FFFD}'),
        None => char::from(byte),
    };
    let is_out_of_place = |(place, byte): &(usize, &u8)| {
        let c = read(**byte);
        let before = place
            .checked_sub(1)
            .and_then(|before| bytes.get(before))
            .unwrap_or(&first);
        let before = read(*before);
        let after = bytes.get(place + 1).map(|byte| read(*byte));
        let is_in_word = before.is_alphabetic() && after.is_some_and(char::is_alphabetic);
        // Apostrophes, dashes, points between words, and that of Catalan.
        let joins_letters = matches!(
            c,
            '\u{2018}' | '\u{2019}' | '´' | '\u{AD}' | '\u{A0}' | '\u{2013}' | '\u{2022}' | '\u{2026}'
        );
        let is_catalan = c == '·' && before == 'l' && after == Some('l');
        let is_drawing = ('\u{2500}'..='\u{25FF}').contains(&c) || ('\u{2200}'..='\u{22FF}').contains(&c);
        // Rare in what Windows-1252 is used for, and the bytes of ö and û in Mac Roman.
        let is_rare = is_in_word && matches!(c, 'š' | 'ž');
        c.is_control()
            || is_rare
            || is_drawing
            || (is_in_word && !c.is_alphabetic() && !joins_letters && !is_catalan)
            || (c.is_uppercase() && before.is_lowercase())
            || (c.is_uppercase() && is_in_word && after.is_some_and(char::is_lowercase))
    };
    let beyond_ascii = bytes.iter().enumerate().filter(|(_, byte)| !byte.is_ascii());
    beyond_ascii.filter(is_out_of_place).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of Western languages.
    const WORDS: &str = "Müller,Größe,Straße,Äpfel,ÖPNV,MÜNCHEN,café,garçon,Élise,œuvre,L\u{2019}Oréal,niño,¿Qué?,mañana,São Paulo,Ação,Ærø,Ångström,\
                         Señor,«oui»,12 €,5 £,20 °C,Nº 5,§ 4,Renée & Zoë,Dvo\u{159}ák";

    fn dos(text: &str) -> Vec<u8> {
        let code = |c| {
            CODE_PAGE_850
                .chars()
                .position(|other| other == c)
                .and_then(|place| u8::try_from(place + 128).ok())
        };
        text.chars()
            .filter_map(|c| if c.is_ascii() { u8::try_from(c).ok() } else { code(c) })
            .collect()
    }

    #[test]
    fn each_encoding_is_told_apart_by_words() {
        let (windows, ..) = WINDOWS_1252.encode(WORDS);
        assert_eq!(older_than_windows(b',', &windows), None);
        for word in WORDS
            .split(',')
            .filter(|word| word.chars().all(|c| !WINDOWS_1252.encode(&c.to_string()).2))
        {
            let (bytes, ..) = WINDOWS_1252.encode(word);
            assert_eq!(older_than_windows(b',', &bytes), None, "{word}");
        }
        let (mac, ..) = MACINTOSH.encode(WORDS);
        assert_eq!(older_than_windows(b',', &mac), Some(Western::MacRoman));
        assert_eq!(older_than_windows(b',', &dos(WORDS)), Some(Western::Dos));
        let (mac, ..) = MACINTOSH.encode("Größe");
        assert_eq!(older_than_windows(b',', &mac), Some(Western::MacRoman));
        assert_eq!(older_than_windows(b',', &dos("Größe")), Some(Western::Dos));
        // Kšln by Windows-1252, Köln by one and Kîln by the other, or the other way round.
        let (mac, ..) = MACINTOSH.encode("Köln");
        assert_eq!(older_than_windows(b',', &mac), Some(Western::MacRoman));
        assert_eq!(older_than_windows(b',', &dos("Köln")), Some(Western::Either));
        assert_eq!(older_than_windows(b',', b"only ASCII"), None);
    }
}
