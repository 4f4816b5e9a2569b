//! Datasets: what a file can be, and what its rows become.

use std::fmt;

use annals::domain::TenantId;
use annals::domain::{Catalog, Role};

use crate::columns::{Column, Layout};
use crate::options::Values;
use crate::row::{Facts, Row, RowFault};
use crate::sales;

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
    /// Reads a row.
    pub(crate) read: fn(&Row<'_>, &Values) -> Result<Facts, Vec<RowFault>>,
    /// The fields of an entity that a file of this layout speaks of, filled or not.
    pub(crate) fields: fn(&Layout) -> Vec<&'static str>,
}

/// Sets of columns one of which must be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirement(pub(crate) &'static [&'static [Column]]);

/// What stands in a template's example line, so that nobody's first sale is the example.
pub(crate) const EXAMPLE: &str = "EXAMPLE - delete this line";

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
    read: sales::read,
    fields: sales::fields,
};

impl Dataset {
    /// The dataset of that name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        [&SALES].into_iter().find(|dataset| dataset.name == name)
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
