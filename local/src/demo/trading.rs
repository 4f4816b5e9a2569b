//! The trading company: its commodities and their terms, trades, and payments.

use super::story::{Actor, Batch, Draft, Random, date, decimal};
use serde_json::{Value, json};

const TRADES: u8 = 16;
const TRADER: Actor = Actor::Staff(5);
const PAYMENTS: Actor = Actor::Service("payments");

struct Commodity {
    id: &'static str,
    name: &'static str,
    category: &'static str,
    hsn: &'static str,
    /// Unit, and its weight in hundredths of a kilogram.
    unit: (&'static str, u64),
    /// Price of a unit in paise.
    price: u64,
    varieties: [(&'static str, &'static str); 2],
    /// What is measured, its unit, and the smallest and largest value in hundredths.
    quality: (&'static str, &'static str, u64, u64),
    market: &'static str,
}

const COMMODITIES: [Commodity; 3] = [
    Commodity {
        id: "COTTON",
        name: "Raw Cotton",
        category: "fibres",
        hsn: "52010015",
        unit: ("candy", 35_562),
        price: 5_650_000,
        varieties: [("shankar-6", "Shankar-6"), ("mcu-5", "MCU-5")],
        quality: ("staple length", "mm", 2_850, 2_950),
        market: "Rajkot",
    },
    Commodity {
        id: "CHANA",
        name: "Bengal Gram",
        category: "pulses",
        hsn: "07132010",
        unit: ("quintal", 10_000),
        price: 585_000,
        varieties: [("desi", "Desi"), ("kabuli", "Kabuli")],
        quality: ("moisture", "%", 800, 1_050),
        market: "Indore",
    },
    Commodity {
        id: "CASTOR",
        name: "Castor Seed",
        category: "oilseeds",
        hsn: "12073090",
        unit: ("tonne", 100_000),
        price: 6_320_000,
        varieties: [("gch-7", "GCH-7"), ("gauch-1", "GAUCH-1")],
        quality: ("oil content", "%", 4_700, 4_900),
        market: "Deesa",
    },
];

pub(super) fn story() -> Vec<Batch> {
    let mut random = Random::new(7);
    let mut batches: Vec<Batch> = COMMODITIES.iter().flat_map(listed).collect();
    batches.extend(
        (0..TRADES)
            .zip(COMMODITIES.iter().cycle())
            .flat_map(|(number, commodity)| trade(number, commodity, &mut random)),
    );
    batches.push(declined());
    batches
}

/// A commodity with its ten child collections, and changes of its terms after the monsoon.
fn listed(commodity: &Commodity) -> [Batch; 2] {
    let flow = format!("listing-{}", commodity.id);
    let created = json!({"name": commodity.name, "code": commodity.id, "category": commodity.category, "hsn_code": commodity.hsn,
                         "is_active": true});
    let drafts = [Draft::new("commodity.created", commodity.id, 8, 0, created)]
        .into_iter()
        .chain(goods(commodity))
        .chain(terms(commodity));
    let listed = drafts.map(|draft| draft.because("commodity desk opened").within(&flow));
    let revised = [
        (
            "commodity.tax_rate.updated",
            json!({"id": "gst", "effective_to": "2025-09-21"}),
        ),
        (
            "commodity.parameter.updated",
            json!({"id": "quality", "is_mandatory": true}),
        ),
        (
            "commodity.bargain_type.removed",
            json!({"id": "barter", "name": "barter", "reason": "nobody asked for it"}),
        ),
    ];
    let revised = revised.map(|(event_type, data)| {
        Draft::new(event_type, commodity.id, 176, 0, data)
            .because("terms of the new season")
            .within("season-2025")
    });
    [Batch::of(TRADER, listed), Batch::of(TRADER, revised)]
}

fn goods(commodity: &Commodity) -> Vec<Draft> {
    let (unit, kilograms) = commodity.unit;
    let (measured, measure, least, greatest) = commodity.quality;
    let [first, second] = commodity.varieties.map(|(id, name)| {
        (
            "commodity.variety.added",
            json!({"id": id, "name": name, "is_active": true}),
        )
    });
    let quality = json!({"id": "quality", "name": measured, "unit": measure, "min_value": decimal(least), "max_value": decimal(greatest)});
    let unit = json!({"id": unit, "name": unit, "base_unit": "kg", "conversion_factor": decimal(kilograms)});
    let tax = json!({"id": "gst", "name": "GST", "rate": decimal(500), "effective_from": "2017-07-01"});
    added(
        commodity,
        10,
        [
            first,
            second,
            ("commodity.parameter.added", quality),
            ("commodity.unit.added", unit),
            ("commodity.tax_rate.added", tax),
        ],
    )
}

fn terms(commodity: &Commodity) -> Vec<Draft> {
    let place = commodity.market;
    let spot = json!({"id": "spot", "name": "spot", "description": "Delivery within the week."});
    let barter = json!({"id": "barter", "name": "barter"});
    added(
        commodity,
        30,
        [
            (
                "commodity.payment_term.added",
                json!({"id": "net-15", "name": "Net 15", "days": 15, "advance_percent": decimal(1_000)}),
            ),
            (
                "commodity.delivery_term.added",
                json!({"id": "ex-store", "name": "ex store", "place": place, "days": 7}),
            ),
            (
                "commodity.passing_term.added",
                json!({"id": "at-store", "name": "passing at store", "place": place, "days": 2}),
            ),
            (
                "commodity.weightment_term.added",
                json!({"id": "at-mill", "name": "weight at mill", "allowance_percent": decimal(25)}),
            ),
            ("commodity.bargain_type.added", spot),
            ("commodity.bargain_type.added", barter),
            (
                "commodity.commission_structure.added",
                json!({"id": "brokerage", "name": "brokerage", "basis": "percent", "rate": decimal(50), "paid_by": "seller"}),
            ),
        ],
    )
}

fn added<const N: usize>(commodity: &Commodity, minute: i64, children: [(&'static str, Value); N]) -> Vec<Draft> {
    let draft = |(event_type, data)| Draft::new(event_type, commodity.id, 8, minute, data);
    children.into_iter().map(draft).collect()
}

/// The batches of one trade. Every eighth is cancelled, and every fourth is executed but not settled.
fn trade(number: u8, commodity: &Commodity, random: &mut Random) -> Vec<Batch> {
    let (id, day) = (format!("TRADE-{:04}", number + 1), random.time(20, 160));
    let flow = format!("trade-{:04}", number + 1);
    let (units, price) = (random.below(80) + 20, commodity.price + random.below(40) * 1_000);
    let agreed = json!({"commodity_id": commodity.id, "buyer_id": format!("MILL-{}", random.below(9) + 1), "seller_id": "ORG-AGRI", "status": "agreed",
                        "quantity": units, "unit": commodity.unit.0, "unit_price_cents": price, "amount_cents": units * price,
                        "currency": "INR", "trade_date": date(day)});
    let agreed = Draft::new("trade.created", &id, day, 0, agreed)
        .because("agreed by telephone")
        .within(&flow);
    if number % 8 == 7 {
        let called_off = json!({"reason": "the quality did not pass", "cancelled_by": "buyer"});
        let called_off = Draft::new("trade.cancelled", &id, day + 2, 0, called_off)
            .because("survey report")
            .within(&flow)
            .after(&agreed);
        return vec![Batch::of(TRADER, [agreed]), Batch::of(TRADER, [called_off])];
    }
    let executed = json!({"executed_on": date(day + 3), "quantity": units, "unit": commodity.unit.0, "unit_price_cents": price,
                          "amount_cents": units * price, "currency": "INR"});
    let executed = Draft::new("trade.executed", &id, day + 3, 0, executed)
        .because("delivered and passed")
        .within(&flow)
        .after(&agreed);
    let mut batches = vec![
        Batch::of(TRADER, [agreed]),
        Batch::of(Actor::Service("exchange"), [executed.clone()]),
    ];
    if number % 4 != 2 {
        batches.extend(settled(&id, &flow, day, units * price, &executed));
    }
    batches
}

fn settled(id: &str, flow: &str, day: i64, amount: u64, executed: &Draft) -> [Batch; 2] {
    let paid = json!({"amount_cents": amount, "currency": "INR", "trade_id": id, "method": "rtgs", "reference": format!("RTGS-{id}"),
                      "received_on": date(day + 12)});
    let paid = Draft::new("payment.received", &format!("PAY-{id}"), day + 12, 0, paid)
        .because("matched to the bank statement")
        .within(flow)
        .after(executed);
    let settled = json!({"settled_on": date(day + 13), "amount_cents": amount, "currency": "INR"});
    let settled = Draft::new("trade.settled", id, day + 13, 0, settled)
        .because("nothing is owed")
        .within(flow)
        .after(&paid);
    [Batch::of(PAYMENTS, [paid]), Batch::of(TRADER, [settled])]
}

/// A payment that fails, is received a day later, and is partly refunded.
fn declined() -> Batch {
    let id = "PAY-000001";
    let created = json!({"amount_cents": 1_099_800, "currency": "INR", "payer_id": "DEAL-0002", "method": "card", "status": "pending"});
    let failed = json!({"reason": "the bank declined it", "code": "51", "amount_cents": 1_099_800, "currency": "INR", "method": "card"});
    let received = json!({"amount_cents": 1_099_800, "currency": "INR", "payer_id": "DEAL-0002", "method": "upi", "reference": "UPI-230987"});
    let refunded = json!({"amount_cents": 549_900, "currency": "INR", "reason": "one of two pumps was returned"});
    let drafts = [
        ("payment.created", 60, created, "invoice to a dealer"),
        ("payment.failed", 60, failed, "answer of the payment provider"),
        ("payment.received", 61, received, "settled by the payment provider"),
        ("payment.refunded", 70, refunded, "returned within 14 days"),
    ];
    let drafts = drafts.map(|(event_type, day, data, why)| {
        Draft::new(event_type, id, day, 5, data)
            .because(why)
            .within("invoice-2025-0117")
    });
    Batch::of(PAYMENTS, drafts)
}
