//! Secrets that are generated once and kept in the data folder, readable by their owner only.
//!
//! `token` works before the server's first start and while it runs, and both use the same key. The first process that needs a secret
//! generates it. Its file appears with its whole content, so another process never reads a part of it.

use crate::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use uuid::Uuid;

/// Shortest key for HS256 in bytes: the length of the hash (RFC 7518 §3.2).
const HS256_KEY_BYTES: usize = 32;

/// Name of the file that holds the key of the tokens.
const KEY_FILE: &str = "jwt-secret";

/// The key that signs and verifies local tokens. The bytes of its text are the key, as with Supabase's JWT secret; the text is not decoded.
#[derive(Clone)]
pub struct JwtSecret(String);

impl JwtSecret {
    /// `chosen` (from `JWT_SECRET`), otherwise the key in the data folder, which is generated on first use.
    pub fn load(chosen: Option<&str>, data_dir: &Path) -> Result<Self, Error> {
        let secret = match chosen {
            Some(secret) => secret.to_owned(),
            None => read_or_generate(&data_dir.join(KEY_FILE))?,
        };
        if secret.len() < HS256_KEY_BYTES {
            return Err(Error::Invalid(format!(
                "the JWT secret is shorter than {HS256_KEY_BYTES} bytes, too short for HS256"
            )));
        }
        Ok(Self(secret))
    }

    /// Whether the data folder holds a key.
    pub fn is_kept_in(data_dir: &Path) -> bool {
        data_dir.join(KEY_FILE).exists()
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without the key, which would otherwise get into logs.
impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JwtSecret(…)")
    }
}

/// 64 hexadecimal digits from the operating system's random generator. They are two version 4 UUIDs, which have 244 random bits; a crate
/// for random numbers would be a dependency for this one use.
pub fn generate() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// The secret in the file `path`. If there is no file, it is created with mode 0600.
///
/// The file is written under another name and then hard-linked. If it were created and then written, another process could read it empty. A
/// rename could replace a secret that another process has just created and already uses.
pub fn read_or_generate(path: &Path) -> Result<String, Error> {
    if let Some(secret) = read(path)? {
        return Ok(secret);
    }
    let draft = path.with_extension(Uuid::new_v4().simple().to_string());
    let made = write_private(&draft, &generate()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(Error::io("create", path)),
    });
    let removed = fs::remove_file(&draft).map_err(Error::io("remove", &draft));
    made.and(removed)?;
    read(path)?.ok_or_else(|| Error::Invalid(format!("{} disappeared while it was created", path.display())))
}

/// Creates a file that only its owner may read.
pub fn write_private(path: &Path, content: &str) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("create", path))?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", path))
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(Error::Invalid(format!("{} is empty", path.display()))),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_generated_once_and_is_private() -> Result<(), Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(Uuid::new_v4().to_string());
        fs::create_dir(&folder)?;
        let first = JwtSecret::load(None, &folder)?;
        let again = JwtSecret::load(None, &folder)?;
        let mode = fs::metadata(folder.join("jwt-secret"))?.permissions().mode() & 0o777;
        let files = fs::read_dir(&folder)?.count();
        fs::remove_dir_all(&folder)?;
        assert_eq!(first.as_str(), again.as_str());
        assert_eq!((first.as_str().len(), mode, files), (64, 0o600, 1));
        Ok(())
    }

    #[test]
    fn a_chosen_secret_wins_unless_it_is_too_short() -> Result<(), Error> {
        let chosen = "0123456789abcdef0123456789abcdef";
        assert_eq!(JwtSecret::load(Some(chosen), Path::new("/nowhere"))?.as_str(), chosen);
        assert!(JwtSecret::load(Some("short"), Path::new("/nowhere")).is_err());
        Ok(())
    }
}
