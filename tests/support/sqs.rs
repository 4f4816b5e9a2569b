//! A client of SQS as in a deployed function, for a service on the loopback interface.

use annals_queue::{Queue, Sweeps};
use aws_credential_types::Credentials;
use aws_sdk_sqs::config::{BehaviorVersion, Region};

/// The queue of the service at this port.
pub fn sqs_at(port: u16) -> Queue {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("none", "none", None, None, "tests"))
        .endpoint_url(format!("http://127.0.0.1:{port}"));
    Queue::Sqs {
        client: aws_sdk_sqs::Client::from_conf(config.build()),
        sweeps: Sweeps::Scheduled,
        url: "https://sqs.eu-central-1.amazonaws.com/123456789012/wake".to_owned(),
    }
}
