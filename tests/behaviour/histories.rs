//! Random histories against a small model: the answers of the API and the contents of the log must equal the model's.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tests::{Answer, Effort, Person, World, check_property_of_world};
use uuid::Uuid;

const ACTORS: usize = 4;

/// The version that an event expects, relative to the version in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expectation {
    Nothing,
    Right,
    OneTooLow,
    OneTooHigh,
}

#[derive(Debug, Clone, PartialEq)]
struct Wish {
    stream: usize,
    value: u8,
    key: Option<u8>,
    expectation: Expectation,
}

#[derive(Debug, Clone)]
enum Operation {
    Single {
        actor: usize,
        wish: Wish,
    },
    Batch {
        actor: usize,
        wishes: Vec<Wish>,
    },
    /// An earlier request is sent again unchanged.
    Again {
        which: prop::sample::Index,
    },
    /// An earlier request is sent by another actor.
    ByAnother {
        which: prop::sample::Index,
        actor: usize,
    },
}

fn wish() -> impl Strategy<Value = Wish> {
    let expectation = prop_oneof![
        6 => Just(Expectation::Nothing),
        3 => Just(Expectation::Right),
        1 => Just(Expectation::OneTooLow),
        1 => Just(Expectation::OneTooHigh),
    ];
    (0..3usize, 0..3u8, prop::option::weighted(0.4, 0..6u8), expectation).prop_map(
        |(stream, value, key, expectation)| Wish {
            stream,
            value,
            key,
            expectation,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (0..ACTORS, wish()).prop_map(|(actor, wish)| Operation::Single { actor, wish }),
        4 => (0..ACTORS, prop::collection::vec(wish(), 1..5)).prop_map(|(actor, wishes)| Operation::Batch { actor, wishes }),
        3 => any::<prop::sample::Index>().prop_map(|which| Operation::Again { which }),
        1 => (any::<prop::sample::Index>(), 0..ACTORS).prop_map(|(which, actor)| Operation::ByAnother { which, actor }),
    ]
}

/// One event of a request, with its expected version as a number.
#[derive(Debug, Clone, PartialEq)]
struct Member {
    stream: usize,
    value: u8,
    key: Option<u8>,
    expected: Option<i64>,
}

impl Member {
    /// Whether this is a retry of the original. The expected version must be the one that the original's stream had; a missing one
    /// matches any.
    fn is_retry_of(&self, original: &Self) -> bool {
        (self.stream, self.value) == (original.stream, original.value)
            && (self.expected.is_none() || self.expected == original.expected)
    }

    fn json(&self) -> Value {
        json!({
            "event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": format!("C-{}", self.stream),
            "data": {"phone": format!("{}0", self.value)}, "idempotency_key": self.key.map(|key| format!("k-{key}")),
            "expected_version": self.expected,
        })
    }
}

#[derive(Debug, Clone)]
struct Request {
    actor: usize,
    members: Vec<Member>,
    is_batch: bool,
}

/// An event in the model.
#[derive(Debug, Clone)]
struct Stored {
    id: String,
    number: i64,
    stream: usize,
    value: u8,
    actor: usize,
}

/// The expected contents of the log.
#[derive(Default)]
struct Model {
    /// In the order of event numbers.
    log: Vec<Stored>,
    keys: HashMap<(usize, u8), (Member, String)>,
}

impl Model {
    fn version(&self, stream: usize) -> i64 {
        i64::try_from(self.log.iter().filter(|event| event.stream == stream).count()).unwrap()
    }

    fn starter(&self, stream: usize) -> Option<usize> {
        self.log
            .iter()
            .find(|event| event.stream == stream)
            .map(|event| event.actor)
    }

    fn resolve(&self, wishes: &[Wish]) -> Vec<Member> {
        let mut ahead = [0; 3];
        let mut resolve = |wish: &Wish| {
            let version = self.version(wish.stream) + ahead[wish.stream];
            ahead[wish.stream] += 1;
            let expected = match wish.expectation {
                Expectation::Nothing => None,
                Expectation::Right => Some(version),
                Expectation::OneTooLow => Some((version - 1).max(0)),
                Expectation::OneTooHigh => Some(version + 1),
            };
            Member {
                stream: wish.stream,
                value: wish.value,
                key: wish.key,
                expected,
            }
        };
        wishes.iter().map(&mut resolve).collect()
    }

    /// All reasons to refuse the request, as status and code. The model does not say which of several is reported, except that reused keys
    /// are reported before version conflicts.
    fn refusals(&self, request: &Request, people: &[Person]) -> Vec<(u16, &'static str)> {
        let keys: Vec<u8> = request.members.iter().filter_map(|member| member.key).collect();
        if (1..keys.len()).any(|place| keys[..place].contains(&keys[place])) {
            return vec![(422, "idempotency_key_repeated")];
        }
        let reused = |member: &Member| {
            self.known(request.actor, member)
                .is_some_and(|(original, _)| !member.is_retry_of(original))
        };
        if request.members.iter().any(reused) {
            return vec![(422, "idempotency_key_reused")];
        }
        let mut refusals = Vec::new();
        let mut ahead = [0; 3];
        for member in request
            .members
            .iter()
            .filter(|member| self.known(request.actor, member).is_none())
        {
            if member
                .expected
                .is_some_and(|expected| expected != self.version(member.stream) + ahead[member.stream])
            {
                // A caller must not learn whether another actor's stream exists: a missing one is answered alike.
                let is_told = people[request.actor].role.sees_tenant() || self.version(member.stream) > 0;
                refusals.push(if is_told {
                    (409, "version_conflict")
                } else {
                    (403, "stream_of_another")
                });
            }
            ahead[member.stream] += 1;
            let is_anothers = self
                .starter(member.stream)
                .is_some_and(|starter| starter != request.actor);
            if is_anothers && !people[request.actor].role.sees_tenant() {
                refusals.push((403, "stream_of_another"));
            }
        }
        refusals
    }

    fn known(&self, actor: usize, member: &Member) -> Option<&(Member, String)> {
        self.keys.get(&(actor, member.key?))
    }

    /// Compares an answer with the model's, and adds the appended events to the model.
    fn check(&mut self, request: &Request, people: &[Person], answer: &Answer) {
        let refusals = self.refusals(request, people);
        if !refusals.is_empty() {
            let refusal = (answer.status, answer.body["code"].as_str().unwrap_or_default());
            assert!(
                refusals.contains(&refusal),
                "{refusal:?}, not of {refusals:?}: {request:?}"
            );
            return;
        }
        let all_known = request
            .members
            .iter()
            .all(|member| self.known(request.actor, member).is_some());
        assert_eq!(
            answer.status,
            if all_known { 200 } else { 201 },
            "{}: {request:?}",
            answer.text
        );
        let events = if request.is_batch {
            answer.items().clone()
        } else {
            vec![answer.body.clone()]
        };
        assert_eq!(events.len(), request.members.len());
        for (member, event) in request.members.iter().zip(&events) {
            let id = event["id"].as_str().unwrap().to_owned();
            if let Some((_, original)) = self.known(request.actor, member) {
                assert_eq!(&id, original);
                continue;
            }
            assert_eq!(event["aggregate_version"], self.version(member.stream) + 1);
            let number = event["event_number"].as_i64().unwrap();
            assert!(self.log.last().is_none_or(|last| last.number < number));
            if let Some(key) = member.key {
                let expected = Some(self.version(member.stream));
                let original = Member {
                    expected,
                    ..member.clone()
                };
                self.keys.insert((request.actor, key), (original, id.clone()));
            }
            let (stream, value, actor) = (member.stream, member.value, request.actor);
            self.log.push(Stored {
                id,
                number,
                stream,
                value,
                actor,
            });
        }
    }

    fn expected_log(&self, people: &[Person]) -> Vec<(String, i64, String, i64, String, String)> {
        let mut versions = [0; 3];
        let row = |event: &Stored| {
            versions[event.stream] += 1;
            let text = (
                event.id.clone(),
                format!("C-{}", event.stream),
                people[event.actor].actor(),
            );
            (
                text.0,
                event.number,
                text.1,
                versions[event.stream],
                format!("{}0", event.value),
                text.2,
            )
        };
        self.log.iter().map(row).collect()
    }
}

async fn run(world: &World, operations: Vec<Operation>) {
    let tenant = Uuid::new_v4();
    let people =
        [Person::staff(), Person::user(), Person::user(), Person::staff()].map(|person| person.in_tenant(tenant));
    let mut model = Model::default();
    let mut requests: Vec<Request> = Vec::new();
    for operation in operations {
        let request = match operation {
            Operation::Single { actor, wish } => Request {
                actor,
                members: model.resolve(&[wish]),
                is_batch: false,
            },
            Operation::Batch { actor, wishes } => Request {
                actor,
                members: model.resolve(&wishes),
                is_batch: true,
            },
            _ if requests.is_empty() => continue,
            Operation::Again { which } => which.get(&requests).clone(),
            Operation::ByAnother { which, actor } => Request {
                actor,
                ..which.get(&requests).clone()
            },
        };
        let events: Vec<Value> = request.members.iter().map(Member::json).collect();
        let body = if request.is_batch {
            json!({"events": events})
        } else {
            events[0].clone()
        };
        let answer = world.post(&people[request.actor], "/events", body).await;
        model.check(&request, &people, &answer);
        requests.push(request);
    }
    let log = world.all_pages(&people[0], "/events?order=asc&limit=7").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows: Vec<_> = log
        .iter()
        .map(|event| {
            let (number, version) = (
                event["event_number"].as_i64().unwrap(),
                event["aggregate_version"].as_i64().unwrap(),
            );
            (
                text(&event["id"]),
                number,
                text(&event["aggregate_id"]),
                version,
                text(&event["data"]["phone"]),
                text(&event["created_by"]),
            )
        })
        .collect();
    assert_eq!(rows, model.expected_log(&people));
    // The projected state is the last value of each stream.
    world.project().await;
    for stream in 0..3 {
        let version = model.version(stream);
        let path = format!("/entities/customer/C-{stream}");
        if version == 0 {
            world.get(&people[0], &path).await.expect(404);
            continue;
        }
        let entity = world.get(&people[0], &path).await.expect(200).body;
        let last = model.log.iter().rfind(|event| event.stream == stream).unwrap();
        assert_eq!(entity["state"]["phone"], format!("{}0", last.value));
        assert_eq!(
            (&entity["version"], &entity["projected_version"]),
            (&json!(version), &json!(version))
        );
    }
}

#[test]
fn random_histories_equal_a_simple_model() {
    let effort = Effort {
        cases: 32,
        shrinks: 400,
    };
    check_property_of_world(effort, &prop::collection::vec(operation(), 1..30), run);
}
