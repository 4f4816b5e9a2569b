//! The SQL of the page `docs/supabase.md`, unchanged and in order, in a database with Supabase's layout.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::{Person, World, connect, set_api_password};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::migrations::{SUPABASE_JWT, supabase};

/// The page's SQL blocks.
fn blocks() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/supabase.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sql\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// The block that contains these words.
fn block(words: &str) -> String {
    let mut found = blocks().into_iter().filter(|block| block.contains(words));
    found.next().unwrap_or_else(|| panic!("no block with {words}"))
}

/// The claims of a sign-in after the hook.
async fn hooked(auth: &Client, user: &str, claims: Value) -> Value {
    let event = json!({"user_id": user, "claims": claims, "authentication_method": "password"});
    let sql = "select public.annals_token_hook($1::text::jsonb)::text";
    let text: String = auth.query_one(sql, &[&event.to_string()]).await.unwrap().get(0);
    serde_json::from_str::<Value>(&text).unwrap()["claims"].clone()
}

#[tokio::test]
async fn the_sql_of_the_page_does_what_the_page_says() {
    let cluster = supabase(SUPABASE_JWT).await;
    annals_store::migrate(&cluster.url()).await.unwrap();
    let owner = connect(&cluster.url()).await;
    owner
        .batch_execute("create publication supabase_realtime")
        .await
        .unwrap();
    for block in blocks() {
        let done = owner.batch_execute(&block).await;
        done.unwrap_or_else(|error| panic!("{error:?}\n{block}"));
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_hook_gives_a_role_to_members_only() {
    let cluster = supabase(SUPABASE_JWT).await;
    annals_store::migrate(&cluster.url()).await.unwrap();
    let owner = connect(&cluster.url()).await;
    for words in ["annals_token_hook", "insert into public.members"] {
        owner.batch_execute(&block(words)).await.unwrap();
    }
    let auth = connect(&cluster.superuser_url()).await;
    auth.batch_execute("set role supabase_auth_admin").await.unwrap();
    let member = "7d0c54a6-6f4c-4f5e-9f0e-0c8f1b1a2c3d";
    let forged = json!({"role": "authenticated", "app_metadata": {"provider": "email", "role": "service", "name": "x", "tenant_id": "t"}});
    let claims = hooked(&auth, member, forged.clone()).await;
    let expected = json!({"provider": "email", "role": "staff", "tenant_id": "00000000-0000-0000-0000-000000000000"});
    assert_eq!(claims["app_metadata"], expected);
    let claims = hooked(&auth, "00000000-0000-4000-8000-000000000009", forged).await;
    assert_eq!(claims["app_metadata"], json!({"provider": "email"}));
    assert_eq!(
        hooked(&auth, member, json!({"role": "authenticated"})).await["app_metadata"],
        expected_without(&expected)
    );

    for role in ["anon", "authenticated"] {
        let session = connect(&cluster.superuser_url()).await;
        session.batch_execute(&format!("set role {role}")).await.unwrap();
        for sql in ["select public.annals_token_hook('{}')", "select from public.members"] {
            let refused = session.batch_execute(sql).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42501", "{role}: {sql}");
        }
    }
    cluster.stop().await.unwrap();
}

fn expected_without(expected: &Value) -> Value {
    let mut expected = expected.clone();
    expected.as_object_mut().unwrap().remove("provider");
    expected
}

#[tokio::test]
async fn events_are_posted_and_read_as_by_postgrest_and_posting_can_be_revoked() {
    let cluster = supabase(SUPABASE_JWT).await;
    annals_store::migrate(&cluster.url()).await.unwrap();
    set_api_password(&cluster).await;
    let world = World::at("annals".to_owned(), &cluster.url());
    let data = json!({"name": "Ada", "email": "ada@example.com"});
    world.append(&Person::staff(), "customer.created", "CUST-1", data).await;
    world.project().await;
    let owner = connect(&cluster.url()).await;
    let read = owner
        .simple_query(&block("get_aggregate_events('customer', 'CUST-1')"))
        .await
        .unwrap();
    let rows: Vec<_> = read
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect();
    assert!(rows.contains(&"CUST-1".to_owned()), "{rows:?}");
    assert_eq!(rows.len(), 3, "the claims, the customer and its event: {rows:?}");

    owner
        .batch_execute(&block("revoke execute on function public.post_event"))
        .await
        .unwrap();
    owner.batch_execute("set role authenticated").await.unwrap();
    let refused = owner.query("select public.post_event('{}')", &[]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501", "{refused:?}");
    cluster.stop().await.unwrap();
}
