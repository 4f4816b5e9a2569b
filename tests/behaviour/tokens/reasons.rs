//! Each fault of a token has its own code, so that the sender knows what to correct; and the size of tokens is limited.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tests::{Person, SECRET, World, sign};

use super::{accepted, claims_with, post_with};

async fn code_of(world: &World, token: &str) -> String {
    let before = world.log().await;
    let answer = post_with(world, Some(&format!("Bearer {token}"))).await;
    assert_eq!(world.log().await, before, "{}", answer.text);
    answer.problem(401).to_owned()
}

fn ours(changes: Value) -> String {
    sign(&claims_with(changes), SECRET)
}

#[tokio::test]
async fn each_fault_of_a_token_has_a_code_of_its_own() {
    let world = World::new().await;
    let now = chrono::Utc::now().timestamp();
    let foreign = sign(
        &Person::staff().claims(),
        "another secret that is long enough for HS256 too",
    );
    for (token, code) in [
        (ours(json!({"exp": now - 3600})), "token_expired"),
        (ours(json!({"nbf": now + 3600})), "token_not_yet_valid"),
        (ours(json!({"aud": "anon"})), "token_audience"),
        (ours(json!({"iss": "elsewhere"})), "token_issuer"),
        (ours(json!({"exp": null})), "token_incomplete"),
        (ours(json!({"role": "anon"})), "token_claims"),
        (
            ours(json!({"app_metadata": {"role": "agent", "name": "two words"}})),
            "token_claims",
        ),
        (
            ours(json!({"app_metadata": {"role": "agent", "name": "hid\u{200B}den"}})),
            "token_claims",
        ),
        (foreign, "token_signature"),
        ("nonsense".to_owned(), "token_malformed"),
    ] {
        assert_eq!(code_of(&world, &token).await, code);
    }
}

#[tokio::test]
async fn a_token_is_at_most_eight_kibibytes() {
    let world = World::new().await;
    accepted(&world, &ours(json!({"note": "x".repeat(5_000)}))).await;
    for length in [8_000, 100_000] {
        let token = ours(json!({"note": "x".repeat(length)}));
        assert_eq!(code_of(&world, &token).await, "token_too_large");
    }
}

#[tokio::test]
async fn a_token_with_critical_header_parameters_is_refused() {
    let world = World::new().await;
    let mut header = Header::new(Algorithm::HS256);
    for crit in [vec!["b64".to_owned()], vec!["exp".to_owned()], vec![]] {
        header.crit = Some(crit);
        let token = encode(
            &header,
            &Person::staff().claims(),
            &EncodingKey::from_secret(SECRET.as_bytes()),
        )
        .unwrap();
        assert_eq!(code_of(&world, &token).await, "token_critical_header");
    }
    // A `crit` that is not a list of names makes the header malformed.
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let token = format!(
        "{}.{}.AAAA",
        part(json!({"alg": "HS256", "crit": "b64"})),
        part(Person::staff().claims())
    );
    assert_eq!(code_of(&world, &token).await, "token_malformed");
}

#[tokio::test]
async fn impossible_times_are_refused() {
    let world = World::new().await;
    let year_10000 = 253_402_300_800_i64;
    for claim in ["exp", "nbf", "iat"] {
        for time in [json!(-1), json!(-1e30), json!(1e30), json!("soon"), json!([1])] {
            let code = code_of(&world, &ours(json!({claim: time}))).await;
            assert!(code.starts_with("token_"), "{claim} {time}: {code}");
        }
    }
    for claim in ["exp", "iat"] {
        for time in [json!(year_10000), json!(1_000_000_000_000_000_000_i64), json!(u64::MAX)] {
            assert_eq!(
                code_of(&world, &ours(json!({claim: time}))).await,
                "token_times",
                "{claim} {time}"
            );
        }
    }
    accepted(&world, &ours(json!({"exp": year_10000 - 1, "iat": 0}))).await;
}
