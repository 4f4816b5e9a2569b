//! Business opportunities for AI, which an agent finds, and user accounts. The first ones are posted at version 1.0 of their event types.
//! They are stored at that version and upcast to the current version when they are read.

use super::story::{Actor, Batch, Draft, decimal};
use serde_json::{Value, json};

const SCOUT: Actor = Actor::Agent("market_scout");

/// Title, kind of solution, market size in rupees.
const OPPORTUNITIES: [(&str, &str, u64); 6] = [
    (
        "Answering dealers' questions on fitting and warranty",
        "nlp",
        40_000_000,
    ),
    ("Grading cotton from photographs of the sample", "cv", 125_000_000),
    (
        "Forecasting borewell pump demand from groundwater levels",
        "prediction",
        90_000_000,
    ),
    ("Reading handwritten weighment slips", "cv", 15_000_000),
    (
        "Choosing delivery rounds for the monsoon months",
        "automation",
        22_000_000,
    ),
    ("Hearing a failing motor before it stops", "acoustics", 60_000_000),
];

pub(super) fn story() -> Vec<Batch> {
    let mut batches = vec![accounts(), preferences()];
    batches.extend(
        OPPORTUNITIES
            .iter()
            .zip(0..)
            .map(|(listed, number)| opportunity(listed, number)),
    );
    batches.push(changes());
    batches
}

fn opportunity_id(number: i64) -> String {
    format!("OPP-{:04}", number + 1)
}

/// An opportunity that the agent finds. The first half is posted at version 1.0.
fn opportunity(&(title, kind, size): &(&str, &str, u64), number: i64) -> Batch {
    let (id, day) = (opportunity_id(number), 30 + number * 25);
    let fields = |market: &str| json!({"opportunity_id": id, "title": title, "ai_solution_type": kind, market: size, "industry": "agriculture"});
    let old = number < 3;
    let mut data = fields(if old { "market_size" } else { "market_size_estimate" });
    if let (false, Value::Object(fields)) = (old, &mut data) {
        let category = if kind == "cv" { "computer_vision" } else { "other" };
        fields.insert("ai_solution_category".to_owned(), json!(category));
        fields.insert("confidence_score".to_owned(), decimal(60 + number.unsigned_abs() * 5));
    }
    let draft = Draft::new("opportunity.created", &id, day, 0, data)
        .because("weekly reading of the trade press")
        .within("scouting-2025");
    Batch::of(SCOUT, [if old { draft.at_version("1.0") } else { draft }])
}

/// Three changes: one field is corrected by an event of version 1.0, one by an event of the current version, and one opportunity is closed.
fn changes() -> Batch {
    let smaller = json!({"changes": {"market_size": {"old": 125_000_000, "new": 110_000_000}}});
    let surer = json!({"changes": {"confidence_score": {"old": decimal(70), "new": decimal(85)}}});
    let closed = json!({"reason": "a supplier of motors offers it already"});
    let drafts = [
        Draft::new("opportunity.updated", &opportunity_id(1), 60, 0, smaller)
            .at_version("1.0")
            .because("asked two spinning mills"),
        Draft::new("opportunity.updated", &opportunity_id(1), 150, 0, surer)
            .again("surer")
            .because("pilot in Rajkot"),
        Draft::new("opportunity.deleted", &opportunity_id(5), 190, 0, closed).because("closed by the board"),
    ];
    Batch::of(Actor::Staff(5), drafts.map(|draft| draft.within("scouting-2025")))
}

/// User accounts: id, name, version of the event, and domains of expertise. Version 1.0 accepts them as a text or as a list.
fn accounts() -> Batch {
    let people = [
        (
            "USER-0001",
            "Nandini Deshmukh",
            "1.0",
            json!("pumps, irrigation, motors"),
        ),
        ("USER-0002", "Imran Khan", "1.0", json!(["cotton", "ginning"])),
        (
            "USER-0003",
            "Kavya Reddy",
            "1.1",
            json!(["ai", "machine learning", "nlp"]),
        ),
    ];
    let drafts = people.map(|(id, name, version, domains)| {
        let email = format!("{}@deccanpumps.example", name.to_lowercase().replace(' ', "."));
        let fields = json!({"user_id": id, "name": name, "email": email, "expertise_domains": domains});
        Draft::new("user.created", id, 2, 0, fields)
            .at_version(version)
            .because("accounts for the office")
    });
    Batch::of(
        Actor::Service("directory"),
        drafts.map(|draft| draft.within("accounts-2025")),
    )
}

fn preferences() -> Batch {
    let older =
        json!({"changes": {"expertise_domains": {"old": "pumps, irrigation, motors", "new": "pumps, motors, solar"}}});
    let newer = json!({"changes": {"user_preferences": {"old": null, "new": {"email_notifications": true, "weekly_digest": false}}}});
    let drafts = [
        Draft::new("user.updated", "USER-0001", 12, 0, older)
            .at_version("1.0")
            .because("asked by mail"),
        Draft::new("user.updated", "USER-0003", 95, 0, newer).because("asked by mail"),
    ];
    Batch::of(Actor::Staff(1), drafts.map(|draft| draft.within("accounts-2025")))
}
