//! Datasets: what a file can be, and what its rows become. A dataset is a table of columns; whoever reads rows goes by it.

use std::fmt;

use annals::domain::event::FieldFault;
use annals::domain::{Catalog, Role, TenantId};

use crate::columns::{Column, Kind};
use crate::layout::Layout;
use crate::row::RowFault;

/// A kind of file.
pub(crate) struct Dataset {
    /// Its name in addresses and answers.
    pub(crate) name: &'static str,
    /// Kind of the aggregates that rows are.
    pub(crate) aggregate_type: &'static str,
    /// Type of the event that a new row becomes.
    pub(crate) created: &'static str,
    /// Type of the event that a changed row becomes.
    pub(crate) updated: &'static str,
    /// The column that names the entity.
    pub(crate) id: Column,
    /// All columns, required ones first.
    pub(crate) columns: &'static [Column],
    /// What a file must have: of each requirement one alternative.
    pub(crate) required: &'static [Requirement],
    /// The template's columns, each with its example.
    pub(crate) template: &'static [(Column, &'static str)],
}

/// Sets of columns one of which must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirement(pub(crate) &'static [&'static [Column]]);

/// What stands in a template's example line, so that nobody's first sale is the example.
pub(crate) const EXAMPLE: &str = "EXAMPLE - delete this line";

/// What amounts become: minor units, whatever the currency.
pub(crate) const AMOUNT_FIELD: &str = "amount_cents";

/// Sales, one per line.
pub(crate) static SALES: Dataset = Dataset {
    name: "sales",
    aggregate_type: "sale",
    created: "sale.created",
    updated: "sale.updated",
    id: Column::SaleId,
    columns: &[
        Column::SaleDate,
        Column::Amount,
        Column::SaleId,
        Column::CustomerId,
        Column::Product,
        Column::Quantity,
        Column::UnitPrice,
        Column::Category,
        Column::Currency,
        Column::Notes,
    ],
    required: &[
        Requirement(&[&[Column::SaleDate]]),
        Requirement(&[&[Column::Amount], &[Column::UnitPrice, Column::Quantity]]),
    ],
    template: &[
        (Column::SaleDate, "2026-01-31"),
        (Column::Amount, "1234.50"),
        (Column::SaleId, "S-0001"),
        (Column::CustomerId, "CUST-0042"),
        (Column::Product, "Desk lamp"),
        (Column::Quantity, "3"),
        (Column::Category, "Lighting"),
        (Column::Currency, "USD"),
        (Column::Notes, EXAMPLE),
    ],
};

/// Customers, one per line.
pub(crate) static CUSTOMERS: Dataset = Dataset {
    name: "customers",
    aggregate_type: "customer",
    created: "customer.created",
    updated: "customer.updated",
    id: Column::CustomerId,
    columns: &[
        Column::CustomerId,
        Column::Name,
        Column::Email,
        Column::Phone,
        Column::Segment,
        Column::Country,
        Column::CreatedDate,
    ],
    required: &[Requirement(&[&[Column::CustomerId]]), Requirement(&[&[Column::Name]])],
    template: &[
        (Column::CustomerId, "CUST-0042"),
        (Column::Name, EXAMPLE),
        (Column::Email, "ada@example.com"),
        (Column::Phone, "1-270-555-0142"),
        (Column::Segment, "Consumer"),
        (Column::Country, "United Kingdom"),
        (Column::CreatedDate, "2026-01-31"),
    ],
};

/// Expenses, one per line.
pub(crate) static EXPENSES: Dataset = Dataset {
    name: "expenses",
    aggregate_type: "expense",
    created: "expense.created",
    updated: "expense.updated",
    id: Column::ExpenseId,
    columns: &[
        Column::ExpenseId,
        Column::ExpenseDate,
        Column::Amount,
        Column::Currency,
        Column::Category,
        Column::Vendor,
        Column::Description,
    ],
    required: &[
        Requirement(&[&[Column::ExpenseId]]),
        Requirement(&[&[Column::ExpenseDate]]),
        Requirement(&[&[Column::Amount]]),
    ],
    template: &[
        (Column::ExpenseId, "E-0001"),
        (Column::ExpenseDate, "2026-01-31"),
        (Column::Amount, "49.00"),
        (Column::Currency, "USD"),
        (Column::Category, "Software"),
        (Column::Vendor, "Example Hosting"),
        (Column::Description, EXAMPLE),
    ],
};

impl Dataset {
    /// All of them.
    pub(crate) const ALL: [&'static Self; 3] = [&SALES, &CUSTOMERS, &EXPENSES];

    /// The dataset of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|dataset| dataset.name == name)
    }

    /// Whether every row must fill a column: no other can stand in for it.
    pub(crate) fn requires(&self, column: Column) -> bool {
        self.required
            .iter()
            .any(|required| matches!(required.0, [[only]] if *only == column))
    }

    /// Whether rows are amounts of money.
    pub(crate) fn has_money(&self) -> bool {
        self.columns.iter().any(|column| column.kind() == Kind::Amount)
    }

    /// The field of an entity that a column becomes.
    pub(crate) fn field(&self, column: Column) -> &'static str {
        match column.kind() {
            Kind::Amount => AMOUNT_FIELD,
            _ => column.name(),
        }
    }

    /// The fields of an entity that a file of this layout speaks of, filled or not.
    pub(crate) fn fields(&self, layout: &Layout) -> Vec<&'static str> {
        let mut fields: Vec<&'static str> = Vec::new();
        for column in self.columns.iter().filter(|column| **column != self.id) {
            // Always: an amount may be made of others, and is of some currency, whether the file or the upload says which.
            let always = matches!(column.kind(), Kind::Amount | Kind::Currency);
            if always || layout.has(*column) {
                fields.push(self.field(*column));
            }
        }
        fields
    }

    /// Whether files of this dataset can say something of this field.
    pub(crate) fn speaks_of(&self, field: &str) -> bool {
        self.columns.iter().any(|column| self.field(*column) == field)
    }

    /// What a schema's fault means for a row: `/email` of what is created, `/changes/email/new` of what is changed.
    pub(crate) fn schema_violation(&self, fault: FieldFault) -> RowFault {
        let names = |column: &&Column| fault.pointer.split('/').any(|part| part == self.field(**column));
        RowFault {
            column: self.columns.iter().find(names).copied(),
            ..RowFault::of_row("schema_violation", fault.detail)
        }
    }

    /// The first of its event types that a caller of this role may not post.
    pub(crate) fn forbidden(&self, catalog: &Catalog, tenant_id: TenantId, role: Role) -> Option<&'static str> {
        let may = |event_type: &&str| {
            catalog
                .find(tenant_id, event_type)
                .is_some_and(|kind| kind.posters.contains(&role))
        };
        [self.created, self.updated]
            .into_iter()
            .find(|event_type| !may(event_type))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets: Vec<String> = self
            .0
            .iter()
            .map(|set| set.iter().map(|column| column.name()).collect::<Vec<_>>().join(" and "))
            .collect();
        f.write_str(&sets.join(", or "))
    }
}
