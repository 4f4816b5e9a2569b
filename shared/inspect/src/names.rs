//! The dictionary: which header names mean which of our columns, which names mean something else that an import needs to know, and which
//! words in cells do.
//!
//! All names are written as the reader looks them up: in lower case, words separated by one space, `_`, `-`, `.` and `/` as spaces,
//! without parentheses and their content, without units and currency codes (`Lastschrift in CHF` is looked up as `lastschrift`), and
//! without punctuation at the ends (`Order #` is looked up as `order`).
//!
//! Within a language the best name comes first: if a file has two names of the same column, the earlier one is proposed and the other is
//! the runner-up. A name that several languages have is under the first of them. A name that could mean two of our columns is in both
//! lists; the file's other columns and its dataset decide. The same holds for words: `pago` is paid in Portuguese and a payment in Spanish.

use annals_csv::Column;

/// What a column means that is none of ours but tells how others are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Money that leaves the account; the other direction is in another column.
    Debit,
    /// Money that reaches the account; the other direction is in another column.
    Credit,
    /// The direction of the amount: `D` or `C`, `S` or `H`, `Af` or `Bij`.
    Sign,
    /// First part of a customer's name.
    FirstName,
    /// Last part of a customer's name.
    LastName,
    /// How far the row has come: paid, pending, voided.
    Status,
    /// The type of transaction: sale, refund, fee, transfer; income or expense.
    Kind,
    /// The account's balance after the row.
    Balance,
    /// What the payment service keeps.
    Fee,
    /// The tax in the amount.
    Tax,
    /// The amount without tax or fees.
    Net,
    /// The amount with tax and fees.
    Gross,
    /// The time of the day.
    Time,
    /// The zone of the time.
    TimeZone,
}

/// What a word in a cell means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The first cell of a line of totals. Such a line is also known by `total` and a space before another word.
    TotalLine,
    /// A balance, which is no row. Companies and accounts are called so, too, so such a row is asked about.
    Balance,
    /// The row does not count yet.
    Pending,
    /// The row does not count any more.
    Voided,
    /// The row counts.
    Completed,
    /// The row takes back another one, or moves money that was counted before.
    TakenBack,
    /// The row is income.
    Income,
    /// The row is an expense.
    Expense,
    /// The cell has no value.
    Nothing,
}

/// Header names of our columns, the best first.
#[rustfmt::skip]
pub static NAMES: &[(Column, &[&str])] = &[
    (Column::SaleDate, &[
        // English
        "sale date", "sales date", "date of sale", "order date", "ordered at", "ordered on", "purchase date",
        "purchased at",
        "invoice date", "transaction date", "tran date", "txn date", "payment date", "paid at", "paid on", "date paid",
        "created at",
        "created date", "created", "date created", "order created", "date time", "datetime", "timestamp", "posted date",
        "posting date",
        "booking date", "document date", "voucher date", "date", "day",
        // German
        "verkaufsdatum", "bestelldatum", "rechnungsdatum", "auftragsdatum", "kaufdatum", "belegdatum", "buchungsdatum",
        "buch dat",
        "buchungstag", "zahlungsdatum", "bezahlt am", "bestellt am", "erstellt am", "datum uhrzeit", "datum", "tag",
        // French
        "date de vente", "date de commande", "date commande", "date de facture", "date de la facture", "date facture",
        "date de facturation", "date d'achat", "date de paiement", "date paiement", "date de création",
        "date d'opération",
        "date opération", "dateop", "jour",
        // Spanish
        "fecha de venta", "fecha venta", "fecha de pedido", "fecha del pedido", "fecha pedido", "fecha de factura",
        "fecha de la factura", "fecha factura", "fecha de emisión", "fecha de compra", "fecha de pago",
        "fecha de creación",
        "fecha operación", "fecha", "día",
        // Italian
        "data vendita", "data di vendita", "data ordine", "data dell'ordine", "data fattura", "data della fattura",
        "data documento",
        "data acquisto", "data pagamento", "data operazione", "data", "giorno",
        // Portuguese
        "data da venda", "data de venda", "data venda", "data do pedido", "data pedido", "data da fatura",
        "data da fatura recibo",
        "data de emissão", "data emissão", "data da compra", "data do pagamento", "data de criação", "dia",
        // Dutch
        "verkoopdatum", "besteldatum", "orderdatum", "factuurdatum", "aankoopdatum", "betaaldatum", "boekdatum",
        "transactiedatum",
        "aangemaakt op", "dag",
        // Hindi
        "bikri tareekh", "bikri ki tareekh", "order tareekh", "bill tareekh", "tareekh", "tarikh", "dinank", "din",
    ]),
    (Column::Amount, &[
        // English
        "amount paid", "total paid", "order total", "order total amount", "order amount", "sale amount", "sales amount",
        "total sale",
        "invoice total", "invoice amount", "grand total", "total collected", "total amount", "total price",
        "amount total", "total",
        "amount", "amount in lc", "amount in local currency", "gross amount", "gross sales", "gross total", "gross",
        "product sales",
        "sales", "revenue", "transaction amount", "payment amount", "paid amount", "amt", "cost", "total cost", "spend",
        "amount spent",
        "expense", "expense amount", "price paid", "line total", "lineamount", "line amount", "value",
        // German
        "bruttobetrag", "gesamtbetrag", "rechnungsbetrag", "zahlbetrag", "bezahlter betrag", "rechnungssumme",
        "endbetrag",
        "gesamtsumme", "gesamtpreis", "betrag brutto", "bruttoumsatz", "brutto", "betrag", "betrag hw",
        "betrag in hauswährung",
        "betrag in hw", "betrag in belegwährung", "verkaufsbetrag", "umsatz", "erlös", "summe", "ausgabe", "ausgaben",
        "kosten", "preis",
        // French
        "montant ttc", "total ttc", "montant total", "montant payé", "montant de la facture", "montant facture",
        "montant brut",
        "avant commission", "brut", "montant", "total général", "total à payer", "dépense", "coût", "prix total",
        "chiffre d'affaires",
        "ventes",
        // Spanish
        "importe total", "total factura", "total de la factura", "monto total", "total pagado", "importe pagado",
        "importe bruto",
        "importe", "monto", "cantidad pagada", "gasto", "coste", "costo", "precio total", "ventas",
        // Italian
        "totale documento", "totale fattura", "importo totale", "totale ordine", "importo pagato", "importo lordo",
        "lordo", "importo",
        "totale", "spesa", "costo totale", "prezzo totale", "vendite", "ricavo",
        // Portuguese
        "valor total", "valor pago", "total da fatura", "total pago", "valor bruto", "valor da venda", "valor",
        "montante", "quantia",
        "despesa", "custo", "preço total", "vendas",
        // Dutch
        "bedrag incl btw", "bedrag inclusief btw", "totaal incl btw", "totaal inclusief btw", "totaalbedrag",
        "factuurbedrag",
        "betaald bedrag", "brutobedrag", "bedrag", "totaal", "uitgave", "omzet",
        // Hindi
        "kul rashi", "bill rashi", "bhugtan rashi", "rashi", "raashi", "kul", "rakam", "raqam", "kharcha", "kharch",
        "mulya",
    ]),
    (Column::UnitPrice, &[
        // English
        "unit price", "price per unit", "price each", "unit amount", "unitamount", "item price", "lineitem price",
        "item cost", "rate",
        "unit cost", "list price", "price",
        // German
        "einzelpreis", "stückpreis", "preis pro stück", "preis je einheit", "einheitspreis", "e preis", "preis",
        // French
        "prix unitaire", "prix unitaire ttc", "pu ttc", "p u", "pu", "prix",
        // Spanish
        "precio unitario", "precio por unidad", "precio unidad", "precio",
        // Italian
        "prezzo unitario", "prezzo per unità", "prezzo",
        // Portuguese
        "preço unitário", "valor unitário", "preço por unidade", "preço",
        // Dutch
        "stukprijs", "prijs per stuk", "eenheidsprijs", "prijs",
        // Hindi
        "dar", "bhav", "prati ikai mulya", "daam", "keemat",
    ]),
    (Column::SaleId, &[
        // English
        "sale id", "sales id", "order id", "order number", "order no", "order nr", "order", "invoice number",
        "invoice no", "invoice id",
        "invoice", "receipt number", "receipt no", "receipt id", "transaction id", "txn id", "payment id",
        "transaction number",
        "transaction no", "bill number", "bill no", "document number",
        "document no",
        "sale number", "sales record number", "reference number", "id",
        // German
        "verkaufsnummer", "verkaufs id", "bestellnummer", "bestell nr", "bestellung", "auftragsnummer", "auftrags nr",
        "rechnungsnummer", "rechnungs nr", "rechnungsnr", "rechnung nr", "belegnummer", "beleg nr", "belegnr",
        "transaktionscode",
        "transaktionsnummer", "transaktions nr", "transaktions id", "vorgangsnummer", "quittungsnummer", "nummer",
        // French
        "numéro de vente", "numéro de commande", "n° commande", "n° de commande", "commande", "numéro de facture",
        "n° facture",
        "n° de facture", "numéro facture", "numéro de transaction", "n° transaction", "référence commande",
        "numéro de reçu",
        // Spanish
        "id de venta", "número de pedido", "nº pedido", "n° pedido", "pedido", "número de factura", "nº factura",
        "nº de factura",
        "n° factura", "num factura", "factura", "id de transacción", "número de recibo",
        // Italian
        "id vendita", "numero ordine", "n° ordine", "ordine", "numero fattura", "n° fattura", "nr fattura", "fattura",
        "numero documento",
        "id transazione", "numero ricevuta",
        // Portuguese
        "id da venda", "número do pedido", "nº do pedido", "número da fatura", "nº da fatura", "número da nota",
        "nota fiscal", "id da transação", "venda",
        // Dutch
        "verkoopnummer", "bestelnummer", "ordernummer", "factuurnummer", "factuurnr", "bonnummer", "transactienummer",
        "transactie id",
        // Hindi
        "bikri sankhya", "bill sankhya", "bill kramank", "order sankhya", "chalan sankhya", "rasid sankhya", "kramank",
    ]),
    (Column::CustomerId, &[
        // English
        "customer id", "customer number", "customer no", "customer code", "customer ref", "client id", "client number",
        "client no",
        "buyer id", "buyer user id", "account id", "account number", "contact id", "record id", "user id", "member id",
        "euid",
        "subscriber id", "id",
        // German
        "kundennummer", "kunden nr", "kundennr", "kunden id", "debitor", "debitorennummer", "debitoren nr",
        "kontaktnummer",
        "mitgliedsnummer", "nummer",
        // French
        "numéro client", "numéro de client", "n° client", "n° de client", "code client", "id client",
        "identifiant client",
        // Spanish
        "id cliente", "id de cliente", "número de cliente", "nº cliente", "nº de cliente", "código cliente",
        "código de cliente",
        // Italian
        "codice cliente", "numero cliente", "n° cliente", "id del cliente",
        // Portuguese
        "id do cliente", "número do cliente", "nº do cliente", "código do cliente",
        // Dutch
        "klantnummer", "klantnr", "klant id", "klantcode", "debiteurnummer", "relatienummer",
        // Hindi
        "grahak sankhya", "grahak id", "grahak kramank", "grahak code",
    ]),
    (Column::Product, &[
        // English
        "product name", "product", "item name", "item title", "lineitem name", "item", "product title", "title",
        "description", "sku",
        "service", "goods",
        // German
        "produktname", "produkt", "artikel", "artikelbezeichnung", "artikelname", "bezeichnung", "leistung", "ware",
        "beschreibung",
        // French
        "nom du produit", "produit", "article", "titre de l'objet", "désignation", "libellé", "prestation",
        // Spanish
        "nombre del producto", "producto", "artículo", "concepto", "descripción", "servicio",
        // Italian
        "nome prodotto", "prodotto", "articolo", "descrizione", "servizio",
        // Portuguese
        "nome do produto", "produto", "item vendido", "artigo", "descrição", "serviço",
        // Dutch
        "productnaam", "artikelnaam", "omschrijving", "dienst",
        // Hindi
        "saman", "samaan", "vastu", "utpad", "maal", "vivaran",
    ]),
    (Column::Quantity, &[
        // English
        "quantity", "qty", "quantity sold", "quantity purchased", "lineitem quantity", "units", "units sold",
        "item count",
        "number of items", "count", "pieces", "pcs", "nos",
        // German
        "menge", "anzahl", "stück", "stückzahl",
        // French
        "quantité", "qté", "nombre", "nb",
        // Spanish
        "cantidad", "unidades", "cant",
        // Italian
        "quantità", "q tà", "qta", "pezzi",
        // Portuguese
        "quantidade", "qtd", "qtde",
        // Dutch
        "aantal", "hoeveelheid", "stuks",
        // Hindi
        "matra", "maatra", "sankhya", "nag", "ginti",
    ]),
    (Column::Category, &[
        // English
        "category", "product category", "expense category", "department", "product type", "group", "account",
        "expense account",
        "campaign type", "tag", "class",
        // German
        "kategorie", "warengruppe", "produktgruppe", "ausgabenart", "kostenart", "rubrik", "sachkonto", "konto",
        "gruppe",
        // French
        "catégorie", "rubrique", "famille", "poste", "compte",
        // Spanish
        "categoría", "rubro", "familia", "cuenta", "grupo",
        // Italian
        "categoria", "gruppo", "conto", "reparto",
        // Portuguese
        "conta", "centro de custo",
        // Dutch
        "categorie", "rubriek", "groep", "grootboekrekening",
        // Hindi
        "shreni", "varg", "prakar",
    ]),
    (Column::Currency, &[
        // English
        "currency", "currency code", "order currency", "transaction currency", "payment currency", "iso currency",
        "ccy", "curr", "cur",
        // German
        "währung", "waehrung", "währungscode", "hauswährung", "hwähr", "belegwährung", "wkz umsatz", "wkz", "währg",
        // French
        "devise", "monnaie", "code devise",
        // Spanish
        "moneda", "divisa", "código de moneda",
        // Italian
        "valuta", "codice valuta",
        // Portuguese
        "moeda", "código da moeda",
        // Dutch
        "munt", "muntsoort", "valutacode",
        // Hindi
        "mudra",
    ]),
    (Column::Notes, &[
        // English
        "notes", "note", "comment", "comments", "remarks", "remark", "memo", "customer note", "order notes", "details",
        "message",
        // German
        "notiz", "notizen", "bemerkung", "bemerkungen", "anmerkung", "anmerkungen", "kommentar", "hinweis", "text",
        // French
        "remarque", "remarques", "commentaire", "commentaires", "observation", "observations",
        // Spanish
        "notas", "nota", "observaciones", "comentario", "comentarios",
        // Italian
        "osservazioni", "commento", "commenti",
        // Portuguese
        "observação", "observações", "comentário", "comentários",
        // Dutch
        "notities", "notitie", "opmerking", "opmerkingen", "toelichting",
        // Hindi
        "tippani", "vishesh",
    ]),
    (Column::Name, &[
        // English
        "name", "full name", "customer name", "customer", "client name", "client", "contact name", "contact",
        "display name", "buyer",
        "buyer name", "company name", "company", "billing name", "account name", "member name",
        // German
        "vollständiger name", "kundenname", "kunde", "kontaktname", "ansprechpartner", "firma", "firmenname", "käufer",
        // French
        "nom complet", "nom et prénom", "nom prénom", "prénom et nom", "nom du client", "raison sociale", "nom",
        // Spanish
        "nombre completo", "nombre y apellidos", "nombre del cliente", "cliente", "razón social", "nombre",
        // Italian
        "nome completo", "nome e cognome", "nome cliente", "nominativo", "ragione sociale", "nome",
        // Portuguese
        "nome do cliente", "razão social",
        // Dutch
        "volledige naam", "klantnaam", "naam", "klant", "bedrijfsnaam", "contactpersoon",
        // Hindi
        "poora naam", "pura naam", "grahak ka naam", "grahak naam", "grahak",
    ]),
    (Column::Email, &[
        // English
        "email", "email address", "e mail", "e mail address", "customer email", "contact email", "primary email",
        "mail",
        // German
        "e mail adresse", "email adresse", "mailadresse",
        // French
        "adresse e mail", "adresse email", "courriel", "adresse électronique", "adresse mail", "mél",
        // Spanish
        "correo electrónico", "correo", "dirección de correo electrónico", "dirección de correo",
        // Italian
        "indirizzo email", "indirizzo e mail", "posta elettronica",
        // Portuguese
        "endereço de e mail", "endereço de email", "correio eletrónico", "correio eletrônico",
        // Dutch
        "e mailadres", "emailadres", "mailadres",
        // Hindi
        "email pata", "i mail",
    ]),
    (Column::Phone, &[
        // English
        "phone", "phone number", "telephone", "telephone number", "mobile", "mobile number", "mobile no",
        "mobile phone number",
        "mobile phone", "cell", "cell phone", "contact number", "contact no", "tel",
        // German
        "telefon", "telefonnummer", "telefon nr", "mobilnummer", "handy", "handynummer", "rufnummer", "mobil",
        // French
        "téléphone", "numéro de téléphone", "tél", "portable", "téléphone portable",
        // Spanish
        "teléfono", "número de teléfono", "móvil", "celular", "teléfono móvil",
        // Italian
        "telefono", "numero di telefono", "cellulare", "recapito telefonico",
        // Portuguese
        "telefone", "número de telefone", "telemóvel",
        // Dutch
        "telefoon", "telefoonnummer", "mobiel", "mobiel nummer", "gsm",
        // Hindi
        "phone sankhya", "mobile sankhya", "doorbhash", "sampark sankhya",
    ]),
    (Column::Segment, &[
        // English
        "segment", "customer segment", "market segment", "customer group", "customer type", "customer class", "tier",
        // German
        "kundengruppe", "kundensegment", "kundenart", "kundentyp", "marktsegment",
        // French
        "segment client", "groupe client", "groupe de clients", "type de client",
        // Spanish
        "segmento", "grupo de clientes", "tipo de cliente",
        // Italian
        "gruppo clienti", "tipo cliente",
        // Dutch
        "klantgroep", "klantsegment", "klanttype",
        // Hindi
        "grahak varg", "grahak prakar",
    ]),
    (Column::Country, &[
        // English
        "country", "country region", "country code", "country name", "billing country", "default address country code",
        "ship country", "cc",
        // German
        "land", "staat", "ländercode", "länderkürzel", "länderkennzeichen",
        // French
        "pays", "code pays",
        // Spanish
        "país", "pais", "código de país",
        // Italian
        "paese", "nazione", "stato", "codice paese",
        // Portuguese
        "código do país",
        // Dutch
        "landcode",
        // Hindi
        "desh",
    ]),
    (Column::CreatedDate, &[
        // English
        "created date", "create date", "created at", "date created", "created on", "created", "customer since",
        "member since",
        "signup date", "sign up date", "signed up", "registration date", "registered at", "registered on", "registered",
        "date registered", "joined", "join date", "date joined", "optin time", "subscribed at", "subscription date",
        "date added",
        "added on", "first seen", "confirm time", "first order date", "date",
        // German
        "kunde seit", "erstellt am", "angelegt am", "erfasst am", "registriert am", "registrierungsdatum",
        "anmeldedatum",
        "erstelldatum", "erstellungsdatum", "mitglied seit", "datum",
        // French
        "client depuis", "date d'inscription", "inscrit le", "date de création", "créé le", "membre depuis",
        "date d'ajout",
        // Spanish
        "fecha de alta", "fecha alta", "cliente desde", "fecha de registro", "fecha registro", "fecha de creación",
        "creado el",
        "fecha de inscripción", "fecha",
        // Italian
        "cliente dal", "data di registrazione", "data registrazione", "data creazione", "data di creazione",
        "data iscrizione",
        "creato il", "data",
        // Portuguese
        "data de cadastro", "data do cadastro", "data de registo", "data de registro", "data de criação", "criado em",
        "data de inscrição",
        // Dutch
        "klant sinds", "aanmaakdatum", "aangemaakt op", "registratiedatum", "inschrijfdatum", "lid sinds",
        // Hindi
        "panjikaran tareekh", "judne ki tareekh", "grahak kab se", "tareekh",
    ]),
    (Column::ExpenseId, &[
        // English
        "expense id", "expense number", "expense no", "expense report id", "transaction id", "txn id",
        "transaction number",
        "transaction no", "document number", "document no", "entry number",
        "entry no",
        "receipt id", "id",
        // German
        "ausgaben nr", "ausgabennummer", "belegnummer", "beleg nr", "belegnr", "buchungsnummer", "buchungs nr",
        "transaktions nr",
        "transaktionsnummer", "transaktionscode", "transaktions id", "vorgangsnummer", "nummer",
        // French
        "numéro de dépense", "n° dépense", "numéro de pièce", "n° pièce", "numéro d'écriture", "numéro de transaction",
        // Spanish
        "id de gasto", "número de gasto", "nº gasto", "número de asiento", "número de documento", "id de transacción",
        // Italian
        "id spesa", "numero spesa", "numero documento", "numero movimento", "id transazione",
        // Portuguese
        "id da despesa", "número da despesa", "nº da despesa", "número do documento", "id da transação",
        // Dutch
        "uitgavenummer", "boekstuknummer", "boekstuk", "bonnummer", "transactienummer", "transactie id",
        // Hindi
        "kharcha sankhya",
    ]),
    (Column::ExpenseDate, &[
        // English
        "expense date", "date of expense", "transaction date", "tran date", "txn date", "trans date",
        "date of transaction",
        "purchase date", "booking date", "posting date", "posted date", "post date", "invoice date", "invoicedate",
        "bill date",
        "payment date", "document date", "voucher date", "completed date", "date completed", "date time", "date", "day",
        "value date",
        "value dt",
        // German
        "ausgabedatum", "buchungsdatum", "buchungstag", "buch dat", "buchung", "belegdatum", "rechnungsdatum",
        "kaufdatum",
        "zahlungsdatum", "bezahlt am", "transaktionsdatum", "datum", "tag", "abschlussdatum", "wertstellung",
        "wertstellungsdatum",
        "valutadatum", "valuta",
        // French
        "date de dépense", "date de la dépense", "date d'opération", "date opération", "date de l'opération", "dateop",
        "date de comptabilisation", "date comptable", "date d'achat", "date de paiement", "date de facture",
        "date facture", "jour",
        "date valeur", "date de valeur", "dateval",
        // Spanish
        "fecha de gasto", "fecha del gasto", "fecha operación", "fecha de operación", "fecha contable",
        "fecha de compra",
        "fecha de pago", "fecha factura", "fecha", "día", "fecha valor", "f valor",
        // Italian
        "data spesa", "data della spesa", "data operazione", "data contabile", "data contabilizzazione",
        "data acquisto",
        "data pagamento", "data fattura", "data", "giorno", "data valuta",
        // Portuguese
        "data da despesa", "data do lançamento", "data lançamento", "data de lançamento", "data mov", "data movimento",
        "data do movimento", "data da compra", "data do pagamento", "dia", "data valor",
        // Dutch
        "uitgavedatum", "boekdatum", "boekingsdatum", "transactiedatum", "aankoopdatum", "betaaldatum", "factuurdatum",
        "dag",
        "rentedatum",
        // Hindi
        "kharcha tareekh", "kharche ki tareekh", "bhugtan tareekh", "tareekh", "tarikh", "dinank", "din",
    ]),
    (Column::Vendor, &[
        // English
        "vendor", "vendor name", "supplier", "supplier name", "payee", "merchant", "merchant name", "paid to",
        "contactname", "store",
        "shop", "company", "counterparty", "beneficiary", "name",
        // German
        "lieferant", "kreditor", "name kreditor", "händler", "zahlungsempfänger", "zahlungsempfänger*in", "empfänger",
        "auftraggeber empfänger", "beguenstigter zahlungspflichtiger", "begünstigter zahlungspflichtiger",
        "auftraggeber begünstigter", "begünstigter", "name zahlungsbeteiligter", "anbieter", "verkäufer", "firma",
        // French
        "fournisseur", "supplierfound", "bénéficiaire", "marchand", "commerçant", "vendeur", "payé à", "nom",
        // Spanish
        "proveedor", "beneficiario", "comercio", "vendedor", "pagado a",
        // Italian
        "fornitore", "esercente", "negozio", "venditore",
        // Portuguese
        "fornecedor", "beneficiário", "favorecido", "estabelecimento",
        // Dutch
        "leverancier", "naam omschrijving", "begunstigde", "naam tegenpartij", "tegenpartij", "winkel", "verkoper",
        "naam",
        // Hindi
        "vikreta", "dukandar", "dukaan", "apurtikarta", "kisko",
    ]),
    (Column::Description, &[
        // English
        "description", "expense description", "memo description", "memo", "narration", "particulars",
        "transaction remarks",
        "transaction details", "details", "purpose", "reference text", "remarks", "note", "notes", "campaign", "item",
        "text",
        // German
        "beschreibung", "verwendungszweck", "buchungstext", "avisierungstext", "buchungsdetails", "bezeichnung",
        "zweck",
        "beschreibung1", "bemerkung", "notiz",
        // French
        "libellé", "label", "libellé de l'opération", "libellé opération", "libelle", "désignation", "objet", "motif",
        "détail", "commentaire",
        // Spanish
        "descripción", "concepto", "detalle", "movimiento", "motivo", "observaciones",
        // Italian
        "descrizione", "causale", "dettagli", "operazione",
        // Portuguese
        "descrição", "histórico", "movimento", "detalhe", "observações",
        // Dutch
        "omschrijving", "mededelingen", "mededeling", "naam omschrijving", "toelichting",
        // Hindi
        "vivaran", "vivran", "karan", "tippani",
    ]),
];

/// Header names of columns with other roles.
#[rustfmt::skip]
pub static ROLES: &[(Role, &[&str])] = &[
    (Role::Debit, &[
        // English
        "debit", "debit amount", "debits", "withdrawal", "withdrawals", "withdrawal amount", "withdrawal amt",
        "paid out", "money out",
        "dr", "dr amount", "debit amt", "outflow", "payments", "spent",
        // German
        "soll", "belastung", "lastschrift", "ausgang", "ausgabe", "ausgaben", "abgang",
        // French
        "débit", "montant débit", "dépense", "dépenses", "sortie",
        // Spanish
        "debe", "cargo", "cargos", "débito", "retiro", "gasto", "salida",
        // Italian
        "dare", "addebito", "addebiti", "uscite", "uscita",
        // Portuguese
        "débitos", "saída", "saídas", "despesa",
        // Dutch
        "debet", "af", "afschrijving", "uitgaven", "uit",
        // Hindi
        "nikasi", "kharch", "naam khata", "udhar",
    ]),
    (Role::Credit, &[
        // English
        "credit", "credit amount", "credits", "deposit", "deposits", "deposit amount", "deposit amt", "paid in",
        "money in", "cr",
        "cr amount", "credit amt", "inflow", "receipts", "received",
        // German
        "haben", "gutschrift", "eingang", "einnahme", "einnahmen", "zugang",
        // French
        "crédit", "montant crédit", "recette", "recettes", "entrée",
        // Spanish
        "haber", "abono", "abonos", "crédito", "depósito", "ingreso", "entrada",
        // Italian
        "avere", "accredito", "accrediti", "entrate", "entrata",
        // Portuguese
        "créditos", "entradas", "receita",
        // Dutch
        "bij", "bijschrijving", "inkomsten", "in",
        // Hindi
        "jama", "aay", "aamdani",
    ]),
    (Role::Sign, &[
        // English
        "dr cr", "cr dr", "d c", "c d", "debit credit", "credit debit", "debit credit ind", "debit credit indicator",
        "dc",
        "credit debit indicator", "direction", "sign", "balance impact", "transaction type", "in out",
        // German
        "soll haben kennzeichen", "soll haben", "soll haben kz", "s h", "s h kennzeichen", "sh", "sh kennzeichen",
        "kennzeichen",
        "auswirkung auf guthaben", "vorzeichen", "einnahme ausgabe", "umsatztyp",
        // French
        "débit crédit", "sens", "impact sur le solde",
        // Spanish
        "debe haber", "cargo abono", "signo", "débito crédito",
        // Italian
        "dare avere", "segno",
        // Portuguese
        "d c débito crédito", "sinal", "natureza",
        // Dutch
        "af bij", "debet credit", "bij af",
        // Hindi
        "jama nikasi", "aay kharch",
    ]),
    (Role::FirstName, &[
        // English
        "first name", "firstname", "given name", "forename", "billing first name",
        // German
        "vorname",
        // French
        "prénom", "prenom",
        // Spanish
        "nombre", "nombre de pila",
        // Italian
        "nome",
        // Portuguese
        "primeiro nome", "nome próprio",
        // Dutch
        "voornaam",
        // Hindi
        "pehla naam", "pratham naam",
    ]),
    (Role::LastName, &[
        // English
        "last name", "lastname", "surname", "family name", "billing last name",
        // German
        "nachname", "familienname", "zuname",
        // French
        "nom de famille", "nom",
        // Spanish
        "apellidos", "apellido",
        // Italian
        "cognome",
        // Portuguese
        "sobrenome", "apelido", "último nome",
        // Dutch
        "achternaam", "familienaam",
        // Hindi
        "upnaam", "kulnaam", "antim naam",
    ]),
    (Role::Status, &[
        // English
        "status", "financial status", "payment status", "order status", "transaction status", "state", "invoice status",
        // German
        "zahlungsstatus", "bestellstatus", "rechnungsstatus", "zustand", "info",
        // French
        "statut", "état", "etat", "statut du paiement", "statut de la commande",
        // Spanish
        "estado", "estado del pago", "estado del pedido", "situación",
        // Italian
        "stato", "stato pagamento", "stato ordine", "contabilizzazione",
        // Portuguese
        "situação", "status do pedido", "status do pagamento",
        // Dutch
        "betaalstatus", "orderstatus", "toestand",
        // Hindi
        "sthiti", "avastha",
    ]),
    (Role::Kind, &[
        // English
        "type", "transaction type", "event type", "vch type", "voucher type", "record type", "entry type",
        "category type", "kind",
        "income expense", "document type",
        // German
        "typ", "art", "transaktionsart", "umsatzart", "umsatztyp", "buchungsart", "vorgangsart", "belegart", "vorgang",
        // French
        "type de transaction", "nature", "type d'opération",
        // Spanish
        "tipo", "tipo de movimiento", "tipo de transacción", "movimiento",
        // Italian
        "tipologia", "tipo documento", "tipo movimento",
        // Portuguese
        "tipo de lançamento", "tipo de transação",
        // Dutch
        "soort", "mutatiesoort", "type transactie", "transactiesoort",
        // Hindi
        "prakar", "len den prakar",
    ]),
    (Role::Balance, &[
        // English
        "balance", "running balance", "closing balance", "available balance", "account balance", "accountbalance",
        "bal",
        "outstanding balance",
        // German
        "saldo", "kontostand", "guthaben", "endsaldo",
        // French
        "solde", "solde comptable",
        // Spanish
        "disponible", "saldo disponible",
        // Italian
        "saldo contabile", "saldo disponibile",
        // Portuguese
        "saldo contabilístico", "saldo disponível",
        // Dutch
        "saldo na mutatie", "saldo na trn",
        // Hindi
        "shesh", "baki", "bakaya",
    ]),
    (Role::Fee, &[
        // English
        "fee", "fees", "card processing fees", "processing fee", "transaction fee", "selling fees", "commission",
        "charges",
        "bank charges", "fba fees",
        // German
        "gebühr", "gebühren", "entgelt", "provision", "verkaufsgebühren",
        // French
        "frais", "frais bancaires",
        // Spanish
        "comisión", "comisiones", "tarifa",
        // Italian
        "commissione", "commissioni", "tariffa",
        // Portuguese
        "taxa", "comissão",
        // Dutch
        "kosten", "transactiekosten", "commissie",
        // Hindi
        "shulk", "fees shulk", "dalali",
    ]),
    (Role::Tax, &[
        // English
        "tax", "taxes", "sales tax", "tax amount", "taxamount", "taxtotal", "vat", "vat amount", "gst", "cgst", "sgst",
        "igst", "hst",
        "order total tax amount",
        // German
        "mwst", "mehrwertsteuer", "ust", "umsatzsteuer", "steuer", "steuerbetrag", "mwst betrag", "ust betrag",
        "vorsteuer",
        // French
        "tva", "montant tva", "taxe",
        // Spanish
        "iva", "importe iva", "cuota iva", "impuesto", "impuestos",
        // Italian
        "importo iva", "imposta",
        // Portuguese
        "imposto", "impostos", "valor do iva", "icms", "iss",
        // Dutch
        "btw", "btw bedrag", "bedrag btw", "belasting",
        // Hindi
        "kar", "kar rashi",
    ]),
    (Role::Net, &[
        // English
        "net", "net amount", "net total", "net sales", "subtotal", "sub total", "order value", "order net",
        "taxable value",
        "taxable amount", "amount excl tax", "amount excl vat", "total before tax", "total before sales tax",
        "order subtotal amount",
        // German
        "netto", "nettobetrag", "betrag netto", "nettosumme", "zwischensumme", "nettoumsatz",
        // French
        "montant ht", "total ht", "montant hors taxes", "sous total", "net à payer",
        // Spanish
        "base imponible", "importe neto", "neto", "total sin iva",
        // Italian
        "imponibile", "importo netto", "totale imponibile", "subtotale",
        // Portuguese
        "valor líquido", "líquido", "base tributável", "valor sem iva",
        // Dutch
        "bedrag excl btw", "bedrag exclusief btw", "nettobedrag", "subtotaal", "totaal excl btw",
        // Hindi
        "shuddh rashi", "kar yogya rashi",
    ]),
    (Role::Gross, &[
        // English
        "gross", "gross amount", "gross total", "gross sales", "amount incl tax", "amount incl vat", "total incl vat",
        // German
        "brutto", "bruttobetrag", "betrag brutto", "bruttosumme", "bruttoumsatz",
        // French
        "brut", "montant ttc", "total ttc", "montant brut", "avant commission",
        // Spanish
        "bruto", "importe bruto", "total con iva",
        // Italian
        "lordo", "importo lordo", "totale ivato",
        // Portuguese
        "valor bruto", "valor com iva",
        // Dutch
        "brutobedrag", "bedrag incl btw", "bedrag inclusief btw", "totaal incl btw",
        // Hindi
        "sakal rashi",
    ]),
    (Role::Time, &[
        // English
        "time", "time of day", "transaction time", "order time",
        // German
        "uhrzeit", "zeit", "abschlusszeit",
        // French
        "heure",
        // Spanish
        "hora",
        // Italian
        "ora", "orario",
        // Portuguese
        "horário",
        // Dutch
        "tijd", "tijdstip",
        // Hindi
        "samay",
    ]),
    (Role::TimeZone, &[
        // English
        "time zone", "timezone", "tz", "utc offset", "gmtoff",
        // German
        "zeitzone",
        // French
        "fuseau horaire",
        // Spanish
        "zona horaria", "huso horario",
        // Italian
        "fuso orario",
        // Portuguese
        "fuso horário",
        // Dutch
        "tijdzone",
        // Hindi
        "samay kshetra",
    ]),
];

/// Words in cells, in lower case.
#[rustfmt::skip]
pub static WORDS: &[(Word, &[&str])] = &[
    (Word::TotalLine, &[
        // English
        "total", "totals", "grand total", "subtotal", "sub total", "sum", "total amount", "overall total", "net total",
        "closing balance", "opening balance", "balance brought forward", "balance carried forward",
        // German
        "summe", "gesamt", "gesamtsumme", "zwischensumme", "endsumme", "insgesamt", "gesamtbetrag", "anfangssaldo",
        "endsaldo",
        "saldovortrag", "übertrag",
        // French
        "total général", "totaux", "sous-total", "somme", "solde initial", "solde final",
        // Spanish
        "total general", "totales", "suma", "saldo inicial", "saldo final",
        // Italian
        "totale", "totale generale", "totali", "subtotale", "somma", "saldo iniziale", "saldo finale",
        // Portuguese
        "total geral", "totais", "soma",
        // Dutch
        "totaal", "eindtotaal", "subtotaal", "som", "beginsaldo", "eindsaldo",
        // Hindi
        "kul", "kul yog", "yog", "kul jod", "jod", "kul rashi",
        // SAP
        "*", "**", "***",
    ]),
    (Word::Balance, &[
        // English
        "balance", "brought forward", "carried forward", "sum of", "sum for",
        // German
        "saldo", "kontostand", "vortrag", "summen", "gesamter",
        // French
        "solde", "report",
        // Spanish, Italian, Portuguese, Dutch
        "saldos", "saldi", "riporto", "transporte",
        // Hindi
        "shesh", "bakaya",
    ]),
    (Word::Pending, &[
        // English
        "pending", "pending payment", "payment pending", "open", "on hold", "on-hold", "awaiting payment",
        "awaiting approval",
        "unpaid", "draft", "submitted", "authorized", "processing payment", "in progress", "scheduled", "not posted",
        "unposted", "held",
        // German
        "ausstehend", "offen", "vorgemerkt", "umsatz vorgemerkt", "in bearbeitung", "entwurf", "unbezahlt", "wartend",
        "geplant",
        // French
        "en attente", "en cours", "brouillon", "impayé", "impayée", "non comptabilisé",
        // Spanish
        "pendiente", "pendiente de pago", "en curso", "borrador", "en espera", "retenido",
        // Italian
        "in attesa", "in sospeso", "bozza", "non contabilizzato", "da pagare", "non pagata",
        // Portuguese
        "pendente", "em aberto", "aguardando pagamento", "rascunho", "em processamento",
        // Dutch
        "in behandeling", "openstaand", "concept", "gereserveerd", "onbetaald",
        // Hindi
        "lambit", "baki", "pratiksha mein",
    ]),
    // Refunded is in neither list: the refund may be a row of its own, or this one. Such a row is asked about.
    (Word::Voided, &[
        // English
        "void", "voided", "cancelled", "canceled", "declined", "failed", "reversed", "expired", "rejected", "denied",
        "deleted",
        "abandoned", "blocked", "trash",
        // German
        "storniert", "storno", "abgelehnt", "fehlgeschlagen", "abgebrochen", "gelöscht", "ungültig", "verfallen",
        "zurückgezogen",
        // French
        "annulé", "annulée", "refusé", "refusée", "échoué", "échec", "rejeté", "rejetée", "supprimé",
        // Spanish
        "anulado", "anulada", "cancelado", "cancelada", "rechazado", "rechazada", "fallido", "fallida",
        // Italian
        "annullato", "annullata", "stornato", "stornata", "rifiutato", "rifiutata", "fallito", "fallita",
        // Portuguese
        "estornado", "estornada", "recusado", "recusada", "falhou",
        // Dutch
        "geannuleerd", "vervallen", "geweigerd", "mislukt", "afgewezen", "gestorneerd",
        // Hindi
        "radd", "asafal", "asweekrit",
    ]),
    (Word::Completed, &[
        // English
        "completed", "complete", "paid", "settled", "succeeded", "successful", "success", "posted", "cleared",
        "captured",
        "processed", "shipped", "delivered", "fulfilled", "approved", "closed", "done", "booked", "final",
        "ok",
        // German
        "abgeschlossen", "bezahlt", "gebucht", "umsatz gebucht", "erledigt", "ausgeführt", "erfolgreich", "beglichen",
        "versendet",
        // French
        "terminé", "terminée", "payé", "payée", "comptabilisé", "effectué", "réglé", "réglée", "réussi",
        // Spanish
        "completado", "completada", "pagado", "pagada", "cobrado", "cobrada", "contabilizado", "realizado", "liquidado",
        // Italian
        "completato", "completata", "pagato", "pagata", "contabilizzato", "eseguito", "saldato", "saldata", "incassata",
        // Portuguese
        "concluído", "concluída", "pago", "paga", "liquidada", "efetuado", "aprovado", "entregue",
        // Dutch
        "voltooid", "betaald", "geboekt", "verwerkt", "afgerond", "voldaan",
        // Hindi
        "poorn", "bhugtan ho gaya", "safal", "chukaya",
    ]),
    (Word::TakenBack, &[
        // English
        "refund", "refunds", "refunded", "partial refund", "return", "returns", "returned", "credit note", "credit memo", "credit",
        "reversal", "chargeback", "dispute", "payout", "withdrawal", "transfer", "repayment", "reimbursement",
        // German
        "erstattung", "rückerstattung", "rückzahlung", "gutschrift", "retoure", "rückgabe", "stornierung", "rücklastschrift", "auszahlung",
        "umbuchung",
        // French
        "remboursement", "remboursé", "avoir", "retour", "virement",
        // Spanish
        "reembolso", "devolución", "nota de crédito", "abono", "transferencia",
        // Italian
        "rimborso", "reso", "nota di credito", "storno", "bonifico",
        // Portuguese
        "devolução", "nota de credito", "estorno", "transferência",
        // Dutch
        "terugbetaling", "creditnota", "creditfactuur", "overboeking",
        // Hindi
        "wapsi", "vapasi",
    ]),
    (Word::Income, &[
        // English
        "income", "revenue", "earning", "earnings", "inflow", "received", "receipt", "sale", "money in",
        // German
        "einnahme", "einnahmen", "ertrag", "erlös", "einkommen",
        // French
        "recette", "recettes", "revenu", "revenus", "encaissement",
        // Spanish
        "ingreso", "ingresos", "cobro",
        // Italian
        "entrate", "ricavo", "ricavi", "incasso",
        // Portuguese
        "receita", "receitas", "rendimento", "recebimento",
        // Dutch
        "inkomsten", "inkomen", "opbrengst", "ontvangst",
        // Hindi
        "aay", "aamdani", "aamad",
    ]),
    (Word::Expense, &[
        // English
        "expense", "expenses", "expenditure", "spending", "outflow", "cost", "payment", "purchase", "money out",
        // German
        "ausgabe", "ausgaben", "aufwand", "kosten",
        // French
        "dépense", "dépenses", "charge", "charges", "décaissement",
        // Spanish
        "gasto", "gastos", "egreso", "egresos", "pago",
        // Italian
        "spesa", "spese", "uscite", "costo", "costi",
        // Portuguese
        "despesa", "despesas", "custo", "custos", "pagamento",
        // Dutch
        "uitgave", "uitgaven",
        // Hindi
        "kharch", "kharcha", "vyay",
    ]),
    (Word::Nothing, &[
        // English
        "-", "--", "---", "–", "—", "n/a", "#n/a", "na", "n.a.", "n/d", "null", "nil", "none", "nan", "(blank)",
        "(none)", "not set",
        "not available", "unknown", "?", ".",
        // German
        "k.a.", "k. a.", "keine", "keine angabe", "ohne", "entfällt", "unbekannt",
        // French
        "néant", "aucun", "aucune", "s.o.", "s/o", "non renseigné",
        // Spanish
        "ninguno", "ninguna", "nulo", "no aplica", "sin datos", "s/d",
        // Italian
        "nessuno", "nessuna", "n.d.", "nullo",
        // Portuguese
        "nenhum", "nenhuma", "não informado", "vazio",
        // Dutch
        "geen", "n.v.t.", "nvt", "onbekend", "leeg",
        // Hindi
        "koi nahi", "shunya", "nahi hai",
    ]),
];
