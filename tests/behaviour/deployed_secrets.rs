//! What the template lets functions read: each its own secret, by name, and no password in anybody's configuration. And how long it
//! lets those run that mind their time.

use std::fs;
use std::path::Path;
use std::time::Duration;

fn template() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join("template.yaml")).unwrap()
}

/// A resource's lines.
fn resource(name: &str) -> String {
    let template = template();
    let (_, after) = template
        .split_once(&format!("\n  {name}:\n"))
        .unwrap_or_else(|| panic!("no {name}"));
    let lines = after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("   "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_migrating_roles_secret_is_given_to_the_function_that_migrates_and_to_nobody_else() {
    let resources = template().split_once("\nResources:").unwrap().1.to_owned();
    let given = |text: &str| text.matches("!Ref MigrationSecretArn").count();
    let own: usize = ["Migrate", "Schema", "MigrateRole"]
        .map(|name| given(&resource(name)))
        .iter()
        .sum();
    assert_eq!((own, given(&resources)), (3, 3));
    assert!(resource("Migrate").contains("Role: !GetAtt MigrateRole.Arn"));
    for function in [
        "PostEvent",
        "AuditQuery",
        "CsvUpload",
        "Importer",
        "Projector",
        "Rebuilder",
    ] {
        assert!(!resource(function).contains("MigrateRole"), "{function}");
    }
}

#[test]
fn the_functions_may_read_one_secret_and_none_is_written_into_their_configuration() {
    let policy = resource("RunPolicy");
    assert!(policy.contains("{ Effect: Allow, Action: secretsmanager:GetSecretValue, Resource: !Ref SecretArn }"));
    assert_eq!(
        template().matches("secretsmanager:GetSecretValue").count(),
        2,
        "that one, and the migrating role's"
    );
    assert!(!template().contains("{{resolve:"));
    assert!(
        policy.contains("dbuser:${DatabaseResourceId}/annals_api"),
        "a token for one login of one database"
    );
}

#[test]
fn functions_that_mind_their_time_are_given_it() {
    let timeout = |function: &str| {
        let resource = resource(function);
        let (_, rest) = resource.split_once("\n      Timeout: ").unwrap();
        let seconds = rest.lines().next().unwrap().parse().unwrap();
        Duration::from_secs(seconds)
    };
    assert_eq!(timeout("Importer"), csv_upload::import::TIME);
    assert!(timeout("Migrate") > migrate::TIME, "what is left is for the answer");
    let (_, rest) = template()
        .split_once("\n      ServiceTimeout: ")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let waits: u64 = rest.lines().next().unwrap().parse().unwrap();
    assert!(
        Duration::from_secs(waits) > timeout("Migrate"),
        "CloudFormation hears the answer, and waits not much longer"
    );
}
