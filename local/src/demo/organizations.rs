//! The companies of the group, with their GST registrations, bank accounts, financial years and document series.

use super::story::{Actor, Batch, Draft};
use serde_json::json;

struct Company {
    id: &'static str,
    name: &'static str,
    legal_name: &'static str,
    website: &'static str,
    email: &'static str,
    city: &'static str,
    /// GST registrations, the primary one first: id, number, state, date.
    gst: [(&'static str, &'static str, &'static str, &'static str); 2],
    /// Bank, account number, IFSC, branch.
    bank: (&'static str, &'static str, &'static str, &'static str),
}

const COMPANIES: &[Company] = &[
    Company {
        id: "ORG-DECCAN",
        name: "Deccan Pumps",
        legal_name: "Deccan Pumps Private Limited",
        website: "https://deccanpumps.example",
        email: "contact@deccanpumps.example",
        city: "14 Sinhagad Road, Pune 411030",
        gst: [
            ("gst-mh", "27AAPFU0939F1ZV", "Maharashtra", "2017-07-01"),
            ("gst-ka", "29AAPFU0939F1ZR", "Karnataka", "2019-04-01"),
        ],
        bank: ("HDFC Bank", "50100012345678", "HDFC0000123", "Deccan Gymkhana, Pune"),
    },
    Company {
        id: "ORG-NARMADA",
        name: "Narmada Motors",
        legal_name: "Narmada Motors LLP",
        website: "https://narmadamotors.example",
        email: "office@narmadamotors.example",
        city: "3 Alkapuri, Vadodara 390007",
        gst: [
            ("gst-gj", "24AABCS1429B1ZB", "Gujarat", "2017-07-01"),
            ("gst-mp", "23AABCS1429B1ZD", "Madhya Pradesh", "2021-10-01"),
        ],
        bank: (
            "State Bank of India",
            "30245678901",
            "SBIN0001234",
            "Alkapuri, Vadodara",
        ),
    },
    Company {
        id: "ORG-AGRI",
        name: "Commodity Trading Ltd",
        legal_name: "Commodity Trading Limited",
        website: "https://commoditytrading.example",
        email: "contact@commoditytrading.example",
        city: "Fort, Mumbai 400001",
        gst: [
            ("gst-mh", "27AAACK4213M1Z6", "Maharashtra", "2018-01-01"),
            ("gst-tn", "33AAACK4213M1ZD", "Tamil Nadu", "2022-04-01"),
        ],
        bank: ("ICICI Bank", "000405012345", "ICIC0000004", "Nariman Point, Mumbai"),
    },
];

pub(super) fn story() -> Vec<Batch> {
    COMPANIES
        .iter()
        .zip([0, 2, 5])
        .flat_map(|(company, day)| [founded(company, day), revised(company, day)])
        .collect()
}

fn founded(company: &Company, day: i64) -> Batch {
    let flow = format!("onboarding-{}", company.id);
    let created = Draft::new(
        "organization.created",
        company.id,
        day,
        0,
        json!({
            "name": company.name, "legal_name": company.legal_name, "type": "corporation", "email": company.email, "country": "India",
        }),
    );
    let children = [registrations(company, day), accounts_and_years(company, day)].concat();
    let drafts = [created].into_iter().chain(children);
    Batch::of(
        Actor::Staff(1),
        drafts.map(|draft| draft.because("onboarding of the company").within(&flow)),
    )
}

fn registrations(company: &Company, day: i64) -> Vec<Draft> {
    let added = company
        .gst
        .iter()
        .zip([true, false])
        .map(|((id, gstin, state, since), primary)| {
            Draft::new(
                "organization.gst.added",
                company.id,
                day,
                10,
                json!({
                    "id": id, "gstin": gstin, "state": state, "registered_on": since, "is_primary": primary,
                }),
            )
        });
    added.collect()
}

fn accounts_and_years(company: &Company, day: i64) -> Vec<Draft> {
    let (bank, number, ifsc, _) = company.bank;
    let account = json!({"id": "bank-1", "bank_name": bank, "account_number": number, "ifsc": ifsc, "currency": "INR",
                         "account_holder": company.legal_name, "is_primary": true});
    let year = |id: &str, name: &str, start: &str, end: &str, current: bool| {
        let fields = json!({"id": id, "name": name, "start_date": start, "end_date": end, "is_current": current});
        Draft::new("organization.financial_year.added", company.id, day, 30, fields)
    };
    let series = |id: &str, document_type: &str, prefix: &str| {
        let fields = json!({"id": id, "document_type": document_type, "prefix": prefix, "next_number": 1, "financial_year_id": "fy-2025"});
        Draft::new("organization.document_series.added", company.id, day, 40, fields)
    };
    vec![
        Draft::new("organization.bank_account.added", company.id, day, 20, account),
        year("fy-2024", "FY 2024-25", "2024-04-01", "2025-03-31", false),
        year("fy-2025", "FY 2025-26", "2025-04-01", "2026-03-31", true),
        series("inv-2025", "invoice", "INV/25-26/"),
        series("crn-2025", "credit_note", "CRN/25-26/"),
        series("po-2025", "purchase_order", "PO/25-26/"),
    ]
}

/// Corrections after a compliance review, a month later. `organization.updated` names the old and new value of each field.
fn revised(company: &Company, day: i64) -> Batch {
    let review = format!("compliance-review-{}", company.id);
    let day = day + 30;
    let changes = json!({"changes": {"website": {"old": null, "new": company.website}, "address": {"old": null, "new": company.city}}});
    let drafts = [
        Draft::new("organization.updated", company.id, day, 0, changes),
        Draft::new(
            "organization.gst.updated",
            company.id,
            day,
            5,
            json!({"id": company.gst[0].0, "legal_name": company.legal_name}),
        ),
        Draft::new(
            "organization.bank_account.updated",
            company.id,
            day,
            9,
            json!({"id": "bank-1", "branch": company.bank.3}),
        ),
    ];
    Batch::of(
        Actor::Staff(2),
        drafts
            .into_iter()
            .map(|draft| draft.because("updated as per compliance review").within(&review)),
    )
}
