//! The custom resource's side: what CloudFormation asks, and what it is told.
//!
//! Read by hand, field by field, and not by `aws_lambda_events`' types: those refuse a request that lacks one, and then nobody
//! would be left to answer it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Done;

/// The database's schema: there is one, so that no update ever replaces it.
const PHYSICAL_ID: &str = "annals-schema";
/// CloudFormation reads 4 KiB of an answer.
const LONGEST_REASON: usize = 1000;
/// How often an answer is sent.
const TRIES: u32 = 4;
/// How long one sending may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request of CloudFormation's.
pub(crate) struct Request<'a> {
    input: &'a Value,
    url: &'a str,
}

impl<'a> Request<'a> {
    /// None, where nobody waits for an answer.
    pub(crate) fn of(input: &'a Value) -> Option<Self> {
        let url = input["ResponseURL"].as_str()?;
        Some(Self { input, url })
    }

    pub(crate) fn deletes(&self) -> bool {
        self.input["RequestType"] == "Delete"
    }

    /// The answer to it: what was done, if anything was, or why not.
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
                answer["Reason"] = reason.chars().take(LONGEST_REASON).collect::<String>().into();
            }
        }
        answer
    }

    /// Sends the answer, more than once where it has to be.
    pub(crate) async fn tell(&self, answer: &Value) -> Result<(), reqwest::Error> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let mut tries = 1;
        loop {
            // Without a content type: the address was signed for a request that has none.
            let sent = client.put(self.url).body(answer.to_string()).send().await;
            match sent.and_then(reqwest::Response::error_for_status) {
                Ok(_) => return Ok(()),
                Err(_) if tries < TRIES => tries += 1,
                // The address lets anybody answer.
                Err(error) => return Err(error.without_url()),
            }
            tokio::time::sleep(Duration::from_millis(200) * tries).await;
        }
    }
}
