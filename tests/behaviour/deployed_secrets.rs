//! Which secrets the template lets functions read: each its own by name, and no password is in the configuration of a function.

use crate::deployed::{resource, template};

#[test]
fn only_the_migrate_function_may_read_the_secret_of_the_migrating_role() {
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
        "Console",
        "Importer",
        "Projector",
        "Rebuilder",
    ] {
        assert!(!resource(function).contains("MigrateRole"), "{function}");
    }
}

#[test]
fn the_other_functions_may_read_one_secret_and_have_none_in_their_configuration() {
    let policy = resource("RunPolicy");
    assert!(policy.contains("{ Effect: Allow, Action: secretsmanager:GetSecretValue, Resource: !Ref SecretArn }"));
    assert_eq!(
        template().matches("secretsmanager:GetSecretValue").count(),
        2,
        "this secret, and the migrating role's"
    );
    assert!(!template().contains("{{resolve:"));
    assert!(
        policy.contains("dbuser:${DatabaseResourceId}/annals_api"),
        "a token for one login of one database"
    );
}

/// It answers everyone, and needs none of it.
#[test]
fn the_function_of_pages_has_no_secret_no_network_and_no_queue() {
    let (function, role) = (resource("Console"), resource("ConsoleRole"));
    assert!(function.contains("          SECRET_ARN: \"\"\n"), "{function}");
    assert!(function.contains("      VpcConfig: !Ref AWS::NoValue\n"), "{function}");
    assert!(function.contains("Role: !GetAtt ConsoleRole.Arn"));
    for other in ["RunPolicy", "secretsmanager", "sqs:", "s3:", "ec2:", "rds-db", "kms"] {
        assert!(!role.contains(other), "{other}");
    }
    for other in ["QUEUE", "BUCKET", "JWT"] {
        assert!(!function.contains(other), "{other}");
    }
}
