//! A folder in a bucket's place. Addresses are `local`'s own, with a token that lets one upload's file in for a while.

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

use super::{ADDRESS_SECONDS, Address, MAX_FILE_BYTES, Object, StorageError};

/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;
/// What its tokens are for: no other token of the same key is one, and none of them is another.
const AUDIENCE: &str = "annals-upload";
/// Where its addresses begin, below the server's.
const PATH: &str = "/uploads";

/// A folder.
#[derive(Clone)]
pub struct Folder(Arc<Place>);

struct Place {
    path: PathBuf,
    base: String,
    secret: Vec<u8>,
}

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    aud: String,
    exp: u64,
}

/// Why a file is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The token does not let it in, or no longer.
    #[error("the address takes no file, or no longer")]
    Token,
    /// It is too large.
    #[error("a file has at most {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// It did not come whole.
    #[error("the file broke off")]
    BrokeOff,
    /// The disk.
    #[error("the file cannot be written")]
    Disk(#[from] io::Error),
}

impl Folder {
    /// This folder, made with the first file, behind a server at `base`, with a key to sign addresses with.
    pub fn new(path: PathBuf, base: String, secret: Vec<u8>) -> Self {
        Self(Arc::new(Place { path, base, secret }))
    }

    pub(super) fn address(&self, id: Uuid) -> Result<Address, StorageError> {
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
        Ok(Address {
            url: format!("{}{PATH}/{id}?token={token}", self.0.base),
            headers: Vec::new(),
        })
    }

    /// Takes a file in, for whoever has the token. It is there when it is there as a whole.
    ///
    /// # Errors
    /// [`WriteError`]; then what was there before still is.
    pub async fn write<S, E>(&self, id: Uuid, token: &str, mut body: S) -> Result<(), WriteError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        self.check(id, token)?;
        // For nobody else's eyes.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0.path)?;
        let coming = self.0.path.join(format!("{id}.{}", Uuid::new_v4()));
        let written = async {
            let mut file = fs::File::create(&coming)?;
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
            Ok(fs::rename(&coming, self.path(id))?)
        };
        let written = written.await;
        if written.is_err() {
            // What cannot be deleted is in nobody's way.
            let _ = fs::remove_file(&coming);
        }
        written
    }

    /// That the token lets this upload's file in, now.
    ///
    /// # Errors
    /// [`WriteError::Token`]
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

    /// Deletes what was being taken in when a process ended; for the start, when nothing is. Ids of the files that are there.
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
                // Nothing of ours.
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
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece)?;
            // A file is read as fast as it can be: whoever waits for a signal has to be heard in between.
            tokio::task::yield_now().await;
            piece.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(piece), Ok(file))))
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

/// Files are put in place as a whole, so that another one has another time.
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
