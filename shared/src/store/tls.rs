//! Whether a connection is encrypted, and whom it believes.
//!
//! Invariant: either a connection is not encrypted because its address says so (`sslmode=disable`) or never leaves the machine,
//! or the server's certificate is verified, chain and host name. Nothing lies between: an encrypted connection to somebody
//! unknown keeps no password.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::ConnectError;

/// Authorities of RDS, one to three for each region; where they come from stands in the folder's README.
const RDS: &[u8] = include_bytes!("../../authorities/rds.pem");
/// Supabase's.
const SUPABASE: &[u8] = include_bytes!("../../authorities/supabase.pem");

/// Reads an address. All of libpq's words that ask for TLS mean one thing here, and two of them are unknown to the driver. Without
/// a word, only an address on this machine does without TLS: a server next door has nobody in between, and Debian's shows
/// a certificate that nobody has signed.
pub(super) fn read_address(url: &str) -> Result<Config, ConnectError> {
    let known = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut address: Config = known.parse().map_err(|_| ConnectError::Address)?;
    if address.get_ssl_mode() == SslMode::Prefer {
        let local =
            address.get_hosts().iter().all(is_local) && address.get_hostaddrs().iter().all(|ip| ip.is_loopback());
        address.ssl_mode(if local { SslMode::Disable } else { SslMode::Require });
    }
    Ok(address)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// Whether these are certificates.
pub(super) fn check_authorities(given: &str) -> Result<(), ConnectError> {
    add(&mut RootCertStore::empty(), given.as_bytes())
}

/// Verifies by the given authorities alone, or by those that may sign for the address.
pub(super) fn connector(address: &Config, given: Option<&str>) -> Result<MakeRustlsConnect, ConnectError> {
    let mut roots = RootCertStore::empty();
    match given {
        Some(pem) => add(&mut roots, pem.as_bytes())?,
        None => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            for pem in own_authorities(address) {
                add(&mut roots, pem)?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    match ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() {
        Ok(builder) => Ok(MakeRustlsConnect::new(
            builder.with_root_certificates(roots).with_no_client_auth(),
        )),
        Err(_) => unreachable!("the provider supports its own default versions"),
    }
}

/// Authorities that sign for a service's own hosts, and are believed there only.
fn own_authorities(address: &Config) -> impl Iterator<Item = &'static [u8]> {
    let ends = |ends: [&str; 2]| {
        address.get_hosts().iter().any(
            |host| matches!(host, Host::Tcp(name) if ends.iter().any(|end| name.to_ascii_lowercase().ends_with(end))),
        )
    };
    let rds = ends([".rds.amazonaws.com", ".rds.amazonaws.com.cn"]).then_some(RDS);
    let supabase = ends([".supabase.co", ".supabase.com"]).then_some(SUPABASE);
    rds.into_iter().chain(supabase)
}

/// Adds each certificate of a text. One that cannot be read, or a text without any, is a mistake of whoever gave it.
fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), ConnectError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        added.and_then(Result::ok).ok_or(ConnectError::Authorities)?;
    }
    if roots.len() == before {
        return Err(ConnectError::Authorities);
    }
    Ok(())
}
