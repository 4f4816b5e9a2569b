//! Why an import, small or large, did not reach its end.

use annals_csv::{FileFault, ReadError};
use annals_storage::StorageError;
use annals_store::StoreError;

/// Why an import stopped. Another attempt would fail again after [`ImportError::File`], and after a refusal of an append that does not
/// depend on other requests, such as a missing permission. After every other error it may succeed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database cannot be reached, fails, or refuses an append.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The storage of files fails.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file cannot be read from its source.
    #[error("the file could not be read")]
    Source(#[source] std::io::Error),
    /// Other callers changed the same entities during every attempt.
    #[error("other requests kept changing the same entities")]
    Overtaken,
    /// Something that only a bug can cause.
    #[error("{0}")]
    Unexpected(String),
    /// The file is refused as a whole. Another attempt would fail again.
    #[error(transparent)]
    File(#[from] FileFault),
}

impl From<ReadError> for ImportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::File(fault) => Self::File(fault),
            ReadError::Source(error) => match error.downcast::<StorageError>() {
                Ok(StorageError::Changed) => {
                    let message = "the file was changed or deleted while it was read: request another upload";
                    Self::File(FileFault::new("file_changed", message))
                }
                Ok(error) => Self::Storage(error),
                // What the source makes of the file: a broken archive, for example.
                Err(error) => error.downcast::<FileFault>().map_or_else(Self::Source, Self::File),
            },
        }
    }
}
