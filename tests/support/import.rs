//! Large uploads as a client and the bucket see them, and importers that end early.

use annals::storage::Storage;
use axum::body::Bytes;
use csv_upload::Importer;
use csv_upload::import::{ImportError, Outcome};
use futures_util::stream;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::answer::Answer;
use crate::people::Person;
use crate::world::World;

/// A large upload that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its id.
    pub id: Uuid,
    /// Where its file is to be sent.
    pub url: String,
}

impl World {
    /// An importer, as a process of its own would have it.
    pub fn importer(&self) -> Importer {
        let app = &self.app;
        Importer::new(app.store.clone(), app.queue.clone(), app.storage.clone())
    }

    /// Asks for a large upload.
    pub async fn ask_for_upload(&self, person: &Person, fields: Value) -> Asked {
        let answer = self.post(person, "/data/uploads", fields).await.expect(201).body;
        assert_eq!(answer["method"], "PUT");
        let text = |name: &str| answer[name].as_str().expect("text").to_owned();
        Asked {
            id: text("upload_id").parse().expect("an id"),
            url: text("url"),
        }
    }

    /// Sends a file to its address, some bytes at a time.
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

    /// Asks, sends and imports; the answer at the end.
    pub async fn import(&self, person: &Person, fields: Value, file: impl AsRef<[u8]>) -> Answer {
        let asked = self.ask_for_upload(person, fields).await;
        self.put_file(&asked, file).await;
        let outcome = self.importer().import(asked.id, None).await;
        assert_eq!(outcome.expect("an import"), Outcome::Ended);
        self.upload(person, &asked).await.expect(200)
    }

    /// How far an upload is.
    pub async fn upload(&self, person: &Person, asked: &Asked) -> Answer {
        self.get(person, &format!("/data/uploads/{}", asked.id)).await
    }

    /// Lets time pass until whoever held the import counts as dead.
    pub async fn forget_holder(&self, asked: &Asked) {
        let sql = "update annals.imports set held_until = clock_timestamp() - interval '1 second' where upload_id = $1 and holder is not null";
        self.superuser()
            .await
            .execute(sql, &[&asked.id])
            .await
            .expect("time passes");
    }

    /// Imports for no longer than a chunk takes; how that was left.
    pub async fn import_a_little(&self, asked: &Asked) -> Result<Outcome, ImportError> {
        self.importer().import(asked.id, Some(Instant::now())).await
    }
}
