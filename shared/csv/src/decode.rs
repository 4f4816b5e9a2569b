//! Bytes to text. The encoding is the one of the byte order mark, or the declared one, or it is detected from the file's first
//! characters that are not ASCII.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, ISO_2022_JP, MACINTOSH, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::fault::FileFault;
use crate::western::{self, Western};

/// Bytes that are needed to recognise a byte order mark, or a file that is no CSV.
const HEAD: usize = 8;
/// Bytes that the encoding is detected from, beginning with the first that is not ASCII. They are held in memory until it is known, so
/// their number is limited. The ASCII before them is the same text in every encoding that is considered.
const SAMPLE: usize = 64 * 1024;

/// First bytes of files that people send instead of CSV. Gzip archives and workbooks become text before they get here.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "a ZIP archive or an .xlsx workbook"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xD0\xCF\x11\xE0", "an .xls workbook"),
    (b"\x1F\x8B", "a gzip archive in a gzip archive"),
    (b"%PDF", "a PDF document"),
];

/// Decodes a file chunk by chunk. The result does not depend on where chunks begin and end.
pub struct Decoder {
    declared: Option<&'static Encoding>,
    stage: Stage,
    held: Vec<u8>,
    /// The last byte before those that are held; 0 if there is none.
    before: u8,
    mark: u64,
    conflict: Option<FileFault>,
    /// Whether the bytes may end within a character, which is then left out.
    may_be_cut: bool,
}

enum Stage {
    /// Waiting for the first bytes.
    Head,
    /// Only ASCII so far, or the sample is being collected in `held`.
    Undecided(Box<EncodingDetector>),
    Decided(Box<encoding_rs::Decoder>),
}

impl Decoder {
    /// A decoder from the beginning of a file. Without a declared encoding it is detected.
    pub fn new(declared: Option<&'static Encoding>) -> Self {
        Self {
            declared,
            stage: Stage::Head,
            held: Vec::new(),
            before: 0,
            mark: 0,
            conflict: None,
            may_be_cut: false,
        }
    }

    /// The same for bytes that may end within a character, which is then left out.
    pub fn of_beginning(self) -> Self {
        Self {
            may_be_cut: true,
            ..self
        }
    }

    /// A decoder that begins between two characters of a file whose encoding is known.
    pub fn known(encoding: &'static Encoding) -> Self {
        let mut decoder = Self::new(Some(encoding));
        decoder.decide(encoding);
        decoder
    }

    /// The encoding; `None` until it is known. Until then all text is ASCII, which is the same in all encodings that are possible.
    pub fn encoding(&self) -> Option<&'static Encoding> {
        match &self.stage {
            Stage::Decided(decoder) => Some(decoder.encoding()),
            Stage::Head | Stage::Undecided(_) => None,
        }
    }

    /// The fault, if the byte order mark contradicts the declared encoding. The file is decoded by its byte order mark.
    pub fn conflict(&self) -> Option<&FileFault> {
        self.conflict.as_ref()
    }

    /// Length of the byte order mark, in bytes; 0 without one.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// How many of these bytes to push, so that a new decoder can begin at the rest: all up to their last line end. If they have no line
    /// end, or the encoding is stateful, all bytes. They begin at `offset` of the file.
    pub fn cut(&self, bytes: &[u8], offset: u64) -> usize {
        let cut = match self.encoding().map(unit) {
            Some(Unit::Stateful) => None,
            Some(Unit::Two(line_ends)) => {
                let odd = usize::from(offset % 2 == 1).min(bytes.len());
                let mut units = bytes[odd..].chunks_exact(2);
                let last = units.rposition(|unit| line_ends.contains(&[unit[0], unit[1]]));
                last.map(|place| odd + 2 * (place + 1))
            }
            Some(Unit::One) | None => bytes
                .iter()
                .rposition(|b| matches!(b, b'\n' | b'\r'))
                .map(|place| place + 1),
        };
        cut.unwrap_or(bytes.len())
    }

    /// Whether a new decoder can begin after these bytes, which must be the last that were pushed. They end at `offset` of the file.
    pub fn is_between(&self, pushed: &[u8], offset: u64) -> bool {
        match self.encoding().map(unit) {
            Some(Unit::Stateful) => false,
            Some(Unit::Two(line_ends)) => {
                let last = pushed.last_chunk::<2>();
                offset.is_multiple_of(2) && last.is_some_and(|unit| line_ends.contains(unit))
            }
            Some(Unit::One) | None => self.held.is_empty() && matches!(pushed.last(), Some(b'\n' | b'\r')),
        }
    }

    /// Decodes the next bytes and adds their text to `text`, up to a fault.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) -> Result<(), FileFault> {
        self.advance(bytes, false, text)
    }

    /// Decodes the bytes that were held, at the end of the file.
    pub fn finish(&mut self, text: &mut String) -> Result<(), FileFault> {
        self.advance(&[], true, text)
    }

    fn advance(&mut self, bytes: &[u8], last: bool, text: &mut String) -> Result<(), FileFault> {
        match &mut self.stage {
            Stage::Decided(decoder) => decode(decoder, bytes, last && !self.may_be_cut, text),
            Stage::Head => {
                self.held.extend_from_slice(bytes);
                if self.held.len() < HEAD && !last {
                    return Ok(());
                }
                let head = std::mem::take(&mut self.held);
                let after_mark = self.begin(&head)?;
                self.advance(&head[after_mark..], last, text)
            }
            Stage::Undecided(detector) => {
                let ascii = if self.held.is_empty() {
                    Encoding::ascii_valid_up_to(bytes)
                } else {
                    0
                };
                let (plain, rest) = bytes.split_at(ascii);
                detector.feed(plain, false);
                self.before = plain.last().copied().unwrap_or(self.before);
                text.push_str(std::str::from_utf8(plain).unwrap_or_default());
                self.held.extend_from_slice(rest);
                if self.held.is_empty() || (self.held.len() < SAMPLE && !last) {
                    return Ok(());
                }
                let encoding = judge(detector, self.before, &self.held)?;
                let held = std::mem::take(&mut self.held);
                self.decide(encoding);
                self.advance(&held, last, text)
            }
        }
    }

    /// Checks the first bytes; returns the length of the byte order mark.
    fn begin(&mut self, head: &[u8]) -> Result<usize, FileFault> {
        if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| head.starts_with(magic)) {
            let hint = format!("the file is {what}, not CSV: save the sheet as CSV and send that");
            return Err(FileFault::new("not_csv", hint));
        }
        match (Encoding::for_bom(head), self.declared) {
            (Some((marked, length)), _) => {
                if let Some(declared) = self.declared.filter(|declared| *declared != marked) {
                    let (marked, declared) = (marked.name(), declared.name());
                    let message = format!("the file's byte order mark says {marked}, the request says {declared}");
                    self.conflict = Some(wrong_encoding(message).at(1));
                }
                self.mark = u64::try_from(length).unwrap_or_default();
                self.decide(marked);
                Ok(length)
            }
            (None, Some(declared)) => {
                self.decide(declared);
                Ok(0)
            }
            (None, None) => {
                self.stage = Stage::Undecided(Box::new(EncodingDetector::new(Iso2022JpDetection::Deny)));
                Ok(0)
            }
        }
    }

    fn decide(&mut self, encoding: &'static Encoding) {
        self.stage = Stage::Decided(Box::new(encoding.new_decoder_without_bom_handling()));
    }
}

/// How an encoding writes line ends.
enum Unit {
    /// As one byte that is part of no other character. This holds for all multi-byte encodings of the WHATWG standard except those below.
    One,
    /// As one of these pairs, at even offsets.
    Two([[u8; 2]; 2]),
    /// The meaning of a byte depends on an escape sequence before it.
    Stateful,
}

fn unit(encoding: &'static Encoding) -> Unit {
    match encoding {
        e if e == UTF_16LE => Unit::Two([[b'\n', 0], [b'\r', 0]]),
        e if e == UTF_16BE => Unit::Two([[0, b'\n'], [0, b'\r']]),
        e if e == ISO_2022_JP => Unit::Stateful,
        _ => Unit::One,
    }
}

fn decode(
    decoder: &mut encoding_rs::Decoder,
    mut bytes: &[u8],
    last: bool,
    text: &mut String,
) -> Result<(), FileFault> {
    loop {
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len());
        text.reserve(room.unwrap_or(bytes.len()).max(16));
        let (result, read) = decoder.decode_to_string_without_replacement(bytes, text, last);
        bytes = &bytes[read..];
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                let name = decoder.encoding().name();
                return Err(wrong_encoding(format!(
                    "the text has bytes that are not valid {name}: set encoding= if the file has another encoding"
                )));
            }
        }
    }
}

/// Detects the encoding from a sample that begins with the first byte that is not ASCII, and from the byte before it. UTF-8 and Windows-1252 are recognised; any other
/// encoding has to be declared. The sample is complete, or the file ends in it, so the result does not depend on how chunks are cut.
fn judge(detector: &mut EncodingDetector, before: u8, held: &[u8]) -> Result<&'static Encoding, FileFault> {
    let (sample, whole) = match held.get(..SAMPLE) {
        Some(sample) => (sample, false),
        None => (held, true),
    };
    let (mut valid, mut invalid) = (0, 0);
    for part in sample.utf8_chunks() {
        valid += part.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!part.invalid().is_empty());
    }
    // Text in another encoding hardly ever contains a valid multi-byte sequence of UTF-8 by chance. If valid sequences are in the majority,
    // the file is UTF-8 that is cut at the sample's end, or is damaged. The decoder names the damage; it is not read as another encoding.
    if valid >= invalid {
        return Ok(UTF_8);
    }
    detector.feed(sample, whole);
    let guess = detector.guess(None, Utf8Detection::Deny);
    let likely = match western::older_than_windows(before, sample) {
        None if guess == WINDOWS_1252 => return Ok(WINDOWS_1252),
        None => guess.name(),
        Some(Western::MacRoman) => MACINTOSH.name(),
        Some(Western::Either) => {
            return Err(wrong_encoding(
                "the text is not UTF-8 and looks like macintosh or cp850: set encoding=macintosh if it is from a Macintosh, or save the file as \
                 UTF-8",
            ));
        }
        Some(Western::Dos) => {
            return Err(wrong_encoding(
                "the text is not UTF-8 and looks like cp850, the encoding of DOS: save the file as UTF-8",
            ));
        }
    };
    Err(wrong_encoding(format!(
        "the text is not UTF-8 and looks like {likely}: set encoding={likely} if that is right, or save the file as UTF-8"
    )))
}

fn wrong_encoding(message: impl Into<String>) -> FileFault {
    FileFault::new("wrong_encoding", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(bytes: &[u8], declared: Option<&'static Encoding>) -> Result<String, FileFault> {
        let mut decoder = Decoder::new(declared);
        let mut text = String::new();
        for byte in bytes.chunks(1) {
            decoder.push(byte, &mut text)?;
        }
        decoder.finish(&mut text)?;
        Ok(text)
    }

    #[test]
    fn marks_are_told_and_taken_off() {
        assert_eq!(decode_all(b"\xEF\xBB\xBFa,\xC3\xBC", None).as_deref(), Ok("a,ü"));
        assert_eq!(decode_all(b"\xFF\xFEa\0,\0\xFC\0", None).as_deref(), Ok("a,ü"));
        assert_eq!(decode_all(b"\xFE\xFF\0a\0,\0\xFC", None).as_deref(), Ok("a,ü"));
        assert_eq!(decode_all(b"\xEF\xBB\xBF", None).as_deref(), Ok(""));
        assert_eq!(decode_all(b"", None).as_deref(), Ok(""));
    }

    #[test]
    fn utf_8_is_recognised_and_windows_1252_is_what_else_western_text_is() {
        let text = "Caf\u{e9} Müller & Söhne, Straße 5; “quoted” – 12 €";
        assert_eq!(decode_all(text.as_bytes(), None).as_deref(), Ok(text));
        let (western, _, unmappable) = WINDOWS_1252.encode(text);
        assert!(!unmappable);
        assert_eq!(decode_all(&western, None).as_deref(), Ok(text));
    }

    #[test]
    fn damaged_utf_8_is_not_read_as_something_else() {
        let damaged = b"K\xC3\xB6ln,M\xC3\xBCnchen,D\xC3";
        assert_eq!(decode_all(damaged, None).map_err(|f| f.code), Err("wrong_encoding"));
    }

    #[test]
    fn other_encodings_have_to_be_declared() {
        let (russian, _, _) = encoding_rs::WINDOWS_1251.encode("Привет, мир; сегодня хорошая погода");
        assert_eq!(decode_all(&russian, None).map_err(|f| f.code), Err("wrong_encoding"));
        assert!(decode_all(&russian, Some(encoding_rs::WINDOWS_1251)).is_ok_and(|text| text.starts_with("Привет")));
    }

    #[test]
    fn text_of_older_computers_is_named_and_not_read_as_windows_1252() {
        let text = "Kunde,Größe\nMüller,Bäckergasse\nGarçon,Größe\n";
        let mac = b"Kunde,Gr\x9A\xA7e\nM\x9Fller,B\x8Ackergasse\nGar\x8Don,Gr\x9A\xA7e\n";
        let dos = b"Kunde,Gr\x94\xE1e\nM\x81ller,B\x84ckergasse\nGar\x87on,Gr\x94\xE1e\n";
        for (bytes, named) in [(&mac[..], "macintosh"), (&dos[..], "cp850")] {
            let fault = decode_all(bytes, None).expect_err(named);
            assert_eq!(fault.code, "wrong_encoding");
            assert!(fault.message.contains(named), "{}", fault.message);
        }
        assert_eq!(decode_all(mac, Some(MACINTOSH)).as_deref(), Ok(text));
    }

    #[test]
    fn declarations_that_the_bytes_contradict_are_refused() {
        let mut marked = Decoder::new(Some(WINDOWS_1252));
        assert_eq!(marked.push(b"\xEF\xBB\xBFa,b,c,d", &mut String::new()), Ok(()));
        assert_eq!(marked.conflict().map(|f| f.code), Some("wrong_encoding"));
        assert_eq!(
            decode_all(b"abcdefgh\xFC", Some(UTF_8)).map_err(|f| f.code),
            Err("wrong_encoding")
        );
    }

    #[test]
    fn other_kinds_of_files_are_told_what_they_are() {
        let fault = decode_all(b"PK\x03\x04\x14\0\x06\0", None).expect_err("a workbook");
        assert_eq!(fault.code, "not_csv");
        assert!(fault.message.contains("xlsx"), "{}", fault.message);
    }

    #[test]
    fn long_files_are_judged_by_their_first_sample() {
        let mut long = "ü,".repeat(SAMPLE).into_bytes();
        assert!(decode_all(&long, None).is_ok());
        long.push(0xFC);
        assert_eq!(decode_all(&long, None).map_err(|f| f.code), Err("wrong_encoding"));
    }
}
