//! Keys in a JSON Web Key Set: each key verifies tokens of its own algorithm only, and no key in the set is a secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_config::AuthConfig;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tests::{Person, SECRET, World, sign};
use tokio::net::TcpListener;

use super::{accepted, assert_refused, claims_with, post_with};

/// A private key and its entry in a key set.
struct Pair {
    private: EncodingKey,
    public: Value,
    algorithm: Algorithm,
}

impl Pair {
    fn new(algorithm: Algorithm, kid: &str) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            Algorithm::EdDSA => {
                EncodingKey::from_ed_der(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
                let der = STANDARD.encode(pair.as_der().unwrap().as_ref());
                let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
                EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
            }
        };
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
        public["kid"] = json!(kid);
        Self {
            private,
            public,
            algorithm,
        }
    }

    fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header {
            kid: kid.map(str::to_owned),
            ..Header::new(self.algorithm)
        };
        encode(&header, claims, &self.private).unwrap()
    }
}

async fn world_with_keys(keys: &[&Value], secret: Option<&str>) -> World {
    World::new().await.with_auth(&AuthConfig {
        secret: secret.map(str::to_owned),
        jwks: Some(json!({ "keys": keys }).to_string()),
        jwks_url: None,
        audience: "authenticated".to_owned(),
        issuer: Some("tests".to_owned()),
        requires_role: false,
    })
}

#[tokio::test]
async fn keys_of_a_set_verify_tokens_of_their_own_algorithm() {
    let (ec, ed, rsa) = (
        Pair::new(Algorithm::ES256, "ec"),
        Pair::new(Algorithm::EdDSA, "ed"),
        Pair::new(Algorithm::RS256, "rsa"),
    );
    let world = world_with_keys(&[&ec.public, &ed.public, &rsa.public], Some(SECRET)).await;
    let staff = Person::staff();
    for (pair, kid) in [(&ec, "ec"), (&ed, "ed"), (&rsa, "rsa")] {
        let event = accepted(&world, &pair.token(Some(kid), &staff.claims())).await;
        assert_eq!(event["created_by"], staff.actor(), "{kid}");
        assert_refused(
            &world,
            &pair.token(Some("nobody"), &staff.claims()),
            "a key that is not in the set",
        )
        .await;
        assert_refused(&world, &pair.token(None, &staff.claims()), "no key named").await;
        let late = claims_with(json!({"exp": chrono::Utc::now().timestamp() - 3600}));
        assert_refused(&world, &pair.token(Some(kid), &late), "expired").await;
        for other in ["ec", "ed", "rsa"].into_iter().filter(|other| *other != kid) {
            assert_refused(
                &world,
                &pair.token(Some(other), &staff.claims()),
                "signed by another key",
            )
            .await;
        }
        let imitation = Pair::new(pair.algorithm, kid);
        assert_refused(
            &world,
            &imitation.token(Some(kid), &staff.claims()),
            "another key of that name",
        )
        .await;
    }
    // Supabase's tokens with the shared secret may name a key, too.
    accepted(&world, &staff.token()).await;
}

#[tokio::test]
async fn a_public_key_is_never_used_as_a_shared_secret() {
    let rsa = Pair::new(Algorithm::RS256, "rsa");
    let claims = Person::staff().claims();
    let modulus = rsa.public["n"].as_str().unwrap();
    let mut secrets = vec![rsa.public.to_string().into_bytes(), modulus.as_bytes().to_vec()];
    secrets.push(URL_SAFE_NO_PAD.decode(modulus).unwrap());
    for secret in [None, Some(SECRET)] {
        let world = world_with_keys(&[&rsa.public], secret).await;
        accepted(&world, &rsa.token(Some("rsa"), &claims)).await;
        for public in &secrets {
            for kid in [Some("rsa"), None] {
                let header = Header {
                    kid: kid.map(str::to_owned),
                    ..Header::new(Algorithm::HS256)
                };
                let token = encode(&header, &claims, &EncodingKey::from_secret(public)).unwrap();
                assert_refused(&world, &token, "HS256 under the public key").await;
            }
        }
        for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            let header = Header {
                kid: Some("rsa".to_owned()),
                ..Header::new(algorithm)
            };
            let token = encode(&header, &claims, &rsa.private).unwrap();
            assert_refused(&world, &token, "the right key under another algorithm").await;
        }
    }
}

#[tokio::test]
async fn a_secret_in_a_key_set_and_one_that_is_not_configured_are_not_used() {
    let value = URL_SAFE_NO_PAD.encode(SECRET);
    let symmetric = json!({"kty": "oct", "alg": "HS256", "kid": "shared", "k": value});
    let ec = Pair::new(Algorithm::ES256, "ec");
    let world = world_with_keys(&[&symmetric, &ec.public], None).await;
    let claims = Person::staff().claims();
    let header = Header {
        kid: Some("shared".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let token = encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert_refused(&world, &token, "a secret that the set published").await;
    assert_refused(&world, &sign(&claims, SECRET), "a secret that is not configured").await;
    assert_refused(&world, &sign(&claims, ""), "an empty secret").await;
    accepted(&world, &ec.token(Some("ec"), &claims)).await;
}

/// The address of a key set that is served only once the switch is on.
async fn serve_keys(keys: Value) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let is_up = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_up);
    let answer = async move || match switch.load(Ordering::SeqCst) {
        true => Ok(keys.to_string()),
        false => Err(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let router = Router::new().route("/keys", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, is_up)
}

#[tokio::test]
async fn while_no_keys_could_be_fetched_the_answer_is_503_and_names_the_key() {
    let ec = Pair::new(Algorithm::ES256, "ec");
    let (url, is_up) = serve_keys(json!({"keys": [ec.public]})).await;
    let world = World::new().await.with_auth(&AuthConfig {
        jwks_url: Some(url),
        audience: "authenticated".to_owned(),
        ..AuthConfig::default()
    });
    let claims = Person::staff().claims();
    let bearer = format!("Bearer {}", ec.token(Some("ec"), &claims));
    for _ in 0..3 {
        let answer = post_with(&world, Some(&bearer)).await;
        assert_eq!(answer.problem(503), "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        let detail = "the key that checks tokens is not available; try again";
        assert_eq!(answer.body["detail"], detail);
    }
    is_up.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    accepted(&world, &ec.token(Some("ec"), &claims)).await;
    // Once keys are known, they stay valid while the key server is unavailable, and a token with an unknown key is refused.
    is_up.store(false, Ordering::SeqCst);
    accepted(&world, &ec.token(Some("ec"), &claims)).await;
    assert_refused(&world, &ec.token(Some("nobody"), &claims), "an unknown key").await;
}

/// Tokens under the shared secret do not need the key set, even if they carry a key id, as Supabase's do.
#[tokio::test]
async fn while_no_keys_could_be_fetched_tokens_of_the_shared_secret_are_accepted() {
    let (url, _is_up) = serve_keys(json!({"keys": []})).await;
    let world = World::new().await.with_auth(&AuthConfig {
        jwks_url: Some(url),
        secret: Some(SECRET.to_owned()),
        audience: "authenticated".to_owned(),
        ..AuthConfig::default()
    });
    let header = Header {
        kid: Some("legacy".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let claims = Person::staff().claims();
    let token = encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    accepted(&world, &token).await;
}
