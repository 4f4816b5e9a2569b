//! Memory is bounded, whatever a caller sends: each function's own binary gets the most expensive input it may receive, answers, and its
//! peak memory stays below the template's `MemorySize`.
//!
//! Lambda limits resident memory, which a test can only limit with a cgroup of its own. So the test reads the peak afterwards, and limits
//! the address space to one GiB more (allocators reserve more than they use). Unbounded growth then fails immediately, before the
//! machine runs out of memory.

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

/// Bytes that allocators and threads may reserve beyond what they use.
const RESERVED: u64 = 1 << 30;
/// How long an invocation may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A function's process with the memory that the template gives it.
struct Process {
    runtime: Runtime,
    child: Child,
    memory: u64,
}

impl Process {
    /// Starts this binary with the memory of this resource, on the world's database.
    async fn start(world: &World, binary: &str, deployed_as: &str) -> Self {
        Self::start_at(&world.url_as("annals_api"), binary, deployed_as, &[]).await
    }

    /// The same with another database address and further settings.
    async fn start_at(database_url: &str, binary: &str, deployed_as: &str, settings: &[(&str, &str)]) -> Self {
        let (runtime, memory) = (Runtime::start().await, memory_of(deployed_as));
        let child = runtime.process_within(memory + RESERVED, binary, database_url, settings);
        Self { runtime, child, memory }
    }

    /// Invokes it, and checks that it still runs and has stayed within its memory.
    async fn invoke(&mut self, event: Value) -> Value {
        let answer = tokio::select! {
            answer = timeout(PATIENCE, self.runtime.invoke(event)) => answer.expect("an answer in time"),
            ended = self.child.wait() => panic!("the process ended: {}", ended.unwrap()),
        };
        let peak = peak_of(&self.child);
        assert!(peak <= self.memory, "{} MiB of {}", peak >> 20, self.memory >> 20);
        answer
    }

    /// Sends a request and returns status and body of the answer.
    async fn request(&mut self, event: Value) -> (u64, Value) {
        let answer = self.invoke(event).await;
        let status = answer["statusCode"]
            .as_u64()
            .unwrap_or_else(|| panic!("no response: {answer}"));
        let text = answer["body"].as_str().unwrap_or_default();
        (status, serde_json::from_str(text).unwrap_or(Value::Null))
    }
}

/// The `MemorySize` of a function in the template, in bytes.
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

/// The peak memory of a process, in bytes.
fn peak_of(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().expect("it lives"))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn event(event_type: &str, aggregate_id: &str, data: &Value) -> Value {
    json!({"event_type": event_type, "aggregate_type": event_type.split('.').next(), "aggregate_id": aggregate_id, "data": data})
}

/// Appends copies of a stream's only event, as if they had been posted one after the other.
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

/// Members that take the most memory for their text.
fn small_objects(bytes: usize) -> Vec<Value> {
    vec![json!({"a": 1}); bytes / 8]
}

async fn register(world: &World, staff: &Person, body: Value) {
    world.post(staff, "/events/types", body).await.expect(201);
}

/// Registers a type that adds any fields to a customer and does not require one.
async fn register_extended(world: &World, staff: &Person) {
    let body = json!({"event_type": "customer.extended", "effect": "merge", "description": "d", "posters": ["user", "staff"],
                      "starter_sees": true, "schema": {"type": "object"}, "example": {"phone": "1"}});
    register(world, staff, body).await;
}
