//! Uploads as browsers and curl send them.

use axum::body::Body;
use axum::http::{Request, header};

use crate::answer::Answer;
use crate::people::Person;
use crate::world::World;

const BOUNDARY: &str = "a-boundary-that-no-file-contains";

/// A part of a multipart form.
pub enum Part<'a> {
    /// A field with a value.
    Field(&'a str, &'a str),
    /// The field `file` with the bytes of a file.
    File(&'a [u8]),
}

/// The multipart body of these parts, in this order.
pub fn multipart(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        match part {
            Part::Field(name, value) => body.extend(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            ),
            Part::File(bytes) => {
                let head =
                    "Content-Disposition: form-data; name=\"file\"; filename=\"sales.csv\"\r\nContent-Type: text/csv";
                body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").bytes());
                body.extend(*bytes);
                body.extend(b"\r\n");
            }
        }
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

impl World {
    /// `POST` of a sales file as a form; the fields come first.
    pub async fn upload_sales(&self, person: &Person, fields: &[(&str, &str)], file: impl AsRef<[u8]>) -> Answer {
        self.upload_file(person, "sales", fields, file).await
    }

    /// `POST` of a file of any dataset as a form; the fields come first.
    pub async fn upload_file(
        &self,
        person: &Person,
        dataset: &str,
        fields: &[(&str, &str)],
        file: impl AsRef<[u8]>,
    ) -> Answer {
        let mut parts: Vec<Part<'_>> = fields.iter().map(|(name, value)| Part::Field(name, value)).collect();
        parts.push(Part::File(file.as_ref()));
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let path = format!("/api/v1/data/upload-{dataset}-csv");
        self.upload_to(person, &path, &kind, multipart(&parts)).await
    }

    /// `POST` of a multipart body to the sales upload.
    pub async fn upload_form(&self, person: &Person, body: Vec<u8>) -> Answer {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.upload_bytes(person, "", &kind, body).await
    }

    /// `POST` of a multipart body.
    pub async fn post_form(&self, person: &Person, path: &str, body: Vec<u8>) -> Answer {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.upload_to(person, path, &kind, body).await
    }

    /// `POST` of any body to the sales upload.
    pub async fn upload_bytes(&self, person: &Person, query: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let path = format!("/api/v1/data/upload-sales-csv{query}");
        self.upload_to(person, &path, content_type, body).await
    }

    async fn upload_to(&self, person: &Person, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", person.token()))
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body));
        self.send(request.expect("a request")).await
    }
}
