//! Inflates a gzip archive piece by piece, all of its members.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use crate::fault::FileFault;
use crate::packing::{size, too_large};

/// Bytes of an archive that are inflated at a time. Deflate makes at most 1,032 bytes of one, so a piece becomes at most 4 MiB.
const PIECE: usize = 4 * 1024;
/// Up to this size no archive counts as a bomb.
const HARMLESS: u64 = 64 * 1024 * 1024;
/// Most bytes that a larger archive may make of one byte. Real tables stay far below; only the same row over and over comes near the 1,032 of
/// deflate.
const MAX_RATIO: u64 = 400;

/// Inflates one archive.
pub struct Inflater {
    decoder: MultiGzDecoder<Vec<u8>>,
    taken: u64,
    made: u64,
    most: u64,
}

impl Inflater {
    /// For an archive that may become at most this number of bytes.
    pub fn new(most: u64) -> Self {
        Self {
            decoder: MultiGzDecoder::new(Vec::new()),
            taken: 0,
            made: 0,
            most,
        }
    }

    /// Takes the next piece off the front of these bytes of the archive, and returns what it becomes, which may be nothing.
    ///
    /// # Errors
    /// The archive is broken, or becomes too large.
    pub fn push(&mut self, archive: &mut Bytes) -> Result<Bytes, FileFault> {
        let piece = archive.split_to(archive.len().min(PIECE));
        self.decoder.write_all(&piece).map_err(broken)?;
        self.taken += u64::try_from(piece.len()).unwrap_or_default();
        let made = std::mem::take(self.decoder.get_mut());
        self.made(made)
    }

    /// Returns what is left, at the end of the archive.
    ///
    /// # Errors
    /// The archive is broken: it may have been cut short.
    pub fn finish(&mut self) -> Result<Bytes, FileFault> {
        self.decoder.try_finish().map_err(broken)?;
        let made = std::mem::take(self.decoder.get_mut());
        self.made(made)
    }

    fn made(&mut self, bytes: Vec<u8>) -> Result<Bytes, FileFault> {
        self.made += u64::try_from(bytes.len()).unwrap_or_default();
        if self.made > self.most {
            let most = size(self.most);
            return Err(too_large(format!(
                "the gzip archive becomes more than {most} of text; a small upload may have 64 MiB and a large one, by POST \
                 /api/v1/data/uploads, 5 GiB: send a larger table in parts"
            )));
        }
        if self.made > HARMLESS && self.made / MAX_RATIO > self.taken {
            return Err(too_large(format!(
                "the gzip archive becomes more than {MAX_RATIO} times its size: send the file itself"
            )));
        }
        Ok(bytes.into())
    }
}

fn broken(error: std::io::Error) -> FileFault {
    let message = format!("the file is a gzip archive that is broken or cut short ({error}): make it again");
    FileFault::new("not_csv", message)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn inflate(archive: Vec<u8>, most: u64) -> Result<Vec<u8>, &'static str> {
        let (mut inflater, mut archive, mut text) = (Inflater::new(most), Bytes::from(archive), Vec::new());
        while !archive.is_empty() {
            text.extend(inflater.push(&mut archive).map_err(|fault| fault.code)?);
        }
        text.extend(inflater.finish().map_err(|fault| fault.code)?);
        Ok(text)
    }

    #[test]
    fn all_members_are_inflated() {
        let rows: String = (0..20_000).map(|row| format!("{row},{}\n", row * 7919)).collect();
        let (first, second) = rows.split_at(70_001);
        let archive = [gzip(first.as_bytes()), gzip(b""), gzip(second.as_bytes())].concat();
        assert_eq!(inflate(archive, 1 << 30).as_deref(), Ok(rows.as_bytes()));
    }

    #[test]
    fn broken_archives_are_refused() {
        let whole = gzip("a,b\n1,2\n".repeat(50).as_bytes());
        for end in [3, 12, whole.len() - 9, whole.len() - 1] {
            assert_eq!(inflate(whole[..end].to_vec(), 1 << 30), Err("not_csv"), "{end}");
        }
        let mut damaged = whole.clone();
        damaged[20] ^= 0x55;
        assert_eq!(inflate(damaged, 1 << 30), Err("not_csv"));
        assert_eq!(
            inflate([whole, b"and more text".to_vec()].concat(), 1 << 30),
            Err("not_csv")
        );
    }

    #[test]
    fn bombs_are_refused_before_they_are_inflated() {
        let bomb = gzip(&vec![b'0'; 100 << 20]);
        assert_eq!(inflate(bomb.clone(), 1 << 20), Err("file_too_large"));
        assert_eq!(inflate(bomb, 1 << 40), Err("file_too_large"));
        assert_eq!(
            inflate(gzip(&vec![b'0'; 10 << 20]), 10 << 20).map(|text| text.len()),
            Ok(10 << 20)
        );
    }
}
