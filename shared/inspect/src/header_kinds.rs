//! Kinds of headers that are known by parts of their words, in all languages of the dictionary.

use annals_csv::Column;

use crate::lookup::Header;
use crate::names::Role;

/// Names of numbers that a business gives its own documents, which begin again each year in many countries.
const OF_DOCUMENTS: [&str; 36] = [
    "document number",
    "document no",
    "entry number",
    "entry no",
    "receipt number",
    "receipt no",
    "receipt id",
    "bill number",
    "bill no",
    "belegnummer",
    "beleg nr",
    "belegnr",
    "buchungsnummer",
    "buchungs nr",
    "quittungsnummer",
    "ausgabennummer",
    "ausgaben nr",
    "nummer",
    "numéro de pièce",
    "n° pièce",
    "numéro d'écriture",
    "numéro de reçu",
    "número de asiento",
    "número de documento",
    "número de recibo",
    "numero documento",
    "numero movimento",
    "numero ricevuta",
    "numero fattura",
    "número do documento",
    "bonnummer",
    "boekstuknummer",
    "boekstuk",
    "bill sankhya",
    "bill kramank",
    "kramank",
];

impl Header {
    /// Whether it names numbers that a business gives its own documents.
    pub fn is_of_documents(&self) -> bool {
        OF_DOCUMENTS.contains(&self.name.as_str())
    }

    /// Whether it names currencies.
    pub fn is_of_currencies(&self) -> bool {
        let stems = [
            "currenc", "währung", "waehrung", "devise", "moneda", "divisa", "valuta", "moeda", "munt",
        ];
        self.rank_for(Column::Currency).is_some() || stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what was paid back.
    pub fn is_of_refunds(&self) -> bool {
        let stems = ["refund", "erstatt", "rembours", "reembols", "rimbors", "terugbetal"];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names documents of sales, such as orders and invoices.
    pub fn is_of_sales(&self) -> bool {
        let stems = [
            "order", "invoice", "sale", "rechnung", "bestell", "auftrag", "verkauf", "commande", "facture", "vente",
            "pedido", "factura", "venta", "ordine", "fattura", "vendita", "fatura", "venda", "factu", "bikri",
            "chalan",
        ];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what only statements of accounts have.
    pub fn is_of_accounts(&self) -> bool {
        let stems = [
            "iban",
            "verwendungszweck",
            "wertstellung",
            "valutadatum",
            "value date",
            "value dt",
            "auftraggeber",
            "beguenstigter",
            "begünstigter",
            "zahlungspflichtig",
            "zahlungsbeteiligt",
            "kontonummer",
            "account number",
            "auszugsnummer",
            "mandatsreferenz",
            "counterparty",
            "date valeur",
            "fecha valor",
            "data valuta",
            "data valor",
            "rentedatum",
            "tegenrekening",
            "mededelingen",
        ];
        self.is(Role::Balance) || stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what is taken off a price.
    pub fn is_of_discounts(&self) -> bool {
        let stems = [
            "discount",
            "rebate",
            "rabatt",
            "nachlass",
            "skonto",
            "remise",
            "descuento",
            "sconto",
            "desconto",
            "korting",
            "chhoot",
        ];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it names what is still to be paid.
    pub fn is_of_dues(&self) -> bool {
        let stems = [
            "amount due",
            "balance due",
            "total due",
            "amount outstanding",
            "open amount",
            "unpaid",
            "offener betrag",
            "restbetrag",
            "reste à payer",
            "pendiente",
            "da pagare",
            "em aberto",
            "openstaand",
            "baki rashi",
        ];
        stems.iter().any(|stem| self.name.contains(stem))
    }

    /// Whether it says which rows were cancelled, or when.
    pub fn is_of_cancellations(&self) -> bool {
        let stems = [
            "cancel",
            "storn",
            "annul",
            "anulad",
            "void",
            "geannuleerd",
            "abgebrochen",
            "deleted",
            "gelöscht",
        ];
        let mut words = self.name.split(' ');
        !self.is(Role::Status) && words.any(|word| stems.iter().any(|stem| word.starts_with(stem)))
    }
}
