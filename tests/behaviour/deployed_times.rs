//! How long the template lets those functions run that mind their time.

use std::time::Duration;

use crate::deployed::resource;

/// The seconds that a resource says under this name.
fn seconds(resource_name: &str, property: &str) -> Duration {
    let resource = resource(resource_name);
    let (_, rest) = resource.split_once(&format!("\n      {property}: ")).unwrap();
    Duration::from_secs(rest.lines().next().unwrap().parse().unwrap())
}

#[test]
fn functions_that_mind_their_time_are_given_it() {
    assert_eq!(seconds("Importer", "Timeout"), csv_upload::import::TIME);
    let migrating = seconds("Migrate", "Timeout");
    assert!(migrating > migrate::TIME, "what is left is for the answer");
    assert!(
        seconds("Schema", "ServiceTimeout") > migrating,
        "CloudFormation hears it"
    );
}
