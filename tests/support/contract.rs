//! Holds every request that [`World::send`](crate::World::send) sends, and its answer, against the OpenAPI document.
//!
//! An answer must have a status, a content type, headers and a body that the document describes for the operation. If the request succeeded,
//! its parameters and its body must be described, too: otherwise the server accepts what the document does not allow. Whatever differs is a
//! fault of the document or of the server.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex};

use annals_domain::{Timestamp, json};
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::answer::{Answer, plain};
use crate::seen;

/// Where the API's paths begin. `local` serves others, too.
const PREFIX: &str = "/api/v1/";

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);

/// What was sent, kept until the answer is there.
pub(crate) struct Sent {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// `None` for a body that is a stream: it may break off, or never end.
    body: Option<Bytes>,
}

impl Sent {
    /// The request, and a copy of it.
    pub(crate) async fn copy_of(request: Request<Body>) -> (Self, Request<Body>) {
        let (parts, body) = request.into_parts();
        let (kept, body) = match body.size_hint().exact() {
            None => (None, body),
            Some(_) => {
                let bytes = to_bytes(body, usize::MAX).await.expect("a body in memory");
                (Some(bytes.clone()), Body::from(bytes))
            }
        };
        let sent = Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            body: kept,
        };
        (sent, Request::from_parts(parts, body))
    }

    /// Panics if the request or the answer differs from the document.
    pub(crate) fn check(&self, answer: &Answer) {
        if !self.uri.path().starts_with(PREFIX) {
            return;
        }
        let faults = CONTRACT.faults(self, answer);
        if faults.is_empty() {
            return;
        }
        let mut message = format!("{} {} → {}", self.method, self.uri, answer.status);
        for fault in faults {
            let _written = write!(message, "\n  {fault}");
        }
        panic!("the OpenAPI document says otherwise: {message}\n  {}", answer.text);
    }
}

struct Contract {
    document: &'static Value,
    /// Compiled schemas by their text.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    fn read() -> Self {
        Self {
            document: annals_openapi::document(),
            validators: Mutex::default(),
        }
    }

    fn faults(&self, sent: &Sent, answer: &Answer) -> Vec<String> {
        let Some((path, values)) = self.path_of(sent.uri.path()) else {
            seen::note(sent.method.as_str(), "-", answer);
            return self.faults_without_operation(answer, 404);
        };
        // A router answers HEAD as it answers GET, without the body.
        let is_head = sent.method == Method::HEAD;
        let method = if is_head {
            "get".to_owned()
        } else {
            sent.method.as_str().to_lowercase()
        };
        let operation = &self.document["paths"][&path][&method];
        if operation.is_null() {
            seen::note(sent.method.as_str(), "-", answer);
            return self.faults_without_operation(answer, 405);
        }
        seen::note(&method.to_uppercase(), &path, answer);
        let mut faults = Vec::new();
        let described = self.resolved(&operation["responses"][answer.status.to_string()]);
        if described.is_null() {
            faults.push("this status is not described".to_owned());
        } else {
            self.check_answer(described, answer, is_head, &mut faults);
        }
        if answer.status < 400 {
            let parameters: Vec<&Value> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|parameter| self.resolved(parameter))
                .collect();
            self.check_path(&parameters, &values, &mut faults);
            self.check_query(&parameters, &sent.uri, &mut faults);
            self.check_headers(&parameters, sent, &mut faults);
            self.check_body(&operation["requestBody"], sent, &mut faults);
        }
        faults
    }

    /// The template that matches the path, and the values of its parameters. Literal segments win.
    fn path_of(&self, path: &str) -> Option<(String, BTreeMap<String, String>)> {
        let sent: Vec<&str> = path.split('/').collect();
        let fits = |template: &&String| {
            let segments: Vec<&str> = template.split('/').collect();
            let same =
                |(wanted, found): (&&str, &&str)| wanted.starts_with('{') && !found.is_empty() || wanted == found;
            segments.len() == sent.len() && segments.iter().zip(&sent).all(same)
        };
        let templates = self.document["paths"].as_object().expect("paths").keys();
        let template = templates
            .filter(fits)
            .min_by_key(|template| template.matches('{').count())?;
        let values = template.split('/').zip(&sent).filter_map(|(name, value)| {
            let name = name.strip_prefix('{')?.strip_suffix('}')?;
            let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
            Some((name.to_owned(), value.into_owned()))
        });
        Some((template.clone(), values.collect()))
    }

    /// An answer to a path or method that is not described must be a problem with a code that can have this status.
    fn faults_without_operation(&self, answer: &Answer, expected: u16) -> Vec<String> {
        let code = &answer.body["code"];
        let codes = self.document["components"]["schemas"]["ProblemCode"]["oneOf"].as_array();
        let known = codes.into_iter().flatten().find(|known| known["const"] == *code);
        let fits = known.is_some_and(|known| {
            known["x-status"]
                .as_array()
                .expect("statuses")
                .contains(&json!(answer.status))
        });
        match fits && (answer.status == expected || answer.status == 400) || answer.text.is_empty() {
            true => Vec::new(),
            false => vec!["no path or method like this is described".to_owned()],
        }
    }

    fn check_answer(&self, described: &Value, answer: &Answer, is_head: bool, faults: &mut Vec<String>) {
        for (name, entry) in described["headers"].as_object().into_iter().flatten() {
            let entry = self.resolved(entry);
            match answer.header(name) {
                None if entry["required"] == true => faults.push(format!("the header {name} is missing")),
                None => {}
                Some(value) => {
                    let value = typed(value, self.resolved(&entry["schema"]));
                    self.check_value(&format!("header {name}"), &entry["schema"], &value, faults);
                }
            }
        }
        let Some(content) = described["content"].as_object() else {
            if !answer.text.is_empty() {
                faults.push("the answer has a body, and none is described".to_owned());
            }
            return;
        };
        let essence = essence(answer.headers.get(header::CONTENT_TYPE));
        let Some(media) = content.get(&essence) else {
            return faults.push(format!("the content type {essence} is not described"));
        };
        if is_json(&essence) && !is_head {
            self.check_value("answer", &media["schema"], &answer.body, faults);
        }
    }

    fn check_path(&self, parameters: &[&Value], values: &BTreeMap<String, String>, faults: &mut Vec<String>) {
        for (name, value) in values {
            match find(parameters, "path", name) {
                None => faults.push(format!("{{{name}}} is not described")),
                Some(parameter) => self.check_value(name, &parameter["schema"], &json!(value), faults),
            }
        }
    }

    fn check_query(&self, parameters: &[&Value], uri: &Uri, faults: &mut Vec<String>) {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).expect("a query");
        let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            sent.entry(name).or_default().push(value);
        }
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            if parameter["required"] == true && !sent.contains_key(name) {
                faults.push(format!("?{name} is required and was not sent"));
            }
        }
        self.check_exploded(parameters, &mut sent, faults);
        for (name, values) in sent {
            let Some(parameter) = find(parameters, "query", &name) else {
                faults.push(format!("?{name} is not described"));
                continue;
            };
            let schema = self.resolved(&parameter["schema"]);
            let value = match (schema["type"] == "array", values.as_slice()) {
                (true, values) => json!(values),
                (false, [value]) => typed(value, schema),
                (false, _) => {
                    faults.push(format!("?{name} was sent more than once"));
                    continue;
                }
            };
            self.check_value(&format!("?{name}"), &parameter["schema"], &value, faults);
        }
    }

    /// Parameters that are objects, each of whose members is sent as a parameter of its own (`style: form` with `explode`). They are taken out of
    /// what was sent.
    fn check_exploded(
        &self,
        parameters: &[&Value],
        sent: &mut BTreeMap<String, Vec<String>>,
        faults: &mut Vec<String>,
    ) {
        let query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        for parameter in query.filter(|parameter| self.resolved(&parameter["schema"])["type"] == "object") {
            let prefix = format!("{}.", parameter["name"].as_str().expect("a name"));
            let mut members = serde_json::Map::new();
            sent.retain(|name, values| {
                let is_member = name.starts_with(&prefix);
                if is_member {
                    let value = match values.as_slice() {
                        [value] => json!(value),
                        values => json!(values),
                    };
                    members.insert(name.clone(), value);
                }
                !is_member
            });
            self.check_value(
                &format!("?{prefix}…"),
                &parameter["schema"],
                &Value::Object(members),
                faults,
            );
        }
    }

    fn check_headers(&self, parameters: &[&Value], sent: &Sent, faults: &mut Vec<String>) {
        for name in ["Idempotency-Key", "If-Match", "If-None-Match"] {
            let Some(value) = sent.headers.get(name).and_then(|value| value.to_str().ok()) else {
                continue;
            };
            match find(parameters, "header", name) {
                Some(parameter) => self.check_value(name, &parameter["schema"], &json!(value), faults),
                // A key of a request that only reads changes nothing, nor does a condition that is not read.
                None if name == "Idempotency-Key" && ![Method::GET, Method::HEAD].contains(&sent.method) => {
                    faults.push(format!("the header {name} is not described"));
                }
                None => {}
            }
        }
    }

    fn check_body(&self, described: &Value, sent: &Sent, faults: &mut Vec<String>) {
        let Some(body) = &sent.body else { return };
        if body.is_empty() {
            if described["required"] == true {
                faults.push("a body is required and was not sent".to_owned());
            }
            return;
        }
        let essence = essence(sent.headers.get(header::CONTENT_TYPE));
        let content = &described["content"];
        // A body in another `application/…+json` type is read as JSON.
        let media = match content.get(&essence) {
            None if essence.ends_with("+json") => &content["application/json"],
            found => found.unwrap_or(&Value::Null),
        };
        if media.is_null() {
            return faults.push(format!("a body of type {essence} is not described"));
        }
        if is_json(&essence) {
            match json::parse(&plain(&sent.headers, body.to_vec())) {
                Ok(value) => self.check_value("body", &media["schema"], &value, faults),
                Err(fault) => faults.push(format!("the body is not JSON: {}", fault.message)),
            }
        }
    }

    fn check_value(&self, what: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
        let validator = self.validator(schema);
        let found = validator.iter_errors(value).take(5);
        faults.extend(found.map(|error| format!("{what}{}: {error}", error.instance_path())));
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let key = schema.to_string();
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let compile = || Arc::new(compiled(schema, self.document));
        Arc::clone(validators.entry(key).or_insert_with(compile))
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).expect("what a reference names"),
            None => value,
        }
    }
}

/// A schema of the document, compiled. It may refer to the document's components.
pub fn compiled(schema: &Value, document: &Value) -> Validator {
    let whole = json!({"allOf": [schema], "components": document["components"]});
    let options = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        // The server's own rule. It also accepts what RFC 3339 allows for readability: a space instead of T, and small letters.
        .with_format("date-time", |text: &str| Timestamp::parse(text).is_ok());
    options.build(&whole).expect("a schema")
}

/// The value of a parameter or header in the type that the schema gives it.
fn typed(value: &str, schema: &Value) -> Value {
    let parsed = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer"), _) => value.parse::<serde_json::Number>().ok().map(Value::Number),
        (Some("boolean"), _) => value.parse::<bool>().ok().map(Value::from),
        // A plus sign that is not encoded arrives as a space, and is read as the plus sign that was meant.
        (_, Some("date-time")) => Some(json!(value.replace(' ', "+"))),
        _ => None,
    };
    parsed.unwrap_or_else(|| json!(value))
}

fn find<'a>(parameters: &[&'a Value], place: &str, name: &str) -> Option<&'a Value> {
    let is_it = |parameter: &&&Value| parameter["in"] == place && parameter["name"] == name;
    parameters.iter().find(is_it).copied()
}

/// Not `application/x-ndjson`, which is many JSON texts.
fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

/// The media type without its parameters.
fn essence(content_type: Option<&HeaderValue>) -> String {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
