//! Checks of data against schemas in SQL and over HTTP: both refuse the same corpus of invalid events. If SQL cannot check, it refuses the
//! event.
//!
//! pg_jsonschema is in no package registry, so every test's database has a stand-in in PL/pgSQL. If the server has PL/Python, the corpus is
//! also checked by Python's jsonschema.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Person, World, check_schemas_in_python, remove_schema_check};
use tokio_postgres::Client;

/// Data for one type, and how they were made invalid.
struct Case {
    event: Value,
    what: String,
}

/// Every built-in type's example, once unchanged and once for each way to violate its schema.
async fn corpus(owner: &Client) -> Vec<Case> {
    let sql = "select t.event_type, v.schema::text, v.example::text
                 from annals.event_types t
                 join annals.event_type_versions v on v.event_type = t.event_type and v.version = t.current_version
                order by t.event_type collate \"C\"";
    let mut cases = Vec::new();
    for row in owner.query(sql, &[]).await.unwrap() {
        let event_type: String = row.get(0);
        let schema: Value = serde_json::from_str(row.get(1)).unwrap();
        let example: Value = serde_json::from_str(row.get(2)).unwrap();
        let aggregate_type = event_type.split('.').next().unwrap().to_owned();
        for (what, data) in spoilt(&schema, &example) {
            let event =
                json!({"event_type": event_type, "aggregate_type": aggregate_type, "aggregate_id": "X", "data": data});
            let what = format!("{event_type}: {what}");
            cases.push(Case { event, what });
        }
    }
    cases
}

fn spoilt(schema: &Value, example: &Value) -> Vec<(String, Value)> {
    let mut cases = vec![("as it is".to_owned(), example.clone())];
    for name in schema["required"].as_array().into_iter().flatten() {
        let mut data = example.clone();
        data.as_object_mut().unwrap().remove(name.as_str().unwrap());
        cases.push((format!("without {name}"), data));
    }
    if schema["additionalProperties"] == json!(false) {
        cases.push(("a field too many".to_owned(), with(example, "surprise", json!(1))));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        for (what, value) in unfit(property) {
            cases.push((format!("{name} {what}"), with(example, name, value)));
        }
    }
    cases
}

fn with(example: &Value, name: &str, value: Value) -> Value {
    let mut data = example.clone();
    data[name] = value;
    data
}

/// Values that the schema of one property refuses.
fn unfit(property: &Value) -> Vec<(&'static str, Value)> {
    let mut values = vec![("of another type", json!([[[]]]))];
    let mut add = |keyword: &str, what, value: &dyn Fn(&Value) -> Option<Value>| {
        if let Some(value) = property.get(keyword).and_then(value) {
            values.push((what, value));
        }
    };
    add("minLength", "empty", &|_| Some(json!("")));
    add("maxLength", "too long", &|most| {
        Some(json!("x".repeat(usize::try_from(most.as_u64()?).ok()? + 1)))
    });
    add("pattern", "of another pattern", &|_| Some(json!("\u{1} ?")));
    add("enum", "of no kind", &|_| Some(json!("nonsense")));
    add("minimum", "too small", &|least| {
        Some(json!(least.as_i64()?.checked_sub(1)?))
    });
    add("exclusiveMinimum", "at the edge", &|least| Some(least.clone()));
    add("maximum", "too large", &|most| {
        Some(json!(most.as_i64()?.checked_add(1)?))
    });
    add("format", "of another format", &|_| Some(json!("2026-02-30")));
    add("format", "of no format", &|_| Some(json!("nonsense")));
    if property["type"] == "integer" {
        values.push(("no whole number", json!(1.5)));
    }
    values
}

/// Events of one batch, few enough to stay below the 100 faults that a refusal names.
const TOGETHER: usize = 60;

/// Members of the corpus that HTTP refuses for their schema. A batch names every member at fault and appends nothing.
async fn refused_by_http(world: &World, person: &Person, cases: &[Case]) -> BTreeSet<usize> {
    let mut refused = BTreeSet::new();
    for (chunk, cases) in cases.chunks(TOGETHER).enumerate() {
        let mut events: Vec<Value> = cases.iter().map(|case| case.event.clone()).collect();
        let spoilt =
            json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "X", "data": {}});
        events.push(spoilt);
        let answer = world.post(person, "/events", json!({"events": events})).await;
        assert!((400..500).contains(&answer.status), "{}", answer.text);
        for error in answer.body["errors"].as_array().unwrap() {
            let member: usize = error["pointer"]
                .as_str()
                .unwrap()
                .split('/')
                .nth(2)
                .unwrap()
                .parse()
                .unwrap();
            if error["code"] == "schema_violation" && member < cases.len() {
                refused.insert(chunk * TOGETHER + member);
            }
        }
    }
    refused
}

/// Posts an event and rolls it back; returns the code of its refusal, or `posted`.
const TRY: &str = "set statement_timeout = 0;
create function pg_temp.try(event jsonb) returns text language plpgsql as $$
declare
    code text;
begin
    perform public.post_event(event);
    raise exception 'undone' using constraint = 'posted';
exception when others then
    get stacked diagnostics code = constraint_name;
    return code;
end
$$";

/// The same by SQL, one event at a time.
async fn refused_by_sql(session: &Client, cases: &[Case]) -> BTreeSet<usize> {
    session.batch_execute(TRY).await.unwrap();
    let events: Vec<String> = cases.iter().map(|case| case.event.to_string()).collect();
    let sql = "select pg_temp.try(u.event::jsonb) from unnest($1::text[]) with ordinality as u (event, place) order by u.place";
    let mut refused = BTreeSet::new();
    for (chunk, events) in events.chunks(200).enumerate() {
        for (member, row) in session.query(sql, &[&events]).await.unwrap().iter().enumerate() {
            if row.get::<_, &str>(0) == "schema_violation" {
                refused.insert(chunk * 200 + member);
            }
        }
    }
    refused
}

#[tokio::test]
async fn sql_and_http_refuse_the_same_data() {
    let (world, service) = (World::new().await, Person::service("loader"));
    let cases = corpus(&world.owner().await).await;
    let by_http = refused_by_http(&world, &service, &cases).await;
    assert!(
        by_http.len() > 500 && cases.len() - by_http.len() > 90,
        "{} of {}",
        by_http.len(),
        cases.len()
    );
    let mut verdicts = vec![(
        "PL/pgSQL",
        refused_by_sql(&world.session_of(&service).await, &cases).await,
    )];
    if check_schemas_in_python(&world.superuser().await).await {
        verdicts.push((
            "Python",
            refused_by_sql(&world.session_of(&service).await, &cases).await,
        ));
    }
    for (by, refused) in verdicts {
        let differing = by_http.symmetric_difference(&refused);
        let differing: Vec<&str> = differing.map(|member| cases[*member].what.as_str()).collect();
        assert!(differing.is_empty(), "{by} and HTTP differ on {differing:#?}");
    }
    assert_eq!(world.log().await.events, 0);
}

/// What a plain user could once post by SQL if `public` was exposed.
#[tokio::test]
async fn a_user_cannot_post_an_order_that_claims_to_be_paid() {
    let (world, user) = (World::new().await, Person::user());
    let forged = json!({"event_type": "order.created", "aggregate_type": "order", "aggregate_id": "O-1",
                        "data": {"customer_id": "C-1", "payment_status": "paid", "items": [{"sku": "S", "quantity": -3}]}});
    assert_eq!(
        world.post(&user, "/events", forged.clone()).await.problem(422),
        "schema_violation"
    );
    assert_eq!(
        super::refused(&world, &user, &forged).await,
        super::pair("PT422", "schema_violation")
    );
    let fine = json!({"event_type": "order.created", "aggregate_type": "order", "aggregate_id": "O-1", "data": {"customer_id": "C-1"}});
    super::post(&world.session_of(&user).await, &fine.to_string())
        .await
        .unwrap();
}

/// If SQL cannot check schemas, it accepts events only from services, which check for themselves, and says what is missing.
#[tokio::test]
async fn without_pg_jsonschema_only_services_post_by_sql() {
    let world = World::new().await;
    remove_schema_check(&world.superuser().await).await;
    for person in [Person::user(), Person::staff(), Person::agent("pricing")] {
        let session = world.session_of(&person).await;
        let error = super::post(&session, &super::event().to_string()).await.unwrap_err();
        let found = (error.code().code(), error.constraint());
        assert_eq!(found, ("PT403", Some("pg_jsonschema_missing")));
        assert!(
            error.message().contains("create extension pg_jsonschema"),
            "{}",
            error.message()
        );
    }
    assert_eq!(world.log().await.events, 0);
    let session = world.session_of(&Person::service("crm")).await;
    super::post(&session, &super::event().to_string()).await.unwrap();
    // Over HTTP nothing changes.
    world
        .post(
            &Person::user(),
            "/events",
            super::event_with(json!({"aggregate_id": "C-2"})),
        )
        .await
        .expect(201);
}

/// Authors choose the names of properties. One that is named like a keyword whose value is data still has a schema as its value.
#[tokio::test]
async fn a_property_named_like_a_keyword_keeps_its_format() {
    let (world, staff) = (World::new().await, Person::staff());
    let names = ["default", "const", "enum", "examples", "properties", "format", "allOf"];
    let day = json!({"type": "string", "format": "date"});
    let properties: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), day.clone())).collect();
    let schema = json!({"type": "object", "properties": {"days": {"type": "object", "properties": properties.clone()}, "default": day,
                        "note": {"default": {"format": "date"}, "examples": [{"format": "date"}]}}});
    let kind = json!({"event_type": "widget.planned", "schema": schema, "example": {}});
    world.post(&staff, "/events/types", kind).await.expect(201);
    let event = |data: Value| json!({"event_type": "widget.planned", "aggregate_type": "widget", "aggregate_id": "W-1", "data": data});
    let both = async |data: Value| {
        let answer = world.post(&staff, "/events", event(data.clone())).await;
        assert_eq!(answer.problem(422), "schema_violation", "{data}");
        let by_sql = super::refused(&world, &staff, &event(data.clone())).await;
        assert_eq!(by_sql, super::pair("PT422", "schema_violation"), "{data}");
    };
    for name in names {
        both(json!({"days": {name: "2026-02-30"}})).await;
    }
    both(json!({"default": "nonsense"})).await;
    let fine =
        event(json!({"days": {"default": "2026-02-28", "enum": "2026-03-01"}, "default": "2024-02-29", "note": "any"}));
    world.post(&staff, "/events", fine.clone()).await.expect(201);
    super::post(&world.session_of(&staff).await, &fine.to_string())
        .await
        .unwrap();
    // Data under these keywords are not changed.
    let sql = "select annals.with_format_patterns(s)::text = s::text from (select $1::text::jsonb as s) as q";
    let data =
        json!({"default": {"format": "date"}, "enum": [{"format": "date"}], "const": {"format": "date"}}).to_string();
    let row = world.owner().await.query_one(sql, &[&data]).await.unwrap();
    assert!(row.get::<_, bool>(0));
}

/// A format that cannot be expressed as a pattern would not be checked. Then, too, only a service may post by SQL.
#[tokio::test]
async fn a_type_with_a_format_that_sql_cannot_check_is_for_services_alone() {
    let (world, staff) = (World::new().await, Person::staff());
    let schema = json!({"type": "object", "properties": {"site": {"type": "string", "format": "uri"}}});
    let site = json!({"event_type": "widget.made", "schema": schema, "example": {}});
    world.post(&staff, "/events/types", site).await.expect(201);
    let event = json!({"event_type": "widget.made", "aggregate_type": "widget", "aggregate_id": "W-1", "data": {"site": "no uri"}});
    assert_eq!(
        world.post(&staff, "/events", event.clone()).await.problem(422),
        "schema_violation"
    );
    assert_eq!(
        super::refused(&world, &staff, &event).await,
        super::pair("PT403", "format_unchecked")
    );
}
