//! Orders from the basket to the delivery, counter sales of the shops, and monthly expenses.

use super::people::{CUSTOMERS, SIGNED_UP, customer_id};
use super::products::{Product, catalogue};
use super::story::{Actor, Batch, Draft, Random, date};
use serde_json::{Value, json};

const ORDERS: u8 = 60;
const SALES: u32 = 150;
/// Months of rent and wages.
const MONTHS: i64 = 7;
const CARRIERS: &[&str] = &["Blue Dart", "Delhivery", "DTDC"];

pub(super) fn story() -> Vec<Batch> {
    let (mut random, products) = (Random::new(5), catalogue());
    let mut batches: Vec<Batch> = (0..ORDERS)
        .flat_map(|number| order(number, &products, &mut random))
        .collect();
    batches.push(Batch::of(
        Actor::Service("pos"),
        (0..SALES).filter_map(|number| sale(number, &products, &mut random)),
    ));
    batches.push(Batch::of(
        Actor::Service("books"),
        (0..MONTHS).flat_map(|month| expenses(month, &mut random)),
    ));
    batches.push(corrections());
    batches
}

/// What the events of one order share.
struct Order {
    id: String,
    flow: String,
    day: i64,
    customer: u8,
    basket: Value,
    total: u64,
}

impl Order {
    fn draft(&self, event_type: &'static str, day: i64, minute: i64, data: Value) -> Draft {
        Draft::new(event_type, &self.id, self.day + day, minute, data).within(&self.flow)
    }
}

/// The batches of one order. Most orders are delivered, some are shipped but not delivered, some are not paid.
fn order(number: u8, products: &[Product], random: &mut Random) -> Vec<Batch> {
    let order = fill_basket(number, products, random);
    let buyer = Actor::User(order.customer);
    let customer = customer_id(order.customer);
    let created = order.draft(
        "order.created",
        0,
        0,
        json!({
            "customer_id": customer, "items": order.basket, "total_cents": order.total, "currency": "INR",
        }),
    );
    let created = created.because("checked out on the web shop");
    let placed = order.draft(
        "order.placed",
        0,
        4,
        json!({"customer_id": customer, "total_cents": order.total, "currency": "INR"}),
    );
    let placed = placed.because("confirmed by the customer").after(&created);
    let mut batches = if order.customer < SIGNED_UP {
        // The shop's server posts in the name of the customer.
        let placed = placed.clone().on_behalf_of(&buyer);
        vec![
            Batch::of(buyer, [created]),
            Batch::of(Actor::Service("storefront"), [placed]),
        ]
    } else {
        let by_phone = |draft: Draft| Batch::of(Actor::Staff(4), [draft.because("ordered by telephone")]);
        vec![by_phone(created), by_phone(placed.clone())]
    };
    if number % 7 != 6 {
        batches.extend(paid_and_sent(&order, &placed, number % 5 != 4, random));
    }
    batches
}

fn fill_basket(number: u8, products: &[Product], random: &mut Random) -> Order {
    let customer = u8::try_from(random.below(u64::from(CUSTOMERS))).unwrap_or_default();
    let lines: Vec<(&Product, u64)> = (0..=random.below(3))
        .filter_map(|_| Some((choose(products, random)?, random.below(4) + 1)))
        .collect();
    let basket = lines.iter().map(
        |(product, quantity)| json!({"sku": product.sku, "quantity": quantity, "unit_price_cents": product.price}),
    );
    Order {
        id: format!("ORD-{:05}", 10_000 + u32::from(number)),
        flow: format!("order-flow-{}", 10_000 + u32::from(number)),
        day: random.time(30, 180),
        customer,
        basket: basket.collect(),
        total: lines.iter().map(|(product, quantity)| product.price * quantity).sum(),
    }
}

fn choose<'a>(products: &'a [Product], random: &mut Random) -> Option<&'a Product> {
    products.get(usize::try_from(random.below(products.len() as u64)).ok()?)
}

fn paid_and_sent(order: &Order, placed: &Draft, delivered: bool, random: &mut Random) -> Vec<Batch> {
    let tracking = format!("BD-{:08}", random.below(100_000_000));
    let paid = order.draft(
        "order.payment_received",
        0,
        random.time(5, 600),
        json!({
            "amount_cents": order.total, "currency": "INR", "method": random.pick("upi", &["card", "net_banking"]),
            "reference": format!("PAY-{:06}", random.below(1_000_000)),
        }),
    );
    let paid = paid.because("settled by the payment provider").after(placed);
    let sent = order.draft(
        "order.status_changed",
        1,
        random.time(0, 500),
        json!({"old_status": "placed", "new_status": "shipped"}),
    );
    let sent = sent.because("handed to the carrier").after(&paid);
    let days = random.time(3, 4);
    let fulfilled = order.draft("order.fulfilled", days, 240, json!({
        "fulfilled_on": date(order.day + days), "carrier": random.pick("India Post", CARRIERS), "tracking_number": tracking,
    }));
    let fulfilled = fulfilled.because("signed for at the door").after(&sent);
    let mut batches = vec![
        Batch::of(Actor::Service("payments"), [paid]),
        Batch::of(Actor::Service("warehouse"), [sent]),
    ];
    if delivered {
        batches.push(Batch::of(Actor::Service("warehouse"), [fulfilled]));
    }
    batches
}

/// One counter sale. Every 25th is a refund: a sale with a negative amount.
fn sale(number: u32, products: &[Product], random: &mut Random) -> Option<Draft> {
    let (product, quantity, day) = (
        choose(products, random)?,
        i64::try_from(random.below(3)).ok()? + 1,
        random.time(6, 210),
    );
    let sign = if number % 25 == 24 { -1 } else { 1 };
    let amount = i64::try_from(product.price).ok()? * quantity * sign;
    let customer = customer_id(u8::try_from(random.below(u64::from(CUSTOMERS))).ok()?);
    let fields = json!({
        "sale_date": date(day), "amount_cents": amount, "currency": "INR", "customer_id": customer, "product": product.name,
        "quantity": quantity * sign, "category": "Submersible pumps",
    });
    let draft = Draft::new("sale.created", &sale_id(number), day, random.time(0, 500), fields);
    Some(
        draft
            .because(if sign < 0 {
                "returned within 14 days"
            } else {
                "sold at the counter"
            })
            .within(&format!("till-{}", date(day))),
    )
}

fn sale_id(number: u32) -> String {
    format!("SALE-{:06}", 1 + number)
}

/// The expenses of a month. In the third month the landlord pays back some of the rent: an expense with a negative amount.
fn expenses(month: i64, random: &mut Random) -> Vec<Draft> {
    let day = 6 + month * 30;
    let rent = if month == 2 { -1_500_000 } else { 8_500_000 };
    [
        ("Rent", "Saurashtra Estates", rent),
        ("Wages", "Payroll", 21_000_000 + random.time(0, 400_000)),
        ("Electricity", "Torrent Power", 900_000 + random.time(0, 300_000)),
    ]
    .into_iter()
    .map(|(category, vendor, amount)| {
        let id = format!("EXP-{month:02}-{}", category.to_lowercase());
        let fields = json!({
            "expense_date": date(day), "amount_cents": amount, "currency": "INR", "category": category, "vendor": vendor,
        });
        Draft::new("expense.created", &id, day, 300, fields).because("booked at the end of the month")
    })
    .collect()
}

/// Two counter sales that the office corrects later: a note is added to one, and the other is deleted.
fn corrections() -> Batch {
    let noted = json!({"changes": {"notes": {"old": null, "new": "installed free of charge"}}});
    let drafts = [
        Draft::new("sale.updated", &sale_id(11), 220, 0, noted).because("the agreement was verbal"),
        Draft::new(
            "sale.deleted",
            &sale_id(17),
            220,
            5,
            json!({"deleted_at": "2025-11-07T04:00:00Z", "reason": "rung up twice"}),
        )
        .because("rung up twice"),
    ];
    Batch::of(Actor::Staff(4), drafts)
}
