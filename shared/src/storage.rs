//! Where large files lie between their upload and their end: a bucket of S3, or a folder on a laptop.
//!
//! An object's name is its upload's id. A client is given an address that takes one object for a while, and sends the file
//! there; no file passes through a function's request. Readers name the object that they mean by its tag: one that was written over
//! since is another.

mod folder;
mod s3;

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use serde_json::Value;
use uuid::Uuid;

pub use self::folder::{Folder, WriteError};
pub use self::s3::S3;

/// Most bytes of a file: what S3 takes in one request.
pub const MAX_FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Seconds for which an address takes a file. The transfer may take longer.
pub const ADDRESS_SECONDS: u32 = 3_600;

/// Where large files lie.
#[derive(Clone)]
pub enum Storage {
    /// A bucket.
    S3(S3),
    /// A folder.
    Folder(Folder),
    /// Nowhere: there are no large uploads.
    Nowhere,
}

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It is another one now, or gone.
    #[error("the file was changed or deleted while it was read")]
    Changed,
    /// There is no store.
    #[error("there is no place for large files")]
    Nowhere,
    /// The store fails.
    #[error("the store of large files cannot be used: {0}")]
    Unusable(String),
}

/// An object as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Tells it from others of its name.
    pub tag: String,
    /// Bytes.
    pub size: u64,
}

/// An object that an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// The file of this upload, as far as its name tells.
    File(Uuid),
    /// Something else in the bucket, or something in another one.
    Foreign,
}

/// Where a file is to be sent.
#[derive(Debug)]
pub struct Address {
    /// The whole of it, permission included.
    pub url: String,
    /// Headers that must go with it.
    pub headers: Vec<(&'static str, String)>,
}

impl Storage {
    /// An address that takes an upload's file.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn address(&self, id: Uuid) -> Result<Address, StorageError> {
        match self {
            Self::S3(bucket) => bucket.address(id).await,
            Self::Folder(folder) => folder.address(id),
            Self::Nowhere => Err(StorageError::Nowhere),
        }
    }

    /// The object of an upload, if its file has come.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn find(&self, id: Uuid) -> Result<Option<Object>, StorageError> {
        match self {
            Self::S3(bucket) => bucket.find(id).await,
            Self::Folder(folder) => folder.find(id),
            Self::Nowhere => Err(StorageError::Nowhere),
        }
    }

    /// The objects that an event, as the function is invoked with it, tells of. None where it is no event of objects.
    pub fn told_by(&self, event: &Value) -> Vec<Uploaded> {
        match self {
            Self::S3(bucket) => bucket.told_by(event),
            Self::Folder(_) | Self::Nowhere => Vec::new(),
        }
    }

    /// The bytes of this very object from one of them on.
    pub fn read(&self, id: Uuid, object: &Object, from: u64) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::S3(bucket) => Box::pin(bucket.read(id, object, from)),
            Self::Folder(folder) => Box::pin(folder.read(id, object, from)),
            Self::Nowhere => Box::pin(failing(StorageError::Nowhere)),
        }
    }

    /// Deletes the object of an upload that has come to its end.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn delete(&self, id: Uuid) -> Result<(), StorageError> {
        match self {
            Self::S3(bucket) => bucket.delete(id).await,
            Self::Folder(folder) => folder.delete(id),
            Self::Nowhere => Err(StorageError::Nowhere),
        }
    }
}

fn failing(error: StorageError) -> impl Stream<Item = io::Result<Bytes>> {
    futures_util::stream::once(async { Err(io::Error::other(error)) })
}
