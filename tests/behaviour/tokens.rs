//! Authentication: a token must be signed by a configured key with that key's algorithm, be within its time, and have our issuer and
//! audience. Otherwise one sentence says what is wrong with the token, and nothing about keys or accepted values.

mod key_sets;
mod reasons;

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tests::{Answer, Person, SECRET, World, redacted, sign};
use uuid::Uuid;

/// Posts an event with this `Authorization` header.
async fn post_with(world: &World, authorization: Option<&str>) -> Answer {
    let event = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": Uuid::new_v4().to_string(),
                       "data": {"name": "Ada", "email": "ada@example.com"}});
    let mut request = Request::post("/api/v1/events").header(header::CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    world.send(request.body(Body::from(event.to_string())).unwrap()).await
}

async fn assert_refused(world: &World, token: &str, why: &str) {
    let before = world.log().await;
    let answer = post_with(world, Some(&format!("Bearer {token}"))).await;
    assert_eq!(answer.status, 401, "{why}: {}", answer.text);
    assert!(answer.problem(401).starts_with("token_"), "{why}: {}", answer.text);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    for secret in [SECRET, "\"tests\""] {
        assert!(!answer.text.contains(secret), "{why}: {}", answer.text);
    }
    assert_eq!(world.log().await, before, "{why}");
}

/// Posts with a token that must be accepted, and returns the event.
async fn accepted(world: &World, token: &str) -> Value {
    post_with(world, Some(&format!("Bearer {token}")))
        .await
        .expect(201)
        .body
}

/// The claims of a staff token with some replaced; null removes a claim.
fn claims_with(changes: Value) -> Value {
    let mut claims = Person::staff().claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[tokio::test]
async fn a_request_without_a_bearer_token_is_refused() {
    let world = World::new().await;
    let before = world.log().await;
    let token = Person::staff().token();
    for authorization in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some(&*format!("Basic {token}")),
        Some(&*token),
    ] {
        assert_eq!(
            post_with(&world, authorization).await.problem(401),
            "unauthorized",
            "{authorization:?}"
        );
    }
    for path in [
        "/events",
        "/events/stats",
        "/events/types",
        "/audit/recent",
        "/entities/customer",
        "/projector/status",
    ] {
        let answer = world
            .send(Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.problem(401), "unauthorized", "{path}");
    }
    assert_eq!(world.log().await, before);
    post_with(&world, Some(&format!("bearer {token}"))).await.expect(201);
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_in_one_sentence() {
    let world = World::new().await;
    let answer = post_with(&world, Some("Bearer nonsense")).await;
    insta::assert_snapshot!(redacted(&answer.body), @r#"
    {
      "code": "token_malformed",
      "detail": "the token is not a signed JSON Web Token",
      "request_id": "[uuid]",
      "status": 401,
      "title": "Unauthorized",
      "type": "/docs/problems/token_malformed"
    }
    "#);
}

#[tokio::test]
async fn invalid_claims_are_refused() {
    let world = World::new().await;
    let now = chrono::Utc::now().timestamp();
    for (changes, why) in [
        (json!({"exp": now - 3600}), "expired"),
        (json!({"exp": null}), "never expires"),
        (json!({"exp": "soon"}), "expiry of text"),
        (json!({"nbf": now + 3600}), "not yet valid"),
        (json!({"aud": "anon"}), "another audience"),
        (json!({"aud": ["anon", "postgres"]}), "other audiences"),
        (json!({"aud": null}), "no audience"),
        (json!({"iss": "elsewhere"}), "another issuer"),
        (json!({"iss": null}), "no issuer"),
        (json!({"sub": null}), "no subject"),
        (json!({"sub": "ada"}), "a subject that is no uuid"),
        (json!({"role": "anon"}), "database role anon"),
        (json!({"role": "service_role"}), "database role service_role"),
        (json!({"role": "annals_projector"}), "database role annals_projector"),
        (json!({"role": null}), "no database role"),
        (json!({"app_metadata": {"role": "admin"}}), "an unknown role"),
        (json!({"app_metadata": {"role": "Staff"}}), "a role in other letters"),
        (json!({"app_metadata": {"role": "agent"}}), "an agent without a name"),
        (
            json!({"app_metadata": {"role": "service", "name": ""}}),
            "a service without a name",
        ),
        (
            json!({"app_metadata": {"role": "agent", "name": "a\nb"}}),
            "a name that cannot be printed",
        ),
        (
            json!({"app_metadata": {"role": "agent", "name": "a".repeat(95)}}),
            "a name that is too long",
        ),
        (
            json!({"app_metadata": {"role": "staff", "tenant_id": "acme"}}),
            "a tenant that is no uuid",
        ),
        (json!({"app_metadata": "staff"}), "metadata that is no object"),
    ] {
        assert_refused(&world, &sign(&claims_with(changes), SECRET), why).await;
    }
    for (changes, why) in [
        (json!({"exp": now - 10}), "clocks differ a little"),
        (json!({"nbf": now - 10}), "valid since a moment"),
        (json!({"aud": ["other", "authenticated"]}), "one of several audiences"),
    ] {
        let answer = post_with(&world, Some(&format!("Bearer {}", sign(&claims_with(changes), SECRET)))).await;
        assert_eq!(answer.status, 201, "{why}: {}", answer.text);
    }
}

/// A token of these parts, each given as JSON, with any signature.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!(
        "{}.{}.{}",
        part(header),
        part(claims),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

#[tokio::test]
async fn tokens_not_signed_by_the_key_are_refused() {
    let world = World::new().await;
    let claims = Person::staff().claims();
    let good = sign(&claims, SECRET);
    let parts: Vec<&str> = good.split('.').collect();
    let staff = json!({"sub": Uuid::new_v4(), "role": "authenticated"});
    for (token, why) in [
        (
            sign(&claims, "another secret that is long enough for HS256 too"),
            "another secret",
        ),
        (sign(&claims, ""), "an empty secret"),
        (forged(&json!({"alg": "none", "typ": "JWT"}), &claims, b""), "alg none"),
        (forged(&json!({"alg": "None"}), &claims, b""), "alg None"),
        (
            forged(&json!({"alg": "none"}), &claims, &[0; 32]),
            "alg none with a signature",
        ),
        (forged(&json!({"alg": "HS256"}), &claims, b""), "no signature"),
        (forged(&json!({"typ": "JWT"}), &claims, b""), "no algorithm"),
        (format!("{}.{}.", parts[0], parts[1]), "signature cut off"),
        (format!("{}.{}", parts[0], parts[1]), "two parts"),
        (format!("{good}.{}", parts[2]), "four parts"),
        (
            format!(
                "{}.{}.{}",
                parts[0],
                URL_SAFE_NO_PAD.encode(staff.to_string()),
                parts[2]
            ),
            "claims exchanged",
        ),
        (good[..good.len() - 2].to_owned(), "signature cut"),
        ("..".to_owned(), "empty parts"),
        ("nonsense".to_owned(), "nonsense"),
    ] {
        assert_refused(&world, &token, why).await;
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = encode(
            &Header::new(algorithm),
            &claims,
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap();
        assert_refused(&world, &token, "the right secret under another algorithm").await;
    }
    accepted(&world, &good).await;
}

#[tokio::test]
async fn a_token_that_was_accepted_a_moment_ago_still_expires() {
    let world = World::new().await;
    // Clocks may differ by 30 s, so this token is accepted for one more second or two.
    let token = sign(
        &claims_with(json!({"exp": chrono::Utc::now().timestamp() - 29})),
        SECRET,
    );
    accepted(&world, &token).await;
    accepted(&world, &token).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_refused(&world, &token, "expired").await;
}

#[tokio::test]
async fn user_metadata_is_never_trusted() {
    let world = World::new().await;
    let tenant = Uuid::new_v4();
    let mut user = Person::user().claims();
    user["app_metadata"] = json!({});
    user["user_metadata"] = json!({"role": "staff", "tenant_id": tenant, "name": "crm"});
    user["tenant_id"] = json!(tenant);
    user["user_role"] = json!("staff");
    let token = sign(&user, SECRET);
    let event = accepted(&world, &token).await;
    assert_eq!(event["tenant_id"], json!(Uuid::nil()));
    let staffs = world
        .append(&Person::staff(), "customer.created", "C-9", json!({"name": "Grace"}))
        .await;
    for (path, status) in [
        ("/projector/status", 403),
        (&*format!("/events/{}", staffs["id"].as_str().unwrap()), 404),
    ] {
        let request = Request::get(format!("/api/v1{path}")).header(header::AUTHORIZATION, format!("Bearer {token}"));
        world.send(request.body(Body::empty()).unwrap()).await.problem(status);
    }
}

/// In SQL, PostgREST passes the claims on as they are in the token.
#[tokio::test]
async fn uuids_in_capitals_name_the_same_caller_over_http_and_in_sql() {
    let world = World::new().await;
    let user = Person::user().in_tenant(Uuid::new_v4());
    let capitals = |id: Uuid| json!(id.to_string().to_uppercase());
    let mut claims = user.claims();
    claims["sub"] = capitals(user.sub);
    claims["app_metadata"]["tenant_id"] = capitals(user.tenant);
    let event = accepted(&world, &sign(&claims, SECRET)).await;
    assert_eq!(event["created_by"], user.actor());
    let session = world.session_of(&user).await;
    let claims = claims.to_string();
    session
        .execute("select set_config('request.jwt.claims', $1, false)", &[&claims])
        .await
        .unwrap();
    let seen = session
        .query_one("select id::text from event_stream", &[])
        .await
        .unwrap();
    assert_eq!(event["id"], json!(seen.get::<_, String>(0)));
}

#[tokio::test]
async fn a_token_without_a_tenant_belongs_to_the_default_one() {
    let world = World::new().await;
    let event = accepted(
        &world,
        &sign(&claims_with(json!({"app_metadata": {"role": "staff"}})), SECRET),
    )
    .await;
    assert_eq!(event["tenant_id"], json!(Uuid::nil()));
    let tenant = Uuid::new_v4();
    let event = accepted(&world, &Person::staff().in_tenant(tenant).token()).await;
    assert_eq!(event["tenant_id"], json!(tenant));
}

/// If everybody can sign up, a token proves nothing about its bearer except that it has signed up.
#[tokio::test]
async fn a_token_without_a_role_is_refused_if_one_is_required() {
    let auth = annals_config::AuthConfig {
        secret: Some(SECRET.to_owned()),
        audience: "authenticated".to_owned(),
        requires_role: true,
        ..annals_config::AuthConfig::default()
    };
    let lenient = World::new().await;
    let strict = World::at(lenient.database.clone(), &lenient.address).with_auth(&auth);
    let anonymous =
        json!({"is_anonymous": true, "app_metadata": {"provider": "anonymous"}, "user_metadata": {"role": "staff"}});
    for changes in [
        json!({"app_metadata": null}),
        anonymous,
        json!({"app_metadata": {"role": null}}),
    ] {
        let token = sign(&claims_with(changes.clone()), SECRET);
        accepted(&lenient, &token).await;
        let before = strict.log().await;
        let answer = post_with(&strict, Some(&format!("Bearer {token}"))).await;
        assert_eq!(answer.problem(403), "role_required", "{changes}");
        assert_eq!(strict.log().await, before);
        let list = Request::get("/api/v1/events").header(header::AUTHORIZATION, format!("Bearer {token}"));
        assert_eq!(
            strict.send(list.body(Body::empty()).unwrap()).await.problem(403),
            "role_required"
        );
    }
    accepted(&strict, &Person::staff().token()).await;
    accepted(
        &strict,
        &sign(&claims_with(json!({"app_metadata": {"role": "user"}})), SECRET),
    )
    .await;
}
