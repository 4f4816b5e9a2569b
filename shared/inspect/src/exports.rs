//! Exports of well-known systems, which need more than the dictionary: which rows count, which of several good columns is meant, how days
//! are written.
//!
//! An export is recognised by headers that it alone has. What it says here is certain, and goes before the dictionary. It says nothing about
//! signs: if all amounts of an expense file are negative, they are negated, whatever the system.

/// An export of a well-known system.
#[derive(Debug, Clone, Copy)]
pub struct Export {
    /// The system and its export, as people call it.
    pub name: &'static str,
    /// The dataset that it is certain for. Sent to another dataset, its columns are proposed but asked about.
    pub dataset: &'static str,
    /// Headers that together identify it, normalised as in `names`.
    pub signature: &'static [&'static str],
    /// Our column's name, and the header that has it. Besides columns there are the names of upload options: `debit` and `credit`
    /// (`amount_columns`), `sign` (`sign_column`), `first_name` and `last_name` (`name_columns`). In sales, money in `credit` is positive
    /// and money in `debit` negative; in expenses it is the other way round.
    pub columns: &'static [(&'static str, &'static str)],
    /// Which rows count, by a header's values in lower case: `true`, only rows with these values; `false`, no rows with these values.
    /// An empty text is an empty cell. If a header has both lists, a value in neither of them is not known, and the caller is asked.
    pub filter: &'static [(&'static str, bool, &'static [&'static str])],
    /// How days are written, if the system always writes them so.
    pub date_format: Option<&'static str>,
    /// Whether money in the other direction takes back what the dataset is about, as a credit note does, and is no other business.
    pub takes_back: bool,
    /// What is asked about, if a file has such rows.
    pub checks: &'static [Check],
    /// What one has to know.
    pub note: &'static str,
}

/// Rows that an export may have and that its columns do not tell apart. Columns are named as in `signature`.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// Rows with the same values in these columns repeat the amount of all of them.
    Repeats(&'static [&'static str]),
    /// Of all rows, only those with one of these words in the column may be negative.
    Negative(&'static str, &'static [&'static str]),
    /// The amount would have to be reduced by what is in this column.
    Subtracted(&'static str),
}

/// All exports that are known.
#[rustfmt::skip]
pub static EXPORTS: &[Export] = &[
    Export {
        name: "Shopify orders",
        dataset: "sales",
        signature: &["name", "financial status", "paid at", "fulfillment status", "lineitem quantity", "lineitem name"],
        columns: &[
            ("sale_id", "name"),
            ("sale_date", "created at"),
            ("amount", "total"),
            ("currency", "currency"),
            ("notes", "notes"),
        ],
        filter: &[
            ("financial status", true, &["paid"]),
            ("financial status", false, &["", "pending", "authorized", "expired", "voided", "refunded"]),
        ],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "An order's further items are rows of their own, which repeat its name and have no status and no total. \
               Partly refunded and partly paid orders are asked about: Total is not what was paid.",
    },
    Export {
        name: "Etsy sold orders",
        dataset: "sales",
        signature: &[
            "sale date", "order id", "buyer user id", "order value", "order total", "card processing fees",
            "order net",
        ],
        columns: &[
            ("sale_id", "order id"),
            ("sale_date", "sale date"),
            ("amount", "order total"),
            ("currency", "currency"),
        ],
        filter: &[("adjusted order total", true, &[""]), ("adjusted order total", false, &[])],
        date_format: Some("%m/%d/%y"),
        takes_back: false,
        checks: &[],
        note: "Order Total is what the buyer paid; Order Net is what Etsy pays out. An order with an adjusted total \
               was partly refunded and is asked about.",
    },
    Export {
        name: "PayPal activity (English)",
        dataset: "sales",
        signature: &[
            "date", "time", "timezone", "name", "type", "status", "currency", "gross", "fee", "net",
            "transaction id",
        ],
        columns: &[
            ("sale_id", "transaction id"),
            ("sale_date", "date"),
            ("amount", "gross"),
            ("currency", "currency"),
            ("product", "item title"),
        ],
        filter: &[
            ("status", true, &["completed"]),
            ("status", false, &[
                "pending", "denied", "failed", "canceled", "cancelled", "expired", "removed", "placed",
            ]),
            (
                "type",
                true,
                &[
                    "express checkout payment", "website payment", "website payments pro api solution",
                    "mobile payment", "ebay auction payment", "subscription payment", "payment refund",
                    "payment reversal",
                ],
            ),
            (
                "type",
                false,
                &[
                    "general withdrawal", "user initiated withdrawal", "general currency conversion",
                    "user initiated currency conversion", "preapproved payment bill user payment",
                    "bank deposit to pp account", "general credit card deposit", "general card deposit",
                    "general card withdrawal", "account hold for open authorization",
                    "reversal of general account hold", "general authorization", "void of authorization",
                    "hold on balance for dispute investigation", "cancellation of hold for dispute resolution",
                ],
            ),
        ],
        date_format: None,
        takes_back: false,
        checks: &[Check::Negative("type", &["payment refund", "payment reversal"])],
        note: "The order of day and month depends on the account's country. A payment with a negative gross is a \
               purchase of one's own and is asked about. Fees are expenses: send the file to that dataset as well, \
               with Fee as amount.",
    },
    Export {
        name: "PayPal activity (German)",
        dataset: "sales",
        signature: &[
            "datum", "uhrzeit", "zeitzone", "name", "typ", "status", "währung", "brutto", "gebühr", "netto", "transaktionscode",
        ],
        columns: &[
            ("sale_id", "transaktionscode"),
            ("sale_date", "datum"),
            ("amount", "brutto"),
            ("currency", "währung"),
            ("product", "artikelbezeichnung"),
        ],
        filter: &[
            ("status", true, &["abgeschlossen"]),
            ("status", false, &["ausstehend", "abgelehnt", "fehlgeschlagen", "storniert", "abgelaufen", "entfernt"]),
            (
                "typ",
                true,
                &[
                    "paypal express-zahlung", "express-zahlung", "website-zahlung", "handyzahlung",
                    "ebay-auktionszahlung", "abonnementzahlung", "rückzahlung", "rückbuchung",
                ],
            ),
            (
                "typ",
                false,
                &[
                    "allgemeine abbuchung", "von nutzer eingeleitete abbuchung", "allgemeine währungsumrechnung",
                    "zahlung im einzugsverfahren mit zahlungsrechnung", "bankgutschrift auf paypal-konto",
                    "allgemeine gutschrift auf kreditkarte", "allgemeine autorisierung",
                    "einbehaltung für offene autorisierung", "rückbuchung allgemeiner einbehaltung",
                ],
            ),
        ],
        date_format: Some("%d.%m.%Y"),
        takes_back: false,
        checks: &[Check::Negative("typ", &["rückzahlung", "rückbuchung"])],
        note: "As in English. A payment with a negative Brutto is a purchase of one's own and is asked about.",
    },
    Export {
        name: "PayPal activity (French)",
        dataset: "sales",
        signature: &[
            "date", "heure", "fuseau horaire", "nom", "type", "état", "devise", "avant commission", "commission", "net",
            "numéro de transaction",
        ],
        columns: &[
            ("sale_id", "numéro de transaction"),
            ("sale_date", "date"),
            ("amount", "avant commission"),
            ("currency", "devise"),
            ("product", "titre de l'objet"),
        ],
        filter: &[
            ("état", true, &["terminé"]),
            ("état", false, &["en attente", "refusé", "échoué", "annulé", "expiré", "supprimé"]),
            (
                "type",
                true,
                &[
                    "paiement express checkout", "paiement sur site marchand", "paiement mobile",
                    "paiement d'une enchère ebay", "paiement d'abonnement", "remboursement de paiement",
                    "annulation de paiement",
                ],
            ),
            (
                "type",
                false,
                &[
                    "virement standard", "virement à l'initiative de l'utilisateur", "conversion de devise standard",
                    "paiement préapprouvé d'un utilisateur de facture de paiement",
                    "virement bancaire sur le compte paypal", "autorisation standard",
                    "suspension de compte pour autorisation ouverte",
                    "annulation de la suspension de compte standard",
                ],
            ),
        ],
        date_format: Some("%d/%m/%Y"),
        takes_back: false,
        checks: &[Check::Negative("type", &["remboursement de paiement", "annulation de paiement"])],
        note: "As in English. A payment with a negative Avant commission is a purchase of one's own and is asked \
               about.",
    },
    Export {
        name: "Amazon date range report",
        dataset: "sales",
        signature: &[
            "date time", "settlement id", "type", "order id", "sku", "product sales", "selling fees", "fba fees",
        ],
        columns: &[
            ("sale_date", "date time"),
            ("amount", "product sales"),
            ("product", "description"),
            ("quantity", "quantity"),
        ],
        filter: &[
            ("type", true, &["order", "refund"]),
            (
                "type",
                false,
                &[
                    "transfer", "service fee", "adjustment", "debt", "fee adjustment", "fba inventory fee", "fba inventory fee - reversal",
                    "fba customer return fee", "fba transaction fee", "lightning deal fee", "coupon redemption fee", "shipping services",
                    "amazon fees", "order_retrocharge", "refund_retrocharge",
                ],
            ),
        ],
        date_format: None,
        takes_back: false,
        checks: &[Check::Negative("type", &["refund"])],
        note: "There is no id: a refund repeats its order's id. The currency is in the preamble (All amounts in USD). \
               Months are written by name.",
    },
    Export {
        name: "Amazon settlement (flat file V2)",
        dataset: "sales",
        signature: &[
            "settlement id", "deposit date", "transaction type", "amount type", "amount description", "posted date",
        ],
        columns: &[
            ("sale_date", "posted date"),
            ("amount", "amount"),
            ("product", "sku"),
            ("quantity", "quantity purchased"),
        ],
        filter: &[
            ("transaction type", true, &["order", "refund"]),
            ("amount description", true, &["principal"]),
        ],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "An order has a row for each part of its amount, so there is no id. The first row sums up; it alone has \
               the currency, so the upload must declare it.",
    },
    Export {
        name: "Square transactions",
        dataset: "sales",
        signature: &[
            "gross sales", "net sales", "partial refunds", "total collected", "transaction id", "payment id",
            "event type",
        ],
        columns: &[
            ("sale_id", "transaction id"),
            ("sale_date", "date"),
            ("amount", "total collected"),
            ("product", "description"),
        ],
        filter: &[("event type", true, &["payment", "refund"]), ("event type", false, &[])],
        date_format: None,
        takes_back: false,
        checks: &[Check::Negative("event type", &["refund"])],
        note: "Total Collected is what was paid, with tax and tip. Older exports write 01/31/26 instead of 2026-01-31.",
    },
    Export {
        name: "Stripe payments",
        dataset: "sales",
        signature: &[
            "id", "created date", "amount", "amount refunded", "currency", "converted amount", "seller message",
            "status",
        ],
        columns: &[
            ("sale_id", "id"),
            ("sale_date", "created date"),
            ("amount", "amount"),
            ("currency", "currency"),
            ("customer_id", "customer id"),
            ("product", "description"),
        ],
        filter: &[
            ("status", true, &["paid"]),
            (
                "status",
                false,
                &[
                    "failed", "refunded", "canceled", "blocked", "requires payment method", "requires confirmation",
                    "uncaptured",
                ],
            ),
        ],
        date_format: None,
        takes_back: false,
        checks: &[Check::Subtracted("amount refunded")],
        note: "Amount is in Currency, Converted Amount in the account's. Partly refunded payments are asked about.",
    },
    Export {
        name: "WooCommerce orders (Advanced Order Export)",
        dataset: "sales",
        signature: &[
            "order number", "order status", "order date", "order subtotal amount", "order refund amount",
            "order total amount",
        ],
        columns: &[
            ("sale_id", "order number"),
            ("sale_date", "order date"),
            ("amount", "order total amount"),
            ("product", "item name"),
            ("notes", "customer note"),
        ],
        filter: &[
            ("order status", true, &["completed", "processing"]),
            ("order status", false, &["", "cancelled", "failed", "pending payment", "on hold", "refunded", "draft"]),
            ("order refund amount", true, &["", "0", "0.00", "0,00"]),
            ("order refund amount", false, &[]),
        ],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "There is no currency. An order's further items are rows whose other cells are empty. Partly refunded \
               orders are asked about.",
    },
    Export {
        name: "Superstore",
        dataset: "sales",
        signature: &["row id", "order id", "order date", "ship mode", "sub category", "sales", "profit"],
        columns: &[
            ("sale_id", "row id"),
            ("sale_date", "order date"),
            ("amount", "sales"),
            ("customer_id", "customer id"),
            ("product", "product name"),
            ("quantity", "quantity"),
            ("category", "category"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "The row is a line of an order, so its id is Row ID. Sales is the amount of the line, with up to four \
               decimals. There are copies with the month first and with the day first.",
    },
    Export {
        name: "Tally day book",
        dataset: "sales",
        signature: &["particulars", "vch type", "vch no", "debit amount", "credit amount"],
        columns: &[
            ("sale_date", "date"),
            ("credit", "debit amount"),
            ("debit", "credit amount"),
            ("notes", "particulars"),
        ],
        filter: &[
            ("vch type", true, &["sales", "credit note"]),
            (
                "vch type",
                false,
                &[
                    "", "payment", "receipt", "purchase", "debit note", "contra", "journal", "sales order",
                    "purchase order",
                ],
            ),
        ],
        date_format: Some("%d-%b-%y"),
        takes_back: true,
        checks: &[],
        note: "A sale debits the customer, so its amount is in Debit Amount, and that of a credit note in Credit \
               Amount. There is no currency. Vch No. begins again each year, so it is no id.",
    },
    Export {
        name: "Tally sales register",
        dataset: "sales",
        signature: &["particulars", "vch type", "vch no", "taxable value", "invoice amount"],
        columns: &[
            ("sale_date", "date"),
            ("amount", "invoice amount"),
            ("notes", "particulars"),
        ],
        filter: &[],
        date_format: Some("%d-%b-%y"),
        takes_back: false,
        checks: &[],
        note: "There is no currency. Vch No. begins again each year, so it is no id. The last line is a grand total without a date.",
    },
    Export {
        name: "SAP customer line items (FBL5N, German)",
        dataset: "sales",
        signature: &["belegnummer", "art", "belegdatum", "debitor", "betrag in hauswährung"],
        columns: &[
            ("sale_date", "belegdatum"),
            ("amount", "betrag in hauswährung"),
            ("currency", "hauswährung"),
            ("customer_id", "debitor"),
            ("notes", "text"),
        ],
        filter: &[
            ("art", true, &["dr", "dg", "rv"]),
            ("art", false, &["", "dz", "ab", "za", "zp"]),
        ],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "DR and RV are invoices, DG is a credit memo, DZ a payment. The minus is after the number. Lines that \
               begin with * are totals. Numbers of documents begin again each year, and a document has several lines, so Belegnummer is no id. How days and numbers are written depends on the user's settings.",
    },
    Export {
        name: "SAP G/L account line items (FBL3N, German)",
        dataset: "expenses",
        signature: &["belegnr", "buch dat", "sachkonto", "s h", "betrag hw"],
        columns: &[
            ("expense_date", "buch dat"),
            ("amount", "betrag hw"),
            ("sign", "s h"),
            ("currency", "hwähr"),
            ("vendor", "name kreditor"),
            ("category", "sachkonto"),
            ("description", "text"),
        ],
        filter: &[],
        date_format: None,
        takes_back: true,
        checks: &[],
        note: "Of cost accounts, S is an expense and H takes one back. Accounts of other kinds are no expenses. Numbers of documents begin again each year, and a document has several lines, so Belegnr is no id.",
    },
    Export {
        name: "DATEV Buchungsstapel (EXTF)",
        dataset: "expenses",
        signature: &["umsatz", "soll haben kennzeichen", "wkz umsatz", "gegenkonto", "belegdatum", "belegfeld 1"],
        columns: &[
            ("expense_date", "belegdatum"),
            ("amount", "umsatz"),
            ("sign", "soll haben kennzeichen"),
            ("currency", "wkz umsatz"),
            ("category", "konto"),
            ("description", "buchungstext"),
        ],
        filter: &[],
        date_format: None,
        takes_back: true,
        checks: &[],
        note: "Always asked about: Belegdatum is a day and a month (0503), and the year is in the first line only \
               (fields 13, 15 and 16: begin of the business year, first and last day). The currency may be empty, \
               which means that of the first line (field 22).",
    },
    Export {
        name: "Xero bills",
        dataset: "expenses",
        signature: &[
            "contactname", "invoicenumber", "invoicedate", "total", "taxtotal", "invoiceamountdue", "lineamount",
            "status",
        ],
        columns: &[
            ("expense_date", "invoicedate"),
            ("amount", "total"),
            ("currency", "currency"),
            ("vendor", "contactname"),
            ("category", "accountcode"),
            ("description", "description"),
        ],
        filter: &[
            ("status", true, &["paid", "authorised", "approved", "awaiting payment"]),
            ("status", false, &["draft", "submitted", "awaiting approval", "voided", "deleted"]),
            ("type", true, &["bill"]),
            ("type", false, &[]),
        ],
        date_format: None,
        takes_back: false,
        checks: &[Check::Repeats(&["contactname", "invoicenumber"])],
        note: "There is no id: two vendors may use the same invoice number. A bill of several lines is several rows \
               that repeat Total, and has to be asked about: equal InvoiceNumber and ContactName in several rows.",
    },
    Export {
        name: "Xero account transactions",
        dataset: "expenses",
        signature: &["date", "source", "description", "reference", "debit", "credit", "running balance", "gross"],
        columns: &[
            ("expense_date", "date"),
            ("debit", "debit"),
            ("credit", "credit"),
            ("description", "description"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "Rows are in groups, one for each account, with a heading and a total. Months are written by name. There \
               is no currency.",
    },
    Export {
        name: "QuickBooks expenses by vendor detail",
        dataset: "expenses",
        signature: &["date", "transaction type", "num", "memo description", "account", "amount", "balance"],
        columns: &[
            ("expense_date", "date"),
            ("amount", "amount"),
            ("category", "account"),
            ("description", "memo description"),
        ],
        filter: &[
            (
                "transaction type",
                true,
                &["expense", "bill", "check", "cheque expense", "cash expense", "credit card expense"],
            ),
            ("transaction type", false, &[""]),
        ],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "Rows are in groups, one for each vendor, with a heading and a total in a first column that has no name. \
               The order of day and month depends on the company's country. There is no currency.",
    },
    Export {
        name: "Google Ads campaign report",
        dataset: "expenses",
        signature: &["day", "campaign", "currency code", "impr", "clicks", "cost"],
        columns: &[
            ("expense_date", "day"),
            ("amount", "cost"),
            ("currency", "currency code"),
            ("category", "campaign type"),
            ("description", "campaign"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "UTF-16 with tabs. Lines that begin with Total: are totals. -- is nothing.",
    },
    Export {
        name: "Mailchimp audience",
        dataset: "customers",
        signature: &["email address", "first name", "last name", "member rating", "optin time", "leid", "euid"],
        columns: &[
            ("customer_id", "euid"),
            ("first_name", "first name"),
            ("last_name", "last name"),
            ("email", "email address"),
            ("phone", "phone number"),
            ("country", "cc"),
            ("created_date", "optin time"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "EUID is the contact, LEID its place in this audience. Names and OPTIN_TIME may be empty.",
    },
    Export {
        name: "HubSpot contacts",
        dataset: "customers",
        signature: &[
            "record id", "first name", "last name", "email", "contact owner", "create date", "lifecycle stage",
        ],
        columns: &[
            ("customer_id", "record id"),
            ("first_name", "first name"),
            ("last_name", "last name"),
            ("email", "email"),
            ("phone", "phone number"),
            ("country", "country region"),
            ("created_date", "create date"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "Last Activity Date is no date since which one knows the customer. Names may be empty.",
    },
    Export {
        name: "Shopify customers",
        dataset: "customers",
        signature: &[
            "customer id", "first name", "last name", "email", "accepts email marketing", "total spent",
            "total orders",
        ],
        columns: &[
            ("customer_id", "customer id"),
            ("first_name", "first name"),
            ("last_name", "last name"),
            ("email", "email"),
            ("phone", "phone"),
            ("country", "default address country code"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "Ids have an apostrophe before them, which keeps spreadsheets from rounding them.",
    },
    Export {
        name: "Sparkasse CSV-CAMT",
        dataset: "expenses",
        signature: &[
            "auftragskonto", "buchungstag", "valutadatum", "glaeubiger id", "beguenstigter zahlungspflichtiger", "betrag", "waehrung", "info",
        ],
        columns: &[
            ("expense_date", "buchungstag"),
            ("amount", "betrag"),
            ("currency", "waehrung"),
            ("vendor", "beguenstigter zahlungspflichtiger"),
            ("description", "verwendungszweck"),
        ],
        filter: &[("info", true, &["umsatz gebucht"]), ("info", false, &["umsatz vorgemerkt"])],
        date_format: Some("%d.%m.%y"),
        takes_back: false,
        checks: &[],
        note: "windows-1252. Money in both directions in one column is asked about.",
    },
    Export {
        name: "DKB Umsatzliste",
        dataset: "expenses",
        signature: &[
            "buchungsdatum", "wertstellung", "status", "zahlungspflichtige*r", "zahlungsempfänger*in", "umsatztyp",
            "betrag",
        ],
        columns: &[
            ("expense_date", "buchungsdatum"),
            ("amount", "betrag"),
            ("vendor", "zahlungsempfänger*in"),
            ("description", "verwendungszweck"),
        ],
        filter: &[("status", true, &["gebucht"]), ("status", false, &["vorgemerkt"])],
        date_format: Some("%d.%m.%y"),
        takes_back: false,
        checks: &[],
        note: "The currency is in the header, Betrag (€). Umsatztyp says Ausgang or Eingang; both in one file are \
               asked about.",
    },
    Export {
        name: "ING Umsatzanzeige (Germany)",
        dataset: "expenses",
        signature: &[
            "buchung", "wertstellungsdatum", "auftraggeber empfänger", "buchungstext", "verwendungszweck", "saldo",
            "betrag",
        ],
        columns: &[
            ("expense_date", "buchung"),
            ("amount", "betrag"),
            ("currency", "währung"),
            ("vendor", "auftraggeber empfänger"),
            ("description", "verwendungszweck"),
        ],
        filter: &[],
        date_format: Some("%d.%m.%Y"),
        takes_back: false,
        checks: &[],
        note: "windows-1252. Two columns are called Währung: the one after Saldo is the balance's, the one after \
               Betrag the amount's.",
    },
    Export {
        name: "Commerzbank",
        dataset: "expenses",
        signature: &[
            "buchungstag", "wertstellung", "umsatzart", "buchungstext", "betrag", "währung", "iban kontoinhaber",
        ],
        columns: &[
            ("expense_date", "buchungstag"),
            ("amount", "betrag"),
            ("currency", "währung"),
            ("category", "kategorie"),
            ("description", "buchungstext"),
        ],
        filter: &[],
        date_format: Some("%d.%m.%Y"),
        takes_back: false,
        checks: &[],
        note: "Money in both directions in one column is asked about.",
    },
    Export {
        name: "Crédit Agricole",
        dataset: "expenses",
        signature: &["date", "libellé", "débit", "crédit", "date valeur"],
        columns: &[
            ("expense_date", "date"),
            ("debit", "débit"),
            ("credit", "crédit"),
            ("description", "libellé"),
        ],
        filter: &[],
        date_format: Some("%d/%m/%Y"),
        takes_back: false,
        checks: &[],
        note: "windows-1252. The currency is in the headers, Débit euros. Labels have line breaks.",
    },
    Export {
        name: "Boursorama",
        dataset: "expenses",
        signature: &["dateop", "dateval", "label", "supplierfound", "amount", "accountnum", "accountbalance"],
        columns: &[
            ("expense_date", "dateop"),
            ("amount", "amount"),
            ("category", "category"),
            ("vendor", "supplierfound"),
            ("description", "label"),
        ],
        filter: &[],
        date_format: Some("%Y-%m-%d"),
        takes_back: false,
        checks: &[],
        note: "amount has a comma before its cents, accountbalance a point. There is no currency.",
    },
    Export {
        name: "PostFinance",
        dataset: "expenses",
        signature: &["buchungsdatum", "avisierungstext", "gutschrift", "lastschrift", "valuta", "saldo"],
        columns: &[
            ("expense_date", "buchungsdatum"),
            ("debit", "lastschrift"),
            ("credit", "gutschrift"),
            ("description", "avisierungstext"),
        ],
        filter: &[],
        date_format: Some("%d.%m.%Y"),
        takes_back: false,
        checks: &[],
        note: "The currency is in the headers, Lastschrift in CHF. Debits have a minus. A disclaimer ends the file.",
    },
    Export {
        name: "UBS (Switzerland)",
        dataset: "expenses",
        signature: &[
            "abschlussdatum", "abschlusszeit", "buchungsdatum", "valutadatum", "belastung", "gutschrift",
            "transaktions nr",
        ],
        columns: &[
            ("expense_id", "transaktions nr"),
            ("expense_date", "buchungsdatum"),
            ("debit", "belastung"),
            ("credit", "gutschrift"),
            ("currency", "währung"),
            ("vendor", "beschreibung1"),
            ("description", "beschreibung2"),
        ],
        filter: &[],
        date_format: Some("%Y-%m-%d"),
        takes_back: false,
        checks: &[],
        note: "Debits have a minus. The parts of a collective payment are rows with an Einzelbetrag and without a \
               Belastung; files that have such rows are asked about.",
    },
    Export {
        name: "HDFC Bank",
        dataset: "expenses",
        signature: &["date", "narration", "chq ref no", "value dt", "withdrawal amt", "deposit amt", "closing balance"],
        columns: &[
            ("expense_date", "date"),
            ("debit", "withdrawal amt"),
            ("credit", "deposit amt"),
            ("description", "narration"),
        ],
        filter: &[],
        date_format: Some("%d/%m/%y"),
        takes_back: false,
        checks: &[],
        note: "There is no currency. A reference may repeat, so it is no id. A summary ends the file.",
    },
    Export {
        name: "ICICI Bank",
        dataset: "expenses",
        signature: &[
            "s no", "value date", "transaction date", "transaction remarks", "withdrawal amount", "deposit amount",
        ],
        columns: &[
            ("expense_date", "transaction date"),
            ("debit", "withdrawal amount"),
            ("credit", "deposit amount"),
            ("description", "transaction remarks"),
        ],
        filter: &[],
        date_format: Some("%d/%m/%Y"),
        takes_back: false,
        checks: &[],
        note: "The currency is in the headers, Withdrawal Amount (INR ). The direction without money has 0.00. S No. \
               counts rows and is no id.",
    },
    Export {
        name: "Kotak Mahindra Bank",
        dataset: "expenses",
        signature: &["sl no", "date", "description", "chq ref number", "amount", "dr cr", "balance"],
        columns: &[
            ("expense_date", "date"),
            ("amount", "amount"),
            ("sign", "dr cr"),
            ("description", "description"),
        ],
        filter: &[],
        date_format: Some("%d-%m-%Y"),
        takes_back: false,
        checks: &[],
        note: "Two columns are called Dr / Cr: the first is the amount's, the second the balance's. There is no \
               currency.",
    },
    Export {
        name: "Axis Bank",
        dataset: "expenses",
        signature: &["tran date", "chqno", "particulars", "dr", "cr", "bal"],
        columns: &[
            ("expense_date", "tran date"),
            ("debit", "dr"),
            ("credit", "cr"),
            ("description", "particulars"),
        ],
        filter: &[],
        date_format: Some("%d-%m-%Y"),
        takes_back: false,
        checks: &[],
        note: "There is no currency. Money in both columns is asked about.",
    },
    Export {
        name: "BBVA (Spain)",
        dataset: "expenses",
        signature: &["f valor", "fecha", "concepto", "movimiento", "importe", "divisa", "disponible"],
        columns: &[
            ("expense_date", "fecha"),
            ("amount", "importe"),
            ("currency", "divisa"),
            ("vendor", "concepto"),
            ("description", "movimiento"),
        ],
        filter: &[],
        date_format: Some("%d/%m/%Y"),
        takes_back: false,
        checks: &[],
        note: "Money in both directions in one column is asked about.",
    },
    Export {
        name: "ING (Netherlands)",
        dataset: "expenses",
        signature: &["datum", "naam omschrijving", "tegenrekening", "af bij", "bedrag", "mutatiesoort", "mededelingen"],
        columns: &[
            ("expense_date", "datum"),
            ("amount", "bedrag"),
            ("sign", "af bij"),
            ("category", "mutatiesoort"),
            ("vendor", "naam omschrijving"),
            ("description", "mededelingen"),
        ],
        filter: &[],
        date_format: Some("%Y%m%d"),
        takes_back: false,
        checks: &[],
        note: "The currency is in the header, Bedrag (EUR). Af and Bij in one file are asked about.",
    },
    Export {
        name: "Chase credit card",
        dataset: "expenses",
        signature: &["transaction date", "post date", "description", "category", "type", "amount", "memo"],
        columns: &[
            ("expense_date", "transaction date"),
            ("amount", "amount"),
            ("category", "category"),
            ("vendor", "description"),
            ("description", "memo"),
        ],
        filter: &[("type", true, &["sale", "fee"]), ("type", false, &["payment"])],
        date_format: Some("%m/%d/%Y"),
        takes_back: false,
        checks: &[],
        note: "Charges are negative; payments of the card's bill are positive and are no expenses. Returns are asked \
               about. There is no currency.",
    },
    Export {
        name: "American Express card",
        dataset: "expenses",
        signature: &["date", "card member", "amount", "extended details", "appears on your statement as", "reference"],
        columns: &[
            ("expense_id", "reference"),
            ("expense_date", "date"),
            ("amount", "amount"),
            ("category", "category"),
            ("vendor", "description"),
        ],
        filter: &[],
        date_format: None,
        takes_back: false,
        checks: &[],
        note: "Charges are positive. Payments of the card's bill are negative and are asked about. References are in \
               apostrophes. There is no currency.",
    },
];
