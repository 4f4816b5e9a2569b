//! The AWS SDK's settings on Lambda, created once per process: region and credentials from Lambda's environment variables, and one
//! HTTP client for all services. With separate clients, each service would read and parse the certificates again during a cold start.
//! The SDK's own loader (`aws-config`) also looks in files and at services that no function has, which takes time and a tenth of the
//! function's size. On a developer's machine they exist, so `local` uses the loader. The SDK's variables that functions use are named
//! in this file.
//!
//! A deployed function trusts only the certificate authorities of AWS' own services (`authorities/README.md`): reading the
//! hundreds of authorities of its system takes longer than connecting to the database. The system's authorities are used
//! everywhere else, and if other authorities (`SSL_CERT_FILE`, `SSL_CERT_DIR`) or another endpoint (`AWS_ENDPOINT_URL`) are
//! configured, unless that one has no certificate (`http:`).

use std::sync::OnceLock;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;

/// Root certificates of Amazon Trust Services.
const AUTHORITIES: &[u8] = include_bytes!("../authorities/aws.pem");

/// The settings. The first call reads the environment.
pub fn settings() -> &'static SdkConfig {
    static SETTINGS: OnceLock<SdkConfig> = OnceLock::new();
    SETTINGS.get_or_init(|| settings_from(variable))
}

/// The configured endpoint of a service: `AWS_ENDPOINT_URL_SQS` for `SQS`, or `AWS_ENDPOINT_URL`. `None`: the service's own
/// address.
pub fn endpoint(service: &str) -> Option<String> {
    variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn settings_from(variable: impl Fn(&str) -> Option<String>) -> SdkConfig {
    let is_true = |name| variable(name).map(|value| value.eq_ignore_ascii_case("true"));
    let mut settings = SdkConfig::builder();
    settings
        .set_region(variable("AWS_REGION").map(Region::new))
        .set_credentials_provider(credentials(&variable).map(SharedCredentialsProvider::new))
        .set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"))
        .set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    let client = match uses_own_authorities(variable).then(own_authorities).flatten() {
        Some(context) => builder.tls_context(context).build_https(),
        None => builder.build_https(),
    };
    settings
        .behavior_version(BehaviorVersion::latest())
        .http_client(client)
        .build()
}

/// The credentials of the function's role. They do not change as long as the process runs.
fn credentials(variable: &impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    Some(Credentials::new(
        id,
        secret,
        variable("AWS_SESSION_TOKEN"),
        None,
        "environment",
    ))
}

fn own_authorities() -> Option<TlsContext> {
    let store = TrustStore::empty().with_pem_certificate(AUTHORITIES);
    TlsContext::builder().with_trust_store(store).build().ok()
}

/// Whether Amazon Trust Services signs for every service that this process calls. This is so on Lambda in the partition `aws`,
/// whose region names have three parts. China, GovCloud and the sovereign clouds have other authorities, and a configured
/// endpoint may have one of its own.
fn uses_own_authorities(variable: impl Fn(&str) -> Option<String>) -> bool {
    const AREAS: [&str; 9] = ["af", "ap", "ca", "eu", "il", "me", "mx", "sa", "us"];
    let region = variable("AWS_REGION").unwrap_or_default();
    let parts: Vec<&str> = region.split('-').collect();
    let ordinary = matches!(parts.as_slice(), [area, _, _] if AREAS.contains(area));
    let deployed = variable("AWS_LAMBDA_RUNTIME_API").is_some();
    let has_authorities = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| variable(name).is_some());
    let endpoints = [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SQS",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    ];
    let needs_others = |name: &&str| variable(name).is_some_and(|url| !url.starts_with("http:"));
    deployed && ordinary && !has_authorities && !endpoints.iter().any(needs_others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decides(variables: &[(&str, &str)]) -> bool {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        uses_own_authorities(value)
    }

    const ON_LAMBDA: (&str, &str) = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");

    #[test]
    fn functions_in_ordinary_regions_trust_only_amazons_authorities() {
        for region in [
            "eu-central-1",
            "us-east-1",
            "ap-southeast-7",
            "mx-central-1",
            "il-central-1",
        ] {
            assert!(decides(&[ON_LAMBDA, ("AWS_REGION", region)]), "{region}");
        }
    }

    #[test]
    fn elsewhere_the_systems_authorities_are_trusted() {
        for region in [
            "cn-north-1",
            "us-gov-west-1",
            "us-iso-east-1",
            "eusc-de-east-1",
            "eu-isoe-west-1",
            "",
        ] {
            assert!(!decides(&[ON_LAMBDA, ("AWS_REGION", region)]), "{region}");
        }
        assert!(!decides(&[("AWS_REGION", "eu-central-1")]));
        for named in [
            ("SSL_CERT_FILE", "/somewhere/else.pem"),
            ("AWS_ENDPOINT_URL_SQS", "https://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL", "https://localhost.example"),
        ] {
            assert!(
                !decides(&[ON_LAMBDA, ("AWS_REGION", "eu-central-1"), named]),
                "{named:?}"
            );
        }
    }

    #[test]
    fn an_endpoint_without_a_certificate_needs_no_authorities() {
        let plain = ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1");
        assert!(decides(&[ON_LAMBDA, ("AWS_REGION", "eu-central-1"), plain]));
    }

    #[test]
    fn the_authorities_are_certificates() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;

        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(AUTHORITIES) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        assert_eq!(roots.len(), 5);
    }
}
