//! Whether a connection is encrypted, and which authorities it trusts.
//!
//! Invariant: a connection is either unencrypted, because its address says so (`sslmode=disable`) or because it never leaves the machine,
//! or the server's certificate is verified, chain and host name. There is nothing in between: an encrypted connection to an unverified
//! server does not protect the password.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connection::error::ConnectError;

/// Authorities of RDS, three for each region. The folder's README says where they come from.
const RDS: &[u8] = include_bytes!("../../authorities/rds.pem");
/// Authority of Supabase.
const SUPABASE: &[u8] = include_bytes!("../../authorities/supabase.pem");

/// Parses an address. All values of libpq's `sslmode` that ask for TLS mean the same here, and the driver does not know two of them.
/// Without `sslmode`, only an address on this machine is used without TLS: such a connection cannot be intercepted, and Debian's
/// server has a certificate that no authority signed.
pub(crate) fn read_address(url: &str) -> Result<Config, ConnectError> {
    let known = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let address: Config = known.parse().map_err(|_| ConnectError::Address)?;
    Ok(secured(address))
}

/// Decides about encryption if the address leaves it open.
pub(crate) fn secured(mut address: Config) -> Config {
    if address.get_ssl_mode() == SslMode::Prefer {
        let local =
            address.get_hosts().iter().all(is_local) && address.get_hostaddrs().iter().all(|ip| ip.is_loopback());
        address.ssl_mode(if local { SslMode::Disable } else { SslMode::Require });
    }
    address
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

/// Checks that these are certificates.
pub(crate) fn check_authorities(given: &str) -> Result<(), ConnectError> {
    add(&mut RootCertStore::empty(), given.as_bytes())
}

/// A connector that trusts the given authorities only, or else those that may sign for the address.
pub(crate) fn connector(address: &Config, given: Option<&str>) -> Result<MakeRustlsConnect, ConnectError> {
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

/// Authorities that sign for a service's own hosts. They are trusted for those hosts only.
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

/// Adds each certificate of a PEM text. It is an error if one cannot be read or if there is none.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn authorities_of(url: &str) -> usize {
        let address = read_address(url).expect("an address");
        let mut roots = RootCertStore::empty();
        for pem in own_authorities(&address) {
            add(&mut roots, pem).expect("certificates");
        }
        roots.len()
    }

    #[test]
    fn rds_and_supabase_are_believed_for_their_own_hosts_only() {
        assert_eq!(
            authorities_of("postgresql://a@annals.c1.eu-central-1.rds.amazonaws.com/annals"),
            81
        );
        assert_eq!(
            authorities_of("postgresql://a@aws-0-eu-central-1.pooler.supabase.com:6543/postgres"),
            1
        );
        assert_eq!(authorities_of("postgresql://a@db.project.supabase.co/postgres"), 1);
        for other in ["db.example.com", "rds.amazonaws.com.example.com", "xsupabase.co"] {
            assert_eq!(authorities_of(&format!("postgresql://a@{other}/annals")), 0, "{other}");
        }
    }

    #[test]
    fn without_a_word_only_this_machine_does_without_tls() {
        let mode = |url: &str| read_address(url).expect("an address").get_ssl_mode();
        for local in [
            "postgresql://a@localhost/x",
            "postgresql://a@127.0.0.1/x",
            "postgresql://a@[::1]/x",
            "host=/run/postgresql user=a",
        ] {
            assert_eq!(mode(local), SslMode::Disable, "{local}");
        }
        for remote in [
            "postgresql://a@db/x",
            "postgresql://a@10.0.0.1/x",
            "postgresql://a@localhost,db/x",
            "host=localhost hostaddr=10.0.0.1",
        ] {
            assert_eq!(mode(remote), SslMode::Require, "{remote}");
        }
        assert_eq!(mode("postgresql://a@localhost/x?sslmode=verify-full"), SslMode::Require);
        assert_eq!(mode("postgresql://a@db/x?sslmode=disable"), SslMode::Disable);
    }
}
