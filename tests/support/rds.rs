//! Plays the login of RDS: it requests a password over TLS, reads it as a signed request, and verifies that as AWS does (Signature Version 4,
//! implemented again from its description). Accepted clients are connected to a PostgreSQL that trusts this proxy.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use aws_lc_rs::{digest, hmac};
use chrono::{NaiveDateTime, TimeDelta, Utc};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::authority::Certificate;
use crate::listener::listen;

/// The access key id.
pub const ACCESS_KEY: &str = "tests-access-key";
/// The secret key that tokens are signed with.
pub const SECRET_KEY: &str = "tests-secret-key";
/// The region that tokens are signed for.
pub const REGION: &str = "eu-central-1";

/// The running proxy; it ends with the test's runtime.
pub struct RdsLogin {
    /// The port that it listens on.
    pub port: u16,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl RdsLogin {
    /// A proxy with this certificate before the server at this port.
    pub async fn before(server: u16, certificate: &Certificate) -> Self {
        let tokens = Arc::default();
        let (acceptor, shown) = (acceptor(certificate), Arc::clone(&tokens));
        let port = listen(move |client| {
            let (acceptor, shown) = (acceptor.clone(), Arc::clone(&shown));
            async move { admit(client, acceptor, server, &shown).await }
        });
        Self {
            port: port.await,
            tokens,
        }
    }

    /// The tokens that clients have sent.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().expect("no panic elsewhere").clone()
    }
}

fn acceptor(certificate: &Certificate) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a key that fits");
    TlsAcceptor::from(Arc::new(config))
}

async fn admit(
    mut client: TcpStream,
    acceptor: TlsAcceptor,
    server: u16,
    tokens: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut asks_for_tls = [0; 8];
    client.read_exact(&mut asks_for_tls).await?;
    if asks_for_tls != [0, 0, 0, 8, 4, 210, 22, 47] {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let startup = frame(&mut client).await?;
    client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
    client.read_u8().await?;
    let password = frame(&mut client).await?;
    let token = String::from_utf8_lossy(&password[4..password.len() - 1]).into_owned();
    tokens.lock().expect("no panic elsewhere").push(token.clone());
    if !is_good(&token) {
        let fields = b"SFATAL\0VFATAL\0C28000\0MPAM authentication failed\0\0";
        let length = u32::try_from(fields.len() + 4).expect("a short message");
        let refusal = [b"E".as_slice(), &length.to_be_bytes(), fields].concat();
        client.write_all(&refusal).await?;
        return client.shutdown().await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    server.write_all(&startup).await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}

/// A frame without a tag: the length and the content.
async fn frame(client: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(length as usize, 0);
    client.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// Whether it is a request to connect as `annals_api` that was signed with the key within the last fifteen minutes.
fn is_good(token: &str) -> bool {
    let Some((host, query)) = token.split_once("/?") else {
        return false;
    };
    let mut fields: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let signature = fields.remove("X-Amz-Signature");
    let Ok(date) = NaiveDateTime::parse_from_str(fields["X-Amz-Date"], "%Y%m%dT%H%M%SZ") else {
        return false;
    };
    let age = Utc::now().naive_utc() - date;
    let scope = format!("{}/{REGION}/rds-db/aws4_request", date.format("%Y%m%d"));
    let expected = [
        ("Action", "connect"),
        ("DBUser", "annals_api"),
        ("X-Amz-Expires", "900"),
        ("X-Amz-SignedHeaders", "host"),
        ("X-Amz-Credential", &format!("{ACCESS_KEY}/{scope}").replace('/', "%2F")),
    ];
    let canonical: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = format!("GET\n/\n{}\nhost:{host}\n\nhost\n{}", canonical.join("&"), hash(""));
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        fields["X-Amz-Date"],
        hash(&request)
    );
    let key = scope
        .split('/')
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| mac(&key, part));
    expected.iter().all(|(name, value)| fields.get(name) == Some(value))
        && (TimeDelta::seconds(-60)..TimeDelta::seconds(900)).contains(&age)
        && signature == Some(hex(&mac(&key, &to_sign)).as_str())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hash(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
