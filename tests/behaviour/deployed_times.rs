//! The template gives functions that watch their remaining time the timeout that their code assumes.

use std::time::Duration;

use crate::deployed::resource;

/// The seconds that a resource has under this property.
fn seconds(resource_name: &str, property: &str) -> Duration {
    let resource = resource(resource_name);
    let (_, rest) = resource.split_once(&format!("\n      {property}: ")).unwrap();
    Duration::from_secs(rest.lines().next().unwrap().parse().unwrap())
}

#[test]
fn functions_that_watch_their_time_get_the_timeout_they_assume() {
    assert_eq!(seconds("Importer", "Timeout"), importer::TIME);
    let migrating = seconds("Migrate", "Timeout");
    assert!(migrating > migrate::TIME_LIMIT, "the rest is for sending the answer");
    assert!(
        seconds("Schema", "ServiceTimeout") > migrating,
        "the rest is for answering CloudFormation"
    );
}
