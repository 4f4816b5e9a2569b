//! Large uploads from the side of a client and of the bucket, and importers that end early.

use annals_import::Importer;
use annals_import::{ImportError, ImportOutcome};
use annals_storage::Storage;
use axum::body::Bytes;
use futures_util::stream;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::answer::Answer;
use crate::people::Person;
use crate::world::World;

/// A large upload that was requested.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Id of the upload.
    pub id: Uuid,
    /// The address for its file.
    pub url: String,
}

impl World {
    /// An importer as in a process of its own.
    pub fn importer(&self) -> Importer {
        let app = &self.app;
        Importer::new(app.store.clone(), app.queue.clone(), app.storage.clone())
    }

    /// Requests a large upload.
    pub async fn ask_for_upload(&self, person: &Person, fields: Value) -> Asked {
        let answer = self.post(person, "/data/uploads", fields).await.expect(201).body;
        assert_eq!(answer["method"], "PUT");
        let text = |name: &str| answer[name].as_str().expect("text").to_owned();
        Asked {
            id: text("upload_id").parse().expect("an id"),
            url: text("url"),
        }
    }

    /// Sends a file to its address in pieces of 10,000 bytes.
    pub async fn put_file(&self, asked: &Asked, file: impl AsRef<[u8]>) {
        let Storage::Folder(folder) = &self.app.storage else {
            panic!("no folder")
        };
        let token = asked.url.split_once("token=").expect("a token").1;
        let pieces: Vec<_> = file
            .as_ref()
            .chunks(10_000)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let written = folder.write(asked.id, token, stream::iter(pieces)).await;
        written.expect("the file is taken");
    }

    /// Requests an upload, sends the file and imports it; returns the final answer.
    pub async fn import(&self, person: &Person, fields: Value, file: impl AsRef<[u8]>) -> Answer {
        let asked = self.ask_for_upload(person, fields).await;
        self.put_file(&asked, file).await;
        let outcome = self.importer().import(asked.id, None).await;
        assert_eq!(outcome.expect("an import"), ImportOutcome::Ended);
        self.upload(person, &asked).await.expect(200)
    }

    /// The current status of an upload.
    pub async fn upload(&self, person: &Person, asked: &Asked) -> Answer {
        self.get(person, &format!("/data/uploads/{}", asked.id)).await
    }

    /// Makes the lease on the import expire.
    pub async fn forget_holder(&self, asked: &Asked) {
        let sql = "update annals.imports set held_until = clock_timestamp() - interval '1 second' where upload_id = $1 and holder is not null";
        self.superuser()
            .await
            .execute(sql, &[&asked.id])
            .await
            .expect("time passes");
    }

    /// Imports for no longer than one chunk takes; returns the outcome.
    pub async fn import_a_little(&self, asked: &Asked) -> Result<ImportOutcome, ImportError> {
        self.importer().import(asked.id, Some(Instant::now())).await
    }
}
