//! Memory is bounded, whatever a caller sends: each function's own binary gets the worst that it may be sent, answers, and has never
//! held more than the template gives its function.
//!
//! What Lambda limits is resident memory, which no test can limit without a cgroup of its own. So the peak is read afterwards, and the
//! address space, which allocators take more of than they use, is limited to a GiB more: what grows without bound ends at once, and
//! not with the machine's memory.

mod folding;
mod importing;
mod lists;
mod projecting;
mod requests;

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Person, Runtime, World};
use tokio::process::Child;
use tokio::time::timeout;

use crate::deployed::{resource, template};

/// What allocators and threads may reserve beside what they use.
const RESERVED: u64 = 1 << 30;
/// How long an invocation may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A function's process with the memory of its deployment.
struct Process {
    runtime: Runtime,
    child: Child,
    memory: u64,
}

impl Process {
    /// This binary, deployed as this resource, before the world's database.
    async fn start(world: &World, binary: &str, deployed_as: &str) -> Self {
        Self::start_at(&world.url_as("annals_api"), binary, deployed_as, &[]).await
    }

    /// The same with a database at this address, and further settings.
    async fn start_at(database_url: &str, binary: &str, deployed_as: &str, settings: &[(&str, &str)]) -> Self {
        let (runtime, memory) = (Runtime::start().await, memory_of(deployed_as));
        let child = runtime.process_within(memory + RESERVED, binary, database_url, settings);
        Self { runtime, child, memory }
    }

    /// Invokes it, and sees that it lives and has kept within its memory.
    async fn invoke(&mut self, event: Value) -> Value {
        let answer = tokio::select! {
            answer = timeout(PATIENCE, self.runtime.invoke(event)) => answer.expect("an answer in time"),
            ended = self.child.wait() => panic!("it ended: {}", ended.unwrap()),
        };
        let peak = peak_of(&self.child);
        assert!(peak <= self.memory, "{} MiB of {}", peak >> 20, self.memory >> 20);
        answer
    }

    /// Sends a request; status and body.
    async fn request(&mut self, event: Value) -> (u64, Value) {
        let answer = self.invoke(event).await;
        let status = answer["statusCode"]
            .as_u64()
            .unwrap_or_else(|| panic!("no response: {answer}"));
        let text = answer["body"].as_str().unwrap_or_default();
        (status, serde_json::from_str(text).unwrap_or(Value::Null))
    }
}

/// Bytes that the template gives a function.
fn memory_of(name: &str) -> u64 {
    let (resource, template) = (resource(name), template());
    let of = |text: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("MemorySize: ").map(str::to_owned))?;
        line.parse::<u64>().ok()
    };
    let globals = template.split_once("\nResources:").unwrap().0;
    of(&resource).or_else(|| of(globals)).unwrap() << 20
}

/// The most memory that a process has held.
fn peak_of(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().expect("it lives"))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn event(event_type: &str, aggregate_id: &str, data: &Value) -> Value {
    json!({"event_type": event_type, "aggregate_type": event_type.split('.').next(), "aggregate_id": aggregate_id, "data": data})
}

/// Lets a stream of one event go on with copies of it, as if they had been posted one after the other.
async fn repeat_event(world: &World, aggregate_id: &str, times: i32) {
    let superuser = world.superuser().await;
    let copies = "insert into annals.events select r.* from annals.events e
        cross join generate_series(2, $2::int) as n (version)
        cross join lateral jsonb_populate_record(e, jsonb_build_object('id', gen_random_uuid(), 'aggregate_version', n.version,
            'event_number', nextval('annals.event_numbers'), 'created_at', e.created_at + n.version * interval '1 microsecond')) as r
        where e.aggregate_id = $1 and e.aggregate_version = 1";
    superuser.execute(copies, &[&aggregate_id, &times]).await.unwrap();
    let head = "update annals.heads set version = $2 where aggregate_id = $1";
    superuser.execute(head, &[&aggregate_id, &times]).await.unwrap();
}

/// Members that take as much memory as members can.
fn small_objects(bytes: usize) -> Vec<Value> {
    vec![json!({"a": 1}); bytes / 8]
}

async fn register(world: &World, staff: &Person, body: Value) {
    world.post(staff, "/events/types", body).await.expect(201);
}

/// A type that adds any fields to a customer, whether it was there before or not.
async fn register_extended(world: &World, staff: &Person) {
    let body = json!({"event_type": "customer.extended", "effect": "merge", "description": "d", "posters": ["user", "staff"],
                      "starter_sees": true, "schema": {"type": "object"}, "example": {"phone": "1"}});
    register(world, staff, body).await;
}
