//! The AWS SDK's settings, made once per process: region, credentials, and one HTTP client for all services, because each of
//! them would otherwise read and parse the system's certificates for itself, on a cold start.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use futures_util::FutureExt;
use tokio::sync::OnceCell;

/// The settings. The first call reads the environment, and nothing else: credentials are fetched when they are needed.
pub async fn settings() -> &'static SdkConfig {
    static SETTINGS: OnceCell<SdkConfig> = OnceCell::const_new();
    SETTINGS
        .get_or_init(|| {
            let client = Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .build_https();
            aws_config::defaults(BehaviorVersion::latest())
                .http_client(client)
                .load()
                .boxed()
        })
        .await
}
