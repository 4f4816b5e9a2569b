//! What the template says about the edge and the ground: which headers scripts may read, how often the clock looks, what bounds
//! functions, and what their code may not do.

use crate::deployed::{resource, template};

/// The parameter's default.
fn default_of(parameter: &str) -> String {
    let template = template();
    let (_, rest) = template.split_once(&format!("\n  {parameter}:\n")).unwrap();
    let line = rest.lines().find_map(|line| line.strip_prefix("    Default: "));
    line.unwrap().trim_matches('"').to_owned()
}

/// A page of another origin cannot see the others, whatever is sent.
#[test]
fn scripts_may_read_every_header_that_answers_carry_for_them() {
    let api = resource("Api");
    let (_, exposed) = api.split_once("ExposeHeaders: [").unwrap();
    let exposed: Vec<&str> = exposed.split_once(']').unwrap().0.split(", ").collect();
    assert_eq!(
        exposed,
        [
            "content-disposition",
            "etag",
            "link",
            "location",
            "retry-after",
            "x-request-id"
        ]
    );
}

#[test]
fn every_schedule_comes_as_often_as_the_parameter_says_and_otherwise_wake_ups_ask() {
    let template = template();
    let rate = r#"Schedule: !If [LooksEachMinute, rate(1 minute), !Sub "rate(${ScheduleMinutes} minutes)"]"#;
    assert_eq!(template.matches("Type: Schedule\n").count(), 3);
    assert_eq!(template.matches(rate).count(), 3);
    assert!(template.contains(r#"SWEEP_BY_WAKE_UPS: !If [LooksEachMinute, "false", "true"]"#));
    assert_eq!(default_of("ScheduleMinutes"), "1");
    // Whoever is only looked at every hour is not away.
    assert!(resource("ProjectionLag").contains("TreatMissingData: !If [LooksEachMinute, breaching, notBreaching]"));
}

#[test]
fn each_http_function_may_be_capped_and_none_is_by_default() {
    for function in ["PostEvent", "AuditQuery", "CsvUpload"] {
        let cap = "ReservedConcurrentExecutions: !If [IsCapped, !Ref FunctionConcurrency, !Ref AWS::NoValue]";
        assert!(resource(function).contains(cap), "{function}");
        assert!(
            resource(function).contains("JWT_REQUIRE_ROLE: !Ref JwtRequireRole"),
            "{function}"
        );
    }
    assert_eq!(default_of("FunctionConcurrency"), "-1");
    for limit in ["RequestsPerSecond", "RequestBurst"] {
        assert!(default_of(limit).parse::<u32>().unwrap() <= 100, "{limit}");
    }
}

/// Lambda uses a function's role to place it in a VPC, so the role has these rights, and whatever runs in the function with it.
#[test]
fn a_functions_code_is_denied_every_right_that_is_only_for_lambda_itself() {
    let policy = resource("RunPolicy");
    let actions = |effect: &str| -> Vec<String> {
        let statements = policy.split("Effect: ").skip(1).filter(|rest| rest.starts_with(effect));
        let lines = statements.flat_map(|rest| rest.lines());
        let actions = lines.filter_map(|line| line.trim().strip_prefix("- ec2:"));
        actions.map(str::to_owned).collect()
    };
    let denied = actions("Deny");
    assert!(!denied.is_empty());
    for action in actions("Allow") {
        assert!(denied.contains(&action), "{action}");
    }
    let (_, condition) = policy.split_once("Effect: Deny").unwrap();
    assert!(
        condition.contains("ArnLike: { lambda:SourceFunctionArn:"),
        "{condition}"
    );
}

/// `sam deploy --guided` asks about each route of an API without one, and a single "no" ends it.
#[test]
fn the_api_has_what_the_guided_deployment_looks_for_and_no_authorizer() {
    assert!(resource("Api").contains("Auth:\n        EnableIamAuthorizer: false\n"));
    assert!(!template().contains("DefaultAuthorizer"));
}
