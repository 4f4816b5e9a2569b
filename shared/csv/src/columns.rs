//! Columns of all datasets, and the kinds of their cells.

/// How the cells of a column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An id: the row's own, or that of another entity.
    Id,
    /// A day.
    Day,
    /// An amount of money, which becomes minor units of a currency.
    Amount,
    /// An amount of money that is stored as a decimal number.
    Price,
    /// A decimal number that is not money.
    Quantity,
    /// A currency.
    Currency,
    /// An email address.
    Email,
    /// Any text.
    Text,
}

macro_rules! columns {
    ($($column:ident $name:literal $kind:ident $about:literal,)*) => {
        /// A column of some dataset.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Column {
            $(#[doc = concat!("`", $name, "`")] $column,)*
        }

        impl Column {
            /// How many columns there are.
            pub const COUNT: usize = [$(Self::$column),*].len();

            /// Its name in files, templates and mappings.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$column => $name,)*
                }
            }

            /// How its cells are read.
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$column => Kind::$kind,)*
                }
            }

            /// Its description in the data dictionary.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$column => $about,)*
                }
            }
        }
    };
}

columns! {
    SaleDate "sale_date" Day "day of the sale",
    Amount "amount" Amount "what was paid; negative for a refund",
    UnitPrice "unit_price" Price "price of one",
    SaleId "sale_id" Id "the sale's own id; without one, equal rows are told apart by counting them",
    CustomerId "customer_id" Id "the customer's id",
    Product "product" Text "what was sold",
    Quantity "quantity" Quantity "how much of it; negative for a return",
    Category "category" Text "category, as you name it",
    Currency "currency" Currency "currency of the row's amounts; where empty, the upload's",
    Notes "notes" Text "anything else",
    Name "name" Text "full name",
    Email "email" Email "email address",
    Phone "phone" Text "telephone number, as you write it",
    Segment "segment" Text "market segment",
    Country "country" Text "country, as you write it",
    CreatedDate "created_date" Day "day since which you know the customer",
    ExpenseId "expense_id" Id "the expense's own id",
    ExpenseDate "expense_date" Day "day of the expense",
    Vendor "vendor" Text "who was paid",
    Description "description" Text "what it was for",
}
