//! The text of a file. A gzip archive is inflated while it is read, each time from its beginning. The sheet of a workbook becomes text once, in
//! memory. All else is text already. Offsets, and the file's SHA-256, are those of the text.

use std::borrow::Cow;
use std::io;

use annals_csv::{
    DecimalMark, Inflater, MAX_SHEET_BYTES, MAX_WORKBOOK_BYTES, PACKING_BYTES, Packing, ReadError, Sheet, Unsaved,
    workbook_too_large,
};
use annals_storage::MAX_FILE_BYTES;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::ImportError;
use crate::options::Options;
use crate::warning::Warning;

/// The bytes of a file, from some offset on.
pub type Source = BoxStream<'static, io::Result<Bytes>>;

/// How large a text may become.
#[derive(Clone, Copy)]
pub(crate) struct TextLimits {
    /// Maximum bytes of what a gzip archive becomes.
    inflated: u64,
    /// Maximum bytes of a workbook's sheet as text.
    sheet: usize,
}

impl TextLimits {
    /// For a request, whose file has at most 4 MiB.
    pub(crate) const SMALL: Self = Self {
        inflated: 16 * 1024 * 1024,
        sheet: 16 * 1024 * 1024,
    };
    /// For a file in storage.
    pub(crate) const LARGE: Self = Self {
        inflated: MAX_FILE_BYTES,
        sheet: MAX_SHEET_BYTES,
    };
}

/// How a file becomes text.
pub(crate) enum Text {
    /// It is text.
    Plain,
    /// It is inflated, to at most this number of bytes.
    Gzip(u64),
    /// It is a sheet of a workbook.
    Sheet(Sheet),
}

impl Text {
    /// Finds out how a file becomes text, by its first bytes. `source` begins at the file's beginning.
    ///
    /// # Errors
    /// The file cannot be read, or is a workbook without such a sheet.
    pub(crate) async fn of(source: Source, options: &Options, limits: TextLimits) -> Result<Self, ImportError> {
        let (packing, source) = peek(source).await?;
        let (is_inflated, packing, source) = match packing {
            Packing::Gzip => {
                let (packing, source) = peek(inflated(source, limits.inflated)).await?;
                (true, packing, source)
            }
            other => (false, other, source),
        };
        if packing == Packing::Workbook {
            let (file, name) = (collected(source).await?, options.read.sheet.clone());
            let mark = options.read.values.decimal.unwrap_or(DecimalMark::Point);
            // Reading a large workbook takes seconds.
            let sheet =
                tokio::task::spawn_blocking(move || Sheet::read(&file, name.as_deref(), limits.sheet, mark)).await;
            return Ok(Self::Sheet(
                sheet.map_err(|error| ImportError::Unexpected(error.to_string()))??,
            ));
        }
        Ok(match is_inflated {
            true => Self::Gzip(limits.inflated),
            false => Self::Plain,
        })
    }

    /// The text from this byte on. `file` gives the bytes of the file itself from an offset on.
    pub(crate) fn read(&self, offset: u64, file: impl FnOnce(u64) -> Source) -> Source {
        match self {
            Self::Plain => file(offset),
            Self::Gzip(most) => without_first(inflated(file(0), *most), offset),
            Self::Sheet(sheet) => {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(sheet.text.len());
                stream::iter([Ok(sheet.text.slice(offset..))]).boxed()
            }
        }
    }

    /// The upload's fields as they apply to this text.
    pub(crate) fn options<'a>(&self, options: &'a Options) -> Cow<'a, Options> {
        match self {
            Self::Plain | Self::Gzip(_) => Cow::Borrowed(options),
            Self::Sheet(_) => {
                let mut of_sheet = options.clone();
                of_sheet.read = options.read.of_sheet();
                Cow::Owned(of_sheet)
            }
        }
    }

    /// Upload fields that are the same for every text of this kind, whatever the upload says.
    pub(crate) fn written(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plain | Self::Gzip(_) => &[],
            Self::Sheet(_) => &[("encoding", "utf-8"), ("delimiter", ",")],
        }
    }

    /// What the caller should know of the file.
    pub(crate) fn warning(&self) -> Option<Warning> {
        let Self::Sheet(Sheet { unsaved, .. }) = self else {
            return None;
        };
        let Unsaved { cells, first } = unsaved;
        let first = first.as_deref()?;
        let message = format!(
            "formulas whose values are not saved in the workbook are read as empty cells: {cells}, the first is {first}. Open the workbook in \
             a spreadsheet, save it, and send it again"
        );
        Some(Warning::new("formulas_without_values", message))
    }
}

/// A file that is held in memory, as text.
pub struct SmallFile {
    file: Bytes,
    pub(crate) text: Text,
}

impl SmallFile {
    /// The file of a request with these fields.
    ///
    /// # Errors
    /// The file cannot be read, or is a workbook without such a sheet.
    pub async fn new(file: Bytes, options: &Options) -> Result<Self, ImportError> {
        let source = stream::iter([Ok(file.clone())]).boxed();
        let text = Text::of(source, options, TextLimits::SMALL).await?;
        Ok(Self { file, text })
    }

    /// The text from this byte on.
    pub fn read(&self, offset: u64) -> Source {
        self.text.read(offset, |offset| {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.file.len());
            stream::iter([Ok(self.file.slice(offset..))]).boxed()
        })
    }

    /// Upload fields that the kind of file decides.
    pub fn written(&self) -> &'static [(&'static str, &'static str)] {
        self.text.written()
    }
}

/// What a source is by its first bytes, and the whole source.
async fn peek(mut source: Source) -> Result<(Packing, Source), ImportError> {
    let mut head = Vec::new();
    let mut length = 0;
    while length < PACKING_BYTES
        && let Some(chunk) = source.try_next().await.map_err(ReadError::Source)?
    {
        length += chunk.len();
        head.push(chunk);
    }
    let first: Vec<u8> = head.iter().flatten().copied().take(PACKING_BYTES).collect();
    let whole = stream::iter(head.into_iter().map(Ok)).chain(source);
    Ok((Packing::of(&first), whole.boxed()))
}

/// What an archive becomes.
fn inflated(archive: Source, most: u64) -> Source {
    let state = (archive, Bytes::new(), Some(Inflater::new(most)));
    let next = |(mut archive, mut chunk, inflater): (Source, Bytes, Option<Inflater>)| async move {
        let Some(mut inflater) = inflater else {
            return Ok(None);
        };
        loop {
            while chunk.is_empty() {
                match archive.try_next().await? {
                    Some(next) => chunk = next,
                    None => {
                        let last = inflater.finish().map_err(io::Error::other)?;
                        return Ok(Some((last, (archive, chunk, None))));
                    }
                }
            }
            let text = inflater.push(&mut chunk).map_err(io::Error::other)?;
            if !text.is_empty() {
                return Ok(Some((text, (archive, chunk, Some(inflater)))));
            }
        }
    };
    stream::try_unfold(state, next).boxed()
}

fn without_first(source: Source, bytes: u64) -> Source {
    let mut left = bytes;
    let rest = source.map_ok(move |mut chunk| {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        left -= u64::try_from(skipped).unwrap_or_default();
        chunk.split_off(skipped)
    });
    rest.boxed()
}

/// A workbook as a whole: its parts are found from its end.
async fn collected(mut source: Source) -> Result<Bytes, ImportError> {
    let mut file = BytesMut::new();
    while let Some(chunk) = source.try_next().await.map_err(ReadError::Source)? {
        if file.len() + chunk.len() > MAX_WORKBOOK_BYTES {
            return Err(workbook_too_large().into());
        }
        file.extend_from_slice(&chunk);
    }
    Ok(file.freeze())
}
