//! Customers, who sign up or are imported from the CRM, and dealers, who apply and are approved.

use super::story::{Actor, Batch, Draft, Random, date};
use serde_json::json;

const GIVEN: &[&str] = &[
    "Asha", "Vikram", "Meera", "Rohan", "Kavya", "Imran", "Lakshmi", "Joseph", "Nandini", "Arjun",
];
const FAMILY: &[&str] = &["Patil", "Iyer", "Deshmukh", "Khan", "Reddy", "Fernandes"];
const TOWNS: &[&str] = &[
    "Nashik 422001",
    "Hubballi 580020",
    "Salem 636001",
    "Rajkot 360001",
    "Guntur 522001",
];
/// How many customers have a login. The others order by telephone.
pub(super) const SIGNED_UP: u8 = 10;
/// Number of all customers.
pub(super) const CUSTOMERS: u8 = 40;

/// Id of customer `number`, from 0.
pub(super) fn customer_id(number: u8) -> String {
    format!("CUST-{:04}", u32::from(number) + 1)
}

pub(super) fn story() -> Vec<Batch> {
    let mut random = Random::new(3);
    let signed_up = (0..SIGNED_UP)
        .map(|number| sign_up(number, &mut random))
        .collect::<Vec<_>>();
    let dealers = DEALERS
        .iter()
        .zip(20_u8..)
        .flat_map(|(dealer, number)| application(dealer, number));
    signed_up.into_iter().chain([imported()]).chain(dealers).collect()
}

fn name(number: u8) -> (String, String) {
    let pick = |from: &[&'static str], index: usize| from.get(index % from.len()).copied().unwrap_or_default();
    let (given, family) = (pick(GIVEN, usize::from(number)), pick(FAMILY, usize::from(number / 3)));
    let email = format!(
        "{}.{}{}@example.com",
        given.to_lowercase(),
        family.to_lowercase(),
        number
    );
    (format!("{given} {family}"), email)
}

/// A customer registers and completes the profile. Users post their own events.
fn sign_up(number: u8, random: &mut Random) -> Batch {
    let (id, (name, email), day) = (customer_id(number), name(number), random.time(7, 20));
    let phone = format!("+91-98{:08}", random.below(100_000_000));
    let registered = Draft::new(
        "customer.registered",
        &id,
        day,
        0,
        json!({
            "email": email, "name": name, "country": "India", "segment": "Consumer", "created_date": date(day),
        }),
    );
    let town = random.pick("Pune 411030", TOWNS);
    let completed = Draft::new(
        "customer.profile_updated",
        &id,
        day,
        12,
        json!({"phone": phone, "address": town}),
    );
    let flow = format!("sign-up-{id}");
    let drafts = [
        registered.because("signed up on the web shop"),
        completed.because("completed the profile"),
    ];
    Batch::of(Actor::User(number), drafts.into_iter().map(|draft| draft.within(&flow)))
}

/// The customers of the old CRM, imported in one batch.
fn imported() -> Batch {
    let drafts = (SIGNED_UP..CUSTOMERS).map(|number| {
        let (name, email) = name(number);
        let segment = if number % 3 == 0 { "Agriculture" } else { "Trade" };
        let fields =
            json!({"name": name, "email": email, "segment": segment, "country": "India", "created_date": "2024-11-01"});
        let draft = Draft::new("customer.created", &customer_id(number), 1, i64::from(number), fields);
        draft.because("migrated from the old CRM").within("crm-migration-2025")
    });
    Batch::of(Actor::Service("crm"), drafts)
}

struct Dealer {
    id: &'static str,
    name: &'static str,
    contact: &'static str,
    email: &'static str,
    territory: &'static str,
    tier: &'static str,
    discount: u8,
}

const DEALERS: &[Dealer] = &[
    Dealer {
        id: "DEAL-0001",
        name: "Kaveri Pumps & Motors",
        contact: "R. Shetty",
        email: "sales@kaveripumps.example",
        territory: "Karnataka",
        tier: "silver",
        discount: 7,
    },
    Dealer {
        id: "DEAL-0002",
        name: "Godavari Agro Equipment",
        contact: "S. Jadhav",
        email: "info@godavariagro.example",
        territory: "Marathwada",
        tier: "gold",
        discount: 10,
    },
    Dealer {
        id: "DEAL-0003",
        name: "Saurashtra Borewell Works",
        contact: "H. Vala",
        email: "office@saurashtraborewell.example",
        territory: "Gujarat",
        tier: "silver",
        discount: 6,
    },
    Dealer {
        id: "DEAL-0004",
        name: "Coimbatore Pump House",
        contact: "P. Murugan",
        email: "orders@pumphouse.example",
        territory: "Tamil Nadu",
        tier: "platinum",
        discount: 14,
    },
    Dealer {
        id: "DEAL-0005",
        name: "Vidarbha Krishi Kendra",
        contact: "A. Wankhede",
        email: "krishi@vidarbha.example",
        territory: "Vidarbha",
        tier: "bronze",
        discount: 4,
    },
    Dealer {
        id: "DEAL-0006",
        name: "Malwa Irrigation",
        contact: "D. Chouhan",
        email: "malwa@irrigation.example",
        territory: "Madhya Pradesh",
        tier: "silver",
        discount: 7,
    },
];

/// The dealer's application, the approval that it causes, and better terms after half a year.
fn application(dealer: &Dealer, number: u8) -> Vec<Batch> {
    let (flow, day) = (format!("dealer-onboarding-{}", dealer.id), i64::from(number));
    let applied = Draft::new(
        "dealer.application_submitted",
        dealer.id,
        day,
        0,
        json!({
            "name": dealer.name, "contact_name": dealer.contact, "email": dealer.email, "territory": dealer.territory,
        }),
    );
    let approved = Draft::new(
        "dealer.approved",
        dealer.id,
        day + 6,
        90,
        json!({
            "approved_by": Actor::Staff(3).name(), "reason": "references checked", "pricing_tier": dealer.tier,
            "discount_percent": dealer.discount,
        }),
    );
    let approved = approved.because("references checked").within(&flow).after(&applied);
    let improved = Draft::new(
        "dealer.pricing_updated",
        dealer.id,
        day + 180,
        15,
        json!({
            "pricing_tier": dealer.tier, "discount_percent": dealer.discount + 2, "effective_date": "2025-11-01", "reason": "volume of the first half",
        }),
    );
    let improved = improved
        .because("volume of the first half")
        .within(&flow)
        .after(&approved);
    vec![
        Batch::of(
            Actor::User(number),
            [applied.because("applied on the web site").within(&flow)],
        ),
        Batch::of(Actor::Staff(3), [approved]),
        Batch::of(Actor::Staff(3), [improved]),
    ]
}
