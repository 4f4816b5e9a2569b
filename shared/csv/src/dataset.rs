//! Datasets: the kinds of files, each a table of columns with the event types that its rows become.

use std::fmt;

use crate::columns::{Column, Kind};

/// A kind of file: sales, customers or expenses.
pub struct Dataset {
    /// Its name in addresses and answers.
    pub name: &'static str,
    /// Aggregate type of the entities that rows describe.
    pub aggregate_type: &'static str,
    /// Type of the event that a new row becomes.
    pub created: &'static str,
    /// Type of the event that a changed row becomes.
    pub updated: &'static str,
    /// The column that names the entity.
    pub id: Column,
    /// The column that names the entity in files without an id: its id is a hash of the text in lower case. `None`: such rows are known by their
    /// content.
    pub named_by: Option<Column>,
    /// All columns, required ones first.
    pub columns: &'static [Column],
    /// Columns that a file must have: one alternative of each requirement.
    pub required: &'static [Requirement],
    /// The template's columns, each with its example.
    pub template: &'static [(Column, &'static str)],
}

/// Alternatives: the file must have all columns of at least one of these sets.
#[derive(Debug, Clone, Copy)]
pub struct Requirement(pub &'static [&'static [Column]]);

/// A cell of a template's example line. A row with this cell is rejected, so the example is never imported.
pub const EXAMPLE: &str = "EXAMPLE - delete this line";

/// The field of an event's data that has the currency of its amount.
pub const CURRENCY_FIELD: &str = "currency";

/// The field of an event's data that has the amount in minor units of its currency.
pub const AMOUNT_FIELD: &str = "amount_cents";

/// Sales, one per line.
pub static SALES: Dataset = Dataset {
    name: "sales",
    aggregate_type: "sale",
    created: "sale.created",
    updated: "sale.updated",
    id: Column::SaleId,
    named_by: None,
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
pub static CUSTOMERS: Dataset = Dataset {
    name: "customers",
    aggregate_type: "customer",
    created: "customer.created",
    updated: "customer.updated",
    id: Column::CustomerId,
    // By content, every change would make a new customer.
    named_by: Some(Column::Email),
    columns: &[
        Column::CustomerId,
        Column::Name,
        Column::Email,
        Column::Phone,
        Column::Segment,
        Column::Country,
        Column::CreatedDate,
    ],
    required: &[
        Requirement(&[&[Column::CustomerId], &[Column::Email]]),
        Requirement(&[&[Column::Name]]),
    ],
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
pub static EXPENSES: Dataset = Dataset {
    name: "expenses",
    aggregate_type: "expense",
    created: "expense.created",
    updated: "expense.updated",
    id: Column::ExpenseId,
    named_by: None,
    columns: &[
        Column::ExpenseDate,
        Column::Amount,
        Column::ExpenseId,
        Column::Currency,
        Column::Category,
        Column::Vendor,
        Column::Description,
    ],
    required: &[
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
    /// All datasets.
    pub const ALL: [&'static Self; 3] = [&SALES, &CUSTOMERS, &EXPENSES];

    /// The dataset of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|dataset| dataset.name == name)
    }

    /// Whether every row must fill this column: there is no alternative to it.
    pub fn requires(&self, column: Column) -> bool {
        self.required
            .iter()
            .any(|required| matches!(required.0, [[only]] if *only == column))
    }

    /// Whether rows have an amount of money.
    pub fn has_money(&self) -> bool {
        self.columns.iter().any(|column| column.kind() == Kind::Amount)
    }

    /// The field of an entity that a column becomes.
    pub fn field(&self, column: Column) -> &'static str {
        match column.kind() {
            Kind::Amount => AMOUNT_FIELD,
            _ => column.name(),
        }
    }

    /// Whether files of this dataset can have a column for this field.
    pub fn has_field(&self, field: &str) -> bool {
        self.columns.iter().any(|column| self.field(*column) == field)
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
