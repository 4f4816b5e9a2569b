//! Objects, their addresses, and why one cannot be used.

use uuid::Uuid;

/// Maximum bytes of a file: the limit of a single S3 upload request.
pub const MAX_FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Seconds for which an address accepts a file. The transfer must begin in that time, but may take longer.
pub const ADDRESS_SECONDS: u32 = 3_600;

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It was overwritten or deleted.
    #[error("the file was changed or deleted while it was read")]
    Changed,
    /// No storage is configured.
    #[error("no storage for large files is configured")]
    Unconfigured,
    /// The storage failed.
    #[error("the storage of large files cannot be used: {0}")]
    Unusable(String),
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Identifies this content. An object that is overwritten gets another tag.
    pub tag: String,
    /// Bytes.
    pub size: u64,
}

/// An object that a storage event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// The file of this upload, according to the object's name.
    File(Uuid),
    /// Another object in the bucket, or an object in another bucket.
    Foreign,
}

/// Where a client sends a file.
#[derive(Debug)]
pub struct UploadAddress {
    /// The URL, which includes the permission to upload.
    pub url: String,
    /// Headers that the client must send.
    pub headers: Vec<(&'static str, String)>,
}
