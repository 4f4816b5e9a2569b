//! The custom resource's protocol: CloudFormation's request, and the answer that is sent back.
//!
//! The request is read field by field, not by the types of `aws_lambda_events`: those refuse a request in which a field is missing, and
//! then CloudFormation would get no answer.

use std::time::Duration;

use annals_aws::attempts::Attempts;
use serde_json::{Value, json};

use crate::done::Done;

/// Id of the resource, which is the database's schema. There is one, so its id never changes, and no update replaces it.
const PHYSICAL_ID: &str = "annals-schema";
/// Longest reason of a failure, in characters. CloudFormation reads at most 4 KiB of an answer.
const MAX_REASON_CHARS: usize = 1000;
/// Attempts at sending the answer.
const SEND_ATTEMPTS: Attempts = Attempts::new(4, Duration::from_millis(200));
/// Timeout of one attempt.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// A request of CloudFormation.
pub(crate) struct Request<'a> {
    input: &'a Value,
    url: &'a str,
}

impl<'a> Request<'a> {
    /// `None` if the input is no request of CloudFormation: it has no address to answer to.
    pub(crate) fn of(input: &'a Value) -> Option<Self> {
        let url = input["ResponseURL"].as_str()?;
        Some(Self { input, url })
    }

    pub(crate) fn is_delete(&self) -> bool {
        self.input["RequestType"] == "Delete"
    }

    /// The answer: success with the number of applied migrations, or failure with the reason. `Ok(None)` means that there was nothing to
    /// do.
    pub(crate) fn answer(&self, outcome: &Result<Option<Done>, String>) -> Value {
        let mut answer = json!({
            "PhysicalResourceId": PHYSICAL_ID,
            "StackId": self.input["StackId"],
            "RequestId": self.input["RequestId"],
            "LogicalResourceId": self.input["LogicalResourceId"],
        });
        match outcome {
            Ok(done) => {
                answer["Status"] = "SUCCESS".into();
                answer["Data"] = json!({"Applied": done.as_ref().map_or(0, |done| done.applied.len()).to_string()});
            }
            Err(reason) => {
                answer["Status"] = "FAILED".into();
                answer["Reason"] = reason.chars().take(MAX_REASON_CHARS).collect::<String>().into();
            }
        }
        answer
    }

    /// Sends the answer. A failed attempt is repeated a few times.
    pub(crate) async fn send(&self, answer: &Value) -> Result<(), reqwest::Error> {
        let client = reqwest::Client::builder().timeout(SEND_TIMEOUT).build()?;
        let mut attempts = SEND_ATTEMPTS;
        loop {
            // Without a content type, because the address was signed for a request without one.
            let sent = client.put(self.url).body(answer.to_string()).send().await;
            match sent.and_then(reqwest::Response::error_for_status) {
                Ok(_) => return Ok(()),
                Err(_) if attempts.again().await => {}
                // Without the address: with it, anyone could answer the request.
                Err(error) => return Err(error.without_url()),
            }
        }
    }
}
