//! An S3 bucket: signed addresses for one object, and requests for parts of an object.
//!
//! This uses the HTTP client that fetches key sets instead of `aws-sdk-s3`. Only four of its hundred operations are needed, and that
//! crate is as large as a whole function.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use futures_util::{Stream, stream};
use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_LENGTH, ETAG, IF_MATCH, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use uuid::Uuid;

use super::object::{ADDRESS_SECONDS, Object, StorageError, UploadAddress, Uploaded};
use annals_aws::attempts::Attempts;
use annals_aws::settings;
use annals_aws::signer::{RequestSigner, Service, SignError};
use annals_telemetry::chain;

/// Bytes that one request asks for: few enough to repeat the request after a failure, and enough that the number of requests does not
/// matter.
const PART: u64 = 16 * 1024 * 1024;
/// Attempts of a request, and of reading the next bytes of an object. `Reading::next` asks again after a broken transfer, and `send`
/// repeats each of these requests if it fails, so a read gives up after at most 25 requests.
const ATTEMPTS: Attempts = Attempts::new(5, Duration::from_millis(200));
/// After this time without any response, the request is attempted again.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Prefix of objects' names.
const PREFIX: &str = "uploads/";

/// A bucket.
#[derive(Clone)]
pub struct S3 {
    /// Created when the first request is sent: signing alone does not need it, and creating it reads the system's certificates.
    client: Arc<OnceLock<Client>>,
    signer: RequestSigner,
    /// URL of the bucket, without a slash at the end.
    base: String,
    bucket: String,
}

impl S3 {
    /// The bucket with that name, used with the function's role.
    ///
    /// # Errors
    /// [`StorageError::Unusable`]: the process has no credentials or no region.
    pub fn of_function(bucket: String) -> Result<Self, StorageError> {
        let signer = RequestSigner::of_function(Service::S3).map_err(unusable)?;
        Ok(Self::with_signer(bucket, signer, settings::endpoint("S3").as_deref()))
    }

    /// A bucket at this endpoint or, without one, at AWS' endpoint for the region.
    pub fn new(bucket: String, region: String, credentials: SharedCredentialsProvider, endpoint: Option<&str>) -> Self {
        Self::with_signer(bucket, RequestSigner::new(Service::S3, credentials, region), endpoint)
    }

    fn with_signer(bucket: String, signer: RequestSigner, endpoint: Option<&str>) -> Self {
        let region = signer.region();
        let base = match endpoint {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None if region.starts_with("cn-") => format!("https://{bucket}.s3.{region}.amazonaws.com.cn"),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        };
        Self {
            client: Arc::default(),
            signer,
            base,
            bucket,
        }
    }

    /// The objects that an S3 event reports. Empty if it is not such an event. Only these members are read, so an event with more
    /// or fewer other members is accepted.
    pub(super) fn uploads_in(&self, event: &Value) -> Vec<Uploaded> {
        let records = event["Records"].as_array().into_iter().flatten();
        records
            .map(|record| {
                self.uploaded(
                    record["s3"]["bucket"]["name"].as_str(),
                    record["s3"]["object"]["key"].as_str(),
                )
            })
            .collect()
    }

    fn uploaded(&self, bucket: Option<&str>, key: Option<&str>) -> Uploaded {
        // Events encode names like form fields, with `+` for a blank.
        let key = key.unwrap_or_default().replace('+', " ");
        let key = percent_decode_str(&key).decode_utf8_lossy();
        let id = key.strip_prefix(PREFIX).and_then(|id| Uuid::try_parse(id).ok());
        let is_ours = bucket == Some(&self.bucket);
        match id.filter(|id| is_ours && key == format!("{PREFIX}{id}")) {
            Some(id) => Uploaded::File(id),
            None => Uploaded::Foreign,
        }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let client = Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT).build();
            client.unwrap_or_default()
        })
    }

    fn url(&self, id: Uuid) -> String {
        format!("{}/{PREFIX}{id}", self.base)
    }

    pub(super) async fn address(&self, id: Uuid) -> Result<UploadAddress, StorageError> {
        let lifetime = Duration::from_secs(u64::from(ADDRESS_SECONDS));
        let url = self.url(id);
        let signed = self.signer.presign("PUT", &url, lifetime, SystemTime::now());
        Ok(UploadAddress {
            url: signed.await.map_err(unusable)?,
            headers: Vec::new(),
        })
    }

    pub(super) async fn find(&self, id: Uuid) -> Result<Option<Object>, StorageError> {
        let answer = self.send(Method::HEAD, id, |request| request).await?;
        match answer.status().as_u16() {
            404 => Ok(None),
            200 => {
                let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
                let size = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
                match (header(ETAG), size) {
                    (Some(tag), Some(size)) => Ok(Some(Object {
                        tag: tag.to_owned(),
                        size,
                    })),
                    _ => Err(StorageError::Unusable("an object without tag or size".to_owned())),
                }
            }
            status => Err(StorageError::Unusable(format!(
                "the request for an object failed with status {status}"
            ))),
        }
    }

    pub(super) async fn delete(&self, id: Uuid) -> Result<(), StorageError> {
        let answer = self.send(Method::DELETE, id, |request| request).await?;
        match answer.status().as_u16() {
            200 | 204 | 404 => Ok(()),
            status => Err(StorageError::Unusable(format!(
                "deleting an object failed with status {status}"
            ))),
        }
    }

    pub(super) fn read(&self, id: Uuid, object: &Object, from: u64) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let reading = Reading {
            bucket: self.clone(),
            id,
            object: object.clone(),
            next: from,
            part: None,
        };
        stream::try_unfold(reading, |mut reading| async {
            let bytes = reading.next().await.map_err(io::Error::other)?;
            Ok(bytes.map(|bytes| (bytes, reading)))
        })
    }

    async fn send(
        &self,
        method: Method,
        id: Uuid,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, StorageError> {
        let mut attempts = ATTEMPTS;
        loop {
            let mut request = self.client().request(method.clone(), self.url(id));
            let headers = self.signer.headers(method.as_str(), &self.url(id)).await;
            for (name, value) in headers.map_err(unusable)? {
                request = request.header(name, value);
            }
            let failure = match with(request).send().await {
                Ok(answer) if answer.status().is_server_error() => answer.status().to_string(),
                Ok(answer) => return Ok(answer),
                Err(error) => reason(error),
            };
            if !attempts.again().await {
                return Err(StorageError::Unusable(failure));
            }
        }
    }
}

fn unusable(error: SignError) -> StorageError {
    StorageError::Unusable(chain(&error))
}

/// Why a request failed, without its URL, which must not be logged.
fn reason(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

/// An object that is being read, part by part.
struct Reading {
    bucket: S3,
    id: Uuid,
    object: Object,
    next: u64,
    part: Option<Response>,
}

impl Reading {
    /// The next bytes. `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let mut attempts = ATTEMPTS;
        while self.next < self.object.size {
            let mut part = match self.part.take() {
                Some(part) => part,
                None => self.ask().await?,
            };
            match part.chunk().await {
                Ok(Some(bytes)) => {
                    self.next += bytes.len() as u64;
                    self.part = Some(part);
                    return Ok(Some(bytes));
                }
                Ok(None) => {}
                Err(_) if attempts.again().await => {}
                Err(error) => return Err(StorageError::Unusable(reason(error))),
            }
        }
        Ok(None)
    }

    async fn ask(&self) -> Result<Response, StorageError> {
        let last = (self.next + PART).min(self.object.size) - 1;
        let range = format!("bytes={}-{last}", self.next);
        let with = |request: RequestBuilder| request.header(RANGE, &range).header(IF_MATCH, &self.object.tag);
        let answer = self.bucket.send(Method::GET, self.id, with).await?;
        match answer.status().as_u16() {
            206 => {
                // The tag is compared here too, because not every storage service supports the condition `If-Match`.
                let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
                if tag == Some(&self.object.tag) {
                    Ok(answer)
                } else {
                    Err(StorageError::Changed)
                }
            }
            404 | 412 | 416 => Err(StorageError::Changed),
            status => Err(StorageError::Unusable(format!(
                "the request for a part of an object failed with status {status}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use serde_json::json;

    use super::*;

    fn bucket() -> S3 {
        let credentials = Credentials::new("a", "b", None, None, "test");
        let credentials = SharedCredentialsProvider::new(credentials);
        S3::new("ours".to_owned(), "eu-central-1".to_owned(), credentials, None)
    }

    #[test]
    fn events_report_uploads_and_other_objects() {
        let id = Uuid::from_u128(7);
        let reported = |name: &str, key: &str| bucket().uploads_in(&bucket_event(name, key));
        assert_eq!(reported("ours", &format!("uploads/{id}")), [Uploaded::File(id)]);
        for (bucket, key) in [
            ("theirs", format!("uploads/{id}")),
            ("ours", id.to_string()),
            ("ours", format!("uploads/{id}.csv")),
            ("ours", format!("uploads/{}", id.simple())),
            ("ours", "uploads/my+sales%20of%20%C3%BCber.csv".to_owned()),
            ("ours", "uploads/%FF".to_owned()),
            ("ours", String::new()),
        ] {
            assert_eq!(reported(bucket, &key), [Uploaded::Foreign], "{bucket} {key}");
        }
        for none in [
            json!({}),
            json!([]),
            json!({"Records": 5}),
            json!({"Event": "s3:TestEvent"}),
        ] {
            assert_eq!(bucket().uploads_in(&none), []);
        }
    }

    /// An event as AWS documents it.
    fn bucket_event(bucket: &str, key: &str) -> Value {
        json!({"Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-central-1", "eventTime": "2026-01-31T12:00:00.000Z",
            "eventName": "ObjectCreated:Put", "userIdentity": {"principalId": "AWS:AROA"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"}, "responseElements": {"x-amz-request-id": "C3D1"},
            "s3": {"s3SchemaVersion": "1.0", "configurationId": "c", "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A"},
                   "arn": format!("arn:aws:s3:::{bucket}")},
                   "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5"}}
        }]})
    }
}
