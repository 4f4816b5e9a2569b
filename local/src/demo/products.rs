//! The product catalogue: products and their stock, web prices, and an agent that proposes price changes, which people approve or reject.

use super::story::{Actor, Batch, Draft, Random, date, decimal};
use serde_json::{Value, json};

/// Code of the material in the SKU, its name, and its surcharge in percent.
const MATERIALS: [(&str, &str, u64); 3] = [
    ("CI", "Cast Iron", 0),
    ("SS", "Stainless Steel", 35),
    ("NB", "Noryl", 12),
];
/// Code of the power in the SKU, its name, base price in paise, flow in litres per minute.
const SIZES: [(&str, &str, u64, u64); 6] = [
    ("05HP", "0.5HP", 599_900, 50),
    ("10HP", "1HP", 849_900, 75),
    ("15HP", "1.5HP", 1_129_900, 90),
    ("20HP", "2HP", 1_489_900, 120),
    ("30HP", "3HP", 2_149_900, 160),
    ("50HP", "5HP", 3_379_900, 240),
];
const AGENT: Actor = Actor::Agent("category_agent");

/// A product of the catalogue.
pub(super) struct Product {
    pub(super) id: String,
    pub(super) sku: String,
    pub(super) name: String,
    /// Price in paise (hundredths of a rupee).
    pub(super) price: u64,
}

pub(super) fn catalogue() -> Vec<Product> {
    let every = SIZES
        .iter()
        .flat_map(|size| MATERIALS.iter().map(move |material| (size, material)));
    every
        .zip(1..)
        .map(
            |((&(code, power, price, flow), &(short, material, extra)), number)| Product {
                id: format!("PROD-{number:04}"),
                sku: format!("SUBM-{code}-DOM-{short}-{flow}LPM"),
                name: format!("{power} Submersible Pump, {material}"),
                // Whole rupees ending in 9, as is usual in shops.
                price: (price * (100 + extra) / 100 / 1000) * 1000 + 900,
            },
        )
        .collect()
}

pub(super) fn story() -> Vec<Batch> {
    let (mut random, products) = (Random::new(2), catalogue());
    let mut batches = vec![
        Batch::of(Actor::Staff(1), products.iter().map(launched)),
        Batch::of(Actor::Service("pim"), products.iter().flat_map(listed)),
        Batch::of(
            Actor::Service("warehouse"),
            products.iter().map(|product| counted(product, &mut random)),
        ),
    ];
    batches.extend(
        products
            .iter()
            .step_by(2)
            .zip(0..)
            .flat_map(|(product, turn)| decision(product, turn, &mut random)),
    );
    batches.extend(products.last().map(typing_error).into_iter().flatten());
    batches
}

fn launched(product: &Product) -> Draft {
    let fields = json!({"sku": product.sku, "name": product.name, "category": "Submersible pumps",
                        "base_price": decimal(product.price), "currency": "INR"});
    Draft::new("product.created", &product.id, 3, 0, fields)
        .because("catalogue of the new year")
        .within("catalogue-2025")
}

/// The web price, 3 % below the list price, and its change for the monsoon.
fn listed(product: &Product) -> [Draft; 2] {
    let id = format!("PRICE-WEB-{}", product.id);
    let (web, monsoon) = (product.price * 97 / 100, product.price * 92 / 100);
    let created = json!({"product_id": product.id, "price": decimal(web), "currency": "INR", "effective_date": date(3), "reason": "web price"});
    let changed = json!({"old_price": decimal(web), "new_price": decimal(monsoon), "reason": "monsoon offer", "effective_date": date(75)});
    [
        Draft::new("price.created", &id, 3, 30, created)
            .because("web shop opened")
            .within("catalogue-2025"),
        Draft::new("price.changed", &id, 74, 0, changed)
            .because("monsoon offer")
            .within("monsoon-2025"),
    ]
}

fn counted(product: &Product, random: &mut Random) -> Draft {
    let counted = json!({"old_stock": null, "new_stock": random.below(180) + 20, "reason": "opening count"});
    Draft::new("product.stock_updated", &product.id, 4, 0, counted)
        .because("opening count")
        .within("stocktaking-2025-04")
}

/// The agent proposes a price, a person approves or rejects it, and an approved price is set. All have one correlation id, and each names
/// its cause.
fn decision(product: &Product, turn: i64, random: &mut Random) -> Vec<Batch> {
    let (id, day) = (format!("DEC-{:04}", turn + 1), 40 + turn * 9);
    let flow = format!("pricing-{id}");
    let new = product.price * (100 - 3 - random.below(8)) / 100;
    let change = json!({"old_price": decimal(product.price), "new_price": decimal(new), "reason": "competitor_match", "effective_date": date(day + 3)});
    let proposed = Draft::new(
        "agent.decision_proposed",
        &id,
        day,
        0,
        json!({
            "decision": format!("lower the price of {} to match a competitor", product.sku),
            "rationale": format!("A comparable pump is offered at {} elsewhere.", decimal(new)),
            "confidence": decimal(61 + random.below(38)), "subject_type": "product", "subject_id": product.id,
            "proposal": {"event_type": "product.price_changed", "data": change},
        }),
    );
    let proposed = proposed.because("daily look at competitors").within(&flow);
    let answered = if turn % 3 == 2 {
        rejected(&id, day)
    } else {
        approved(&id, day)
    };
    let answered = answered.within(&flow).after(&proposed);
    let mut batches = vec![
        Batch::of(AGENT, [proposed]),
        Batch::of(Actor::Staff(2), [answered.clone()]),
    ];
    if turn % 3 != 2 {
        let done = Draft::new("product.price_changed", &product.id, day + 1, 30, change)
            .because("approved proposal of an agent");
        batches.push(Batch::of(Actor::Staff(2), [done.within(&flow).after(&answered)]));
    }
    batches
}

fn approved(id: &str, day: i64) -> Draft {
    let answer = json!({"approved_by": Actor::Staff(2).name(), "reason": "margin still above 20 %"});
    Draft::new("agent.decision_approved", id, day + 1, 0, answer).because("margin still above 20 %")
}

fn rejected(id: &str, day: i64) -> Draft {
    let answer = json!({"rejected_by": Actor::Staff(2).name(), "reason": "the competitor's offer ends this week"});
    Draft::new("agent.decision_rejected", id, day + 1, 0, answer).because("the competitor's offer ends this week")
}

/// A wrong price is not removed from the log: the correction is an event of its own, caused by the wrong one.
fn typing_error(product: &Product) -> [Batch; 2] {
    let prices = |old: u64, new: u64, reason: &str| -> Value {
        json!({"old_price": decimal(old), "new_price": decimal(new), "reason": reason})
    };
    let wrong = Draft::new(
        "product.price_changed",
        &product.id,
        60,
        0,
        prices(product.price, product.price / 10, "list update"),
    );
    let wrong = wrong.again("typing-error").because("list update");
    let right = Draft::new(
        "product.price_corrected",
        &product.id,
        60,
        25,
        prices(product.price / 10, product.price, "typing error"),
    );
    let right = right.because("a digit was missing").after(&wrong);
    [Batch::of(Actor::Staff(1), [wrong]), Batch::of(Actor::Staff(2), [right])]
}
