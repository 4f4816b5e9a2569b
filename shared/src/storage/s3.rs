//! A bucket of S3: addresses that were signed for one object, and requests for parts of it.
//!
//! By `aws-sigv4`, which the SDK brings along, and the HTTP client that fetches key sets, in place of `aws-sdk-s3`: three requests of
//! its hundred are needed, and it is as large as all of a function.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures_util::{Stream, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::{CONTENT_LENGTH, ETAG, HOST, IF_MATCH, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use uuid::Uuid;

use super::{ADDRESS_SECONDS, Address, Object, StorageError, Uploaded};
use crate::aws;
use crate::store::told;

/// Bytes that one request asks for: few enough to be asked for again, many enough that asking costs nothing.
const PART: u64 = 16 * 1024 * 1024;
/// How often bytes are asked for that did not come.
const TRIES: u32 = 5;
/// Pause before that; it grows with every try.
const PAUSE: Duration = Duration::from_millis(200);
/// A store that says nothing for so long is asked again.
const SILENCE: Duration = Duration::from_secs(20);
/// What objects' names begin with.
const PREFIX: &str = "uploads/";
/// All but the characters that stand for themselves in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A bucket.
#[derive(Clone)]
pub struct S3 {
    /// Made when something is sent: who only signs need not read the system's certificates.
    client: Arc<OnceLock<Client>>,
    credentials: SharedCredentialsProvider,
    region: String,
    /// Where the bucket's objects are, without a slash at the end.
    base: String,
    bucket: String,
}

impl S3 {
    /// The bucket of that name, as the function's role.
    ///
    /// # Errors
    /// A process that runs as nobody or nowhere.
    pub fn of_function(bucket: String) -> Result<Self, StorageError> {
        let settings = aws::settings();
        let unknown = |what: &str| StorageError::Unusable(format!("{what} is not known"));
        let credentials = settings.credentials_provider().ok_or_else(|| unknown("the role"))?;
        let region = settings.region().ok_or_else(|| unknown("the region"))?.to_string();
        Ok(Self::new(bucket, region, credentials, aws::endpoint("S3").as_deref()))
    }

    /// A bucket at an endpoint of its own, or at AWS' for the region.
    pub fn new(bucket: String, region: String, credentials: SharedCredentialsProvider, endpoint: Option<&str>) -> Self {
        let base = match endpoint {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None if region.starts_with("cn-") => format!("https://{bucket}.s3.{region}.amazonaws.com.cn"),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        };
        Self {
            client: Arc::default(),
            credentials,
            region,
            base,
            bucket,
        }
    }

    /// The objects that an event of a bucket tells of. None where it is none. Of all that an event says, only this is read: an
    /// event that says more, or less, than it does today is one all the same.
    pub(super) fn told_by(&self, event: &Value) -> Vec<Uploaded> {
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
        // Events have names encoded as forms do.
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
            let client = Client::builder().connect_timeout(SILENCE).read_timeout(SILENCE).build();
            client.unwrap_or_default()
        })
    }

    fn url(&self, id: Uuid) -> String {
        format!("{}/{PREFIX}{id}", self.base)
    }

    pub(super) async fn address(&self, id: Uuid) -> Result<Address, StorageError> {
        let lives = Duration::from_secs(u64::from(ADDRESS_SECONDS));
        let query = self.sign("PUT", &self.url(id), Some(lives)).await?;
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)))
            .collect();
        Ok(Address {
            url: format!("{}?{}", self.url(id), query.join("&")),
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
            status => Err(StorageError::Unusable(format!("asked for an object, it says {status}"))),
        }
    }

    pub(super) async fn delete(&self, id: Uuid) -> Result<(), StorageError> {
        let answer = self.send(Method::DELETE, id, |request| request).await?;
        match answer.status().as_u16() {
            200 | 204 | 404 => Ok(()),
            status => Err(StorageError::Unusable(format!(
                "told to delete an object, it says {status}"
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
        let mut last = None;
        for attempt in 0..TRIES {
            tokio::time::sleep(PAUSE * attempt).await;
            let mut request = self.client().request(method.clone(), self.url(id));
            for (name, value) in self.sign(method.as_str(), &self.url(id), None).await? {
                request = request.header(name, value);
            }
            match with(request).send().await {
                Ok(answer) if answer.status().is_server_error() => last = Some(answer.status().to_string()),
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(reason(error)),
            }
        }
        Err(StorageError::Unusable(last.unwrap_or_default()))
    }

    /// What a request has to bring: as parameters of its query where it is for somebody else to send for a while, else as headers.
    async fn sign(
        &self,
        method: &str,
        url: &str,
        lives: Option<Duration>,
    ) -> Result<Vec<(String, String)>, StorageError> {
        let credentials = self.credentials.provide_credentials().await;
        let credentials = credentials.map_err(|e| StorageError::Unusable(e.to_string()))?;
        sign_request(credentials, &self.region, (method, url), lives, SystemTime::now())
            .map_err(|e| StorageError::Unusable(e.to_string()))
    }
}

/// Why a request failed, without its address, which is nobody's business.
fn reason(error: reqwest::Error) -> String {
    told(&error.without_url())
}

fn sign_request(
    credentials: Credentials,
    region: &str,
    (method, url): (&str, &str),
    lives: Option<Duration>,
    now: SystemTime,
) -> Result<Vec<(String, String)>, Box<dyn std::error::Error + Send + Sync>> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = match lives {
        None => PayloadChecksumKind::XAmzSha256,
        Some(_) => PayloadChecksumKind::NoHeader,
    };
    if lives.is_some() {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = lives;
    }
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let request = SignableRequest::new(method, url, std::iter::empty(), SignableBody::UnsignedPayload)?;
    let (headers, query) = sign(request, &params)?.into_parts().0.into_parts();
    let query = query
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_owned()));
    let headers = headers
        .into_iter()
        .map(|header| (header.name().to_owned(), header.value().to_owned()))
        .filter(|(name, _)| !name.eq_ignore_ascii_case(HOST.as_str()));
    Ok(match lives {
        None => headers.collect(),
        Some(_) => query.collect(),
    })
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
    /// The next bytes; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            tokio::time::sleep(PAUSE * attempt).await;
            while self.next < self.object.size {
                let part = match &mut self.part {
                    Some(part) => part,
                    None => {
                        let part = self.ask().await?;
                        self.part.insert(part)
                    }
                };
                match part.chunk().await {
                    Ok(Some(bytes)) => {
                        self.next += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    Ok(None) => self.part = None,
                    Err(error) => {
                        self.part = None;
                        last = reason(error);
                        break;
                    }
                }
            }
            if self.next >= self.object.size {
                return Ok(None);
            }
        }
        Err(StorageError::Unusable(last))
    }

    async fn ask(&self) -> Result<Response, StorageError> {
        let last = (self.next + PART).min(self.object.size) - 1;
        let range = format!("bytes={}-{last}", self.next);
        let with = |request: RequestBuilder| request.header(RANGE, &range).header(IF_MATCH, &self.object.tag);
        let answer = self.bucket.send(Method::GET, self.id, with).await?;
        match answer.status().as_u16() {
            206 => {
                // Not every store heeds the condition.
                let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
                if tag == Some(&self.object.tag) {
                    Ok(answer)
                } else {
                    Err(StorageError::Changed)
                }
            }
            404 | 412 | 416 => Err(StorageError::Changed),
            status => Err(StorageError::Unusable(format!("asked for a part, it says {status}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example of S3's own documentation, its key in two: whole, it would look like one that somebody left here.
    #[test]
    fn an_address_is_signed_as_s3_wants_it() {
        let credentials = Credentials::new(
            concat!("AKIA", "IOSFODNN7EXAMPLE"),
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let request = ("GET", "https://examplebucket.s3.amazonaws.com/test.txt");
        let lives = Some(Duration::from_secs(86_400));
        let query = sign_request(credentials, "us-east-1", request, lives, now).expect("a signature");
        let signature = query.iter().find(|(name, _)| name == "X-Amz-Signature");
        assert_eq!(
            signature.expect("a signature").1,
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    fn bucket() -> S3 {
        let credentials = Credentials::new("a", "b", None, None, "test");
        let credentials = SharedCredentialsProvider::new(credentials);
        S3::new("ours".to_owned(), "eu-central-1".to_owned(), credentials, None)
    }

    #[test]
    fn events_tell_of_uploads_and_of_what_is_none() {
        let id = Uuid::from_u128(7);
        let told = |name: &str, key: &str| bucket().told_by(&bucket_event(name, key));
        assert_eq!(told("ours", &format!("uploads/{id}")), [Uploaded::File(id)]);
        for (bucket, key) in [
            ("theirs", format!("uploads/{id}")),
            ("ours", id.to_string()),
            ("ours", format!("uploads/{id}.csv")),
            ("ours", format!("uploads/{}", id.simple())),
            ("ours", "uploads/my+sales%20of%20%C3%BCber.csv".to_owned()),
            ("ours", "uploads/%FF".to_owned()),
            ("ours", String::new()),
        ] {
            assert_eq!(told(bucket, &key), [Uploaded::Foreign], "{bucket} {key}");
        }
        for none in [
            json!({}),
            json!([]),
            json!({"Records": 5}),
            json!({"Event": "s3:TestEvent"}),
        ] {
            assert_eq!(bucket().told_by(&none), []);
        }
    }

    /// As AWS documents it.
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
