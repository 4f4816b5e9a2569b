//! A folder instead of a bucket, for `local`. Its upload addresses point to the local server and contain a token for one upload's
//! file.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::object::{ADDRESS_SECONDS, MAX_FILE_BYTES, Object, StorageError, UploadAddress};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Audience of upload tokens. It keeps them apart from other tokens of the same key.
const AUDIENCE: &str = "annals-upload";
/// Path of upload addresses, below the server's base URL.
const PATH: &str = "/uploads";

/// A folder with large files.
#[derive(Clone)]
pub struct Folder(Arc<Inner>);

struct Inner {
    path: PathBuf,
    base: String,
    secret: Vec<u8>,
}

/// Claims of an upload token.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    aud: String,
    exp: u64,
}

/// Why a file is not stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The token is for another upload, or has expired.
    #[error("the address does not accept this file, or has expired")]
    Token,
    /// The file is too large.
    #[error("a file may have at most {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// The transfer ended before the file was complete.
    #[error("the transfer ended before the file was complete")]
    BrokeOff,
    /// The disk failed.
    #[error("the file cannot be written")]
    Disk(#[from] io::Error),
}

impl Folder {
    /// A folder at `path`, created when the first file arrives. `base` is the server's URL, and `secret` signs the addresses.
    pub fn new(path: PathBuf, base: String, secret: Vec<u8>) -> Self {
        Self(Arc::new(Inner { path, base, secret }))
    }

    pub(super) fn address(&self, id: Uuid) -> Result<UploadAddress, StorageError> {
        let expires = SystemTime::now() + Duration::from_secs(u64::from(ADDRESS_SECONDS));
        let exp = expires
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let claims = Claims {
            sub: id,
            aud: AUDIENCE.to_owned(),
            exp,
        };
        let key = EncodingKey::from_secret(&self.0.secret);
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key);
        let token = token.map_err(|e| StorageError::Unusable(e.to_string()))?;
        Ok(UploadAddress {
            url: format!("{}{PATH}/{id}?token={token}", self.0.base),
            headers: Vec::new(),
        })
    }

    /// Stores a file for the bearer of the token. It becomes visible only when it is complete.
    ///
    /// # Errors
    /// [`WriteError`]. An earlier file of this upload is then kept.
    pub async fn write<S, E>(&self, id: Uuid, token: &str, mut body: S) -> Result<(), WriteError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        self.check(id, token)?;
        // Only the server's own user may read the folder.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0.path)?;
        let partial = self.0.path.join(format!("{id}.{}", Uuid::new_v4()));
        let written = async {
            let mut file = fs::File::create(&partial)?;
            let mut size = 0_u64;
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(|_| WriteError::BrokeOff)?;
                size += bytes.len() as u64;
                if size > MAX_FILE_BYTES {
                    return Err(WriteError::TooLarge);
                }
                file.write_all(&bytes)?;
            }
            file.sync_all()?;
            Ok(fs::rename(&partial, self.path(id))?)
        };
        let written = written.await;
        if written.is_err() {
            // A partial file that cannot be deleted does no harm.
            let _ = fs::remove_file(&partial);
        }
        written
    }

    /// Checks that the token permits storing this upload's file now.
    pub fn check(&self, id: Uuid, token: &str) -> Result<(), WriteError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0;
        let key = DecodingKey::from_secret(&self.0.secret);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|_| WriteError::Token)?;
        if claims.claims.sub == id {
            Ok(())
        } else {
            Err(WriteError::Token)
        }
    }

    /// Deletes partial files that an ended process left behind, and returns the ids of complete ones. Call it at start, when no
    /// file is arriving.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear(&self) -> io::Result<Vec<Uuid>> {
        let mut whole = Vec::new();
        let entries = match fs::read_dir(&self.0.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(whole),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match (name.parse::<Uuid>(), name.split_once('.')) {
                (Ok(id), _) => whole.push(id),
                (_, Some((id, part))) if [id, part].iter().all(|id| id.parse::<Uuid>().is_ok()) => {
                    fs::remove_file(&path)?
                }
                // A file that is not ours is left alone.
                _ => {}
            }
        }
        Ok(whole)
    }

    pub(super) fn find(&self, id: Uuid) -> Result<Option<Object>, StorageError> {
        match fs::metadata(self.path(id)) {
            Ok(found) => Ok(Some(object_of(&found).map_err(unusable)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(error)),
        }
    }

    pub(super) fn read(&self, id: Uuid, object: &Object, from: u64) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let opened = self.open(id, object, from);
        stream::try_unfold(opened, |opened| async {
            let mut file = opened?;
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = file.read(&mut chunk)?;
            // Reading a file never waits, so without this yield a signal to stop would not be noticed.
            tokio::task::yield_now().await;
            chunk.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(chunk), Ok(file))))
        })
    }

    fn open(&self, id: Uuid, object: &Object, from: u64) -> io::Result<fs::File> {
        let changed = || io::Error::other(StorageError::Changed);
        let mut file = fs::File::open(self.path(id)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => changed(),
            _ => error,
        })?;
        if object_of(&file.metadata()?)? != *object {
            return Err(changed());
        }
        file.seek(SeekFrom::Start(from))?;
        Ok(file)
    }

    pub(super) fn delete(&self, id: Uuid) -> Result<(), StorageError> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.0.path.join(id.to_string())
    }
}

/// The object's tag is its modification time and size. Files are moved into place when they are complete, so another file has
/// another time.
fn object_of(found: &fs::Metadata) -> io::Result<Object> {
    let modified = found
        .modified()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Object {
        tag: format!("{}-{}", modified.as_nanos(), found.len()),
        size: found.len(),
    })
}

fn unusable(error: io::Error) -> StorageError {
    StorageError::Unusable(error.to_string())
}
