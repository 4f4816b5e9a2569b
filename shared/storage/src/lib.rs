//! Storage of large files between upload and import: an S3 bucket, or a folder on one machine.
//!
//! An object's name is its upload's id. A client gets an address that accepts one object for a limited time, and sends the file
//! there. No file passes through a function's request. A reader identifies the object by its tag, so it notices when the object
//! has been overwritten.

mod folder;
mod object;
mod s3;

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use serde_json::Value;
use uuid::Uuid;

pub use self::folder::{Folder, WriteError};
pub use self::object::{ADDRESS_SECONDS, MAX_FILE_BYTES, Object, StorageError, UploadAddress, Uploaded};
pub use self::s3::S3;

/// Where large files are stored.
#[derive(Clone)]
pub enum Storage {
    /// In an S3 bucket.
    S3(S3),
    /// In a folder.
    Folder(Folder),
    /// Not configured: large uploads are not available.
    Unconfigured,
}

impl Storage {
    /// An address for an upload's file.
    pub async fn address(&self, id: Uuid) -> Result<UploadAddress, StorageError> {
        match self {
            Self::S3(bucket) => bucket.address(id).await,
            Self::Folder(folder) => folder.address(id),
            Self::Unconfigured => Err(StorageError::Unconfigured),
        }
    }

    /// The object of an upload. `None` if the file has not arrived.
    pub async fn find(&self, id: Uuid) -> Result<Option<Object>, StorageError> {
        match self {
            Self::S3(bucket) => bucket.find(id).await,
            Self::Folder(folder) => folder.find(id),
            Self::Unconfigured => Err(StorageError::Unconfigured),
        }
    }

    /// The objects that an invocation's event reports. Empty if it is not a storage event.
    pub fn uploads_in(&self, event: &Value) -> Vec<Uploaded> {
        match self {
            Self::S3(bucket) => bucket.uploads_in(event),
            Self::Folder(_) | Self::Unconfigured => Vec::new(),
        }
    }

    /// The bytes of this object, beginning at byte `from`. Fails if the object has another tag by now.
    pub fn read(&self, id: Uuid, object: &Object, from: u64) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::S3(bucket) => Box::pin(bucket.read(id, object, from)),
            Self::Folder(folder) => Box::pin(folder.read(id, object, from)),
            Self::Unconfigured => Box::pin(failing(StorageError::Unconfigured)),
        }
    }

    /// Deletes the object of a finished upload.
    pub async fn delete(&self, id: Uuid) -> Result<(), StorageError> {
        match self {
            Self::S3(bucket) => bucket.delete(id).await,
            Self::Folder(folder) => folder.delete(id),
            Self::Unconfigured => Err(StorageError::Unconfigured),
        }
    }
}

fn failing(error: StorageError) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::once(async { Err(io::Error::other(error)) })
}
