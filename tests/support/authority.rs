//! A certificate authority for tests, and a PostgreSQL server with its certificates.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use local::cluster::{Cluster, FAST_BUT_UNSAFE, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use uuid::Uuid;

use crate::cluster::connect;

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new authority that no client trusts yet.
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, Uuid::new_v4().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// The authority's own certificate in PEM, for clients that should trust it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this host, valid until the beginning of a year.
    pub fn sign(&self, host: &str, until: i32) -> Certificate {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        Certificate {
            pem: params.signed_by(&key, &self.0).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A PostgreSQL for one test, migrated, reachable under a host name with TLS.
pub struct SecuredServer {
    /// The server; its own loopback address still works without TLS.
    pub cluster: Cluster,
}

impl SecuredServer {
    /// Starts a server without TLS.
    pub async fn start() -> Self {
        let options = Options::ephemeral().with_settings(FAST_BUT_UNSAFE);
        let cluster = Cluster::start(options).await.expect("a cluster");
        annals_store::migrate(&cluster.url()).await.expect("migrations");
        Self { cluster }
    }

    /// From now on, new connections get this certificate.
    pub async fn show(&self, certificate: &Certificate) {
        self.put("server.crt", &certificate.pem);
        self.put("server.key", &certificate.key);
        self.set("ssl", "on").await;
    }

    /// From now on, `annals_api` may connect over TCP without a password.
    pub async fn trust_api(&self) {
        let path = self.cluster.location().join("pgdata/pg_hba.conf");
        let rules = fs::read_to_string(path).expect("its rules");
        self.put(
            "pg_hba.conf",
            &format!("host all annals_api 127.0.0.1/32 trust\n{rules}"),
        );
        self.reload().await;
    }

    async fn set(&self, setting: &str, value: &str) {
        let superuser = connect(&self.cluster.superuser_url()).await;
        let change = format!("alter system set {setting} = '{value}'");
        superuser.batch_execute(&change).await.expect("a setting");
        self.reload().await;
    }

    async fn reload(&self) {
        let superuser = connect(&self.cluster.superuser_url()).await;
        let begun = superuser
            .query_one("select clock_timestamp()::text, pg_reload_conf()", &[])
            .await;
        let begun: String = begun.expect("a reload").get(0);
        // The postmaster must have reloaded its configuration first, because it passes it on to new sessions.
        loop {
            let fresh = connect(&self.cluster.superuser_url()).await;
            let sql = "select pg_conf_load_time() > $1::text::timestamptz";
            if fresh.query_one(sql, &[&begun]).await.expect("a time").get(0) {
                return;
            }
        }
    }

    fn put(&self, name: &str, text: &str) {
        let folder = self.cluster.location().join("pgdata");
        let owner = fs::metadata(&folder).expect("its folder");
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("its owner");
    }

    /// Its address under a host name, with parameters (`sslmode=…`).
    pub fn url(&self, host: &str, parameters: &str) -> String {
        let url = self.cluster.url();
        let (before, _) = url.split_once('?').unwrap_or((&url, ""));
        let place = format!("127.0.0.1:{}", self.cluster.port());
        let named = before.replace(&place, &format!("{host}:{}", self.cluster.port()));
        assert_ne!(named, before, "an address by TCP");
        format!("{named}?hostaddr=127.0.0.1&{parameters}")
    }
}
