//! The functions that append, project and rebuild keep their plans. A plan must be right although tables grow after it was made, with
//! statistics that say nothing or are of an empty table. Read rows are counted, because a wrong plan reads all of them.

use tests::World;
use tokio_postgres::Client;

/// Streams of one event that are not projected, and as many that are.
const FILL: &str = r#"
insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
select '00000000-0000-0000-0000-000000000000', 'sale', 'S-' || lpad(s::text, 5, '0'), 1, s % 2, timestamptz '2026-01-01', 'system'
  from generate_series(1, 4000) as s;
insert into annals.events (event_number, created_at, "timestamp", id, tenant_id, aggregate_version, event_type, aggregate_type, aggregate_id,
                           version, created_by, posted_by, started_by, source, data, metadata)
select nextval('annals.event_numbers'), timestamptz '2026-01-01', timestamptz '2026-01-01', gen_random_uuid(),
       '00000000-0000-0000-0000-000000000000', 1, 'sale.created', 'sale', 'S-' || lpad(s::text, 5, '0'), '1.0', 'system', 'system', 'system', 'api',
       '{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08"}', '{}'
  from generate_series(1, 4000) as s"#;

const READ_WORK: &str =
    "select count(*) from annals.read_work(array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[2]),
    array['sale', 'sale'], array['S-00002', 'S-00004'], 100, $1, 2097152, 1048576)";
const READ_HISTORIES: &str =
    "select count(*) from annals.read_histories(array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[2]),
    array['sale', 'sale'], array['S-00002', 'S-00004'], array[0, 0], array[1, 1], $1)";
const LIST_STREAMS: &str = "select count(*) from annals.list_streams_to_fold(null, null, '00000000-0000-0000-0000-000000000000', 'sale', 'S-00100', 2)
    where $1::bigint > 0";
const ADVANCE_HEADS: &str = "select annals.advance_heads(array_fill('00000000-0000-0000-0000-000000000000'::uuid, array[2]),
    array['sale', 'sale'], array['S-00002', 'S-00004'], array[0, 0], array[1, 1], 0), 2::bigint as count where $1::bigint > 0";

const APPEND: &str = r#"select annals.append_event(
    '{"sub": "00000000-0000-4000-8000-000000000001", "app_metadata": {"role": "staff"}}',
    jsonb_build_object('id', gen_random_uuid(), 'event_type', 'sale.created', 'aggregate_type', 'sale', 'aggregate_id', $1::text,
                       'idempotency_key', $1::text),
    '{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08"}', '{}', '{}', null)"#;
const APPEND_TWO: &str = r#"select annals.append_events(
    '{"sub": "00000000-0000-4000-8000-000000000001", "app_metadata": {"role": "staff"}}', array[gen_random_uuid(), gen_random_uuid()],
    '{sale.created,sale.updated}', '{sale,sale}', array[$1::text, $1::text], array[null::text, null],
    array_fill('{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08"}'::jsonb, array[2]), array_fill('{}'::jsonb, array[2]),
    '{}', array[null::text, null], array[null::uuid, null], array[null::text, null], array[null::timestamptz, null], array[null::text, null],
    array[null::uuid, null], array[null::text, null], array[$1::text || ' 1', $1::text || ' 2'], array[null::int, null],
    array[null::text, null], null)"#;

/// Rows that the session has read of the large tables since it last reported its figures: by sequential scans, and by indexes.
const ROWS_READ: &str = "select coalesce(sum(seq_tup_read), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint from pg_stat_xact_user_tables
     where schemaname = 'annals' and relname in ('heads', 'events', 'entities')";

async fn projector(world: &World) -> Client {
    let client = world.api_login().await;
    client.batch_execute("set role annals_projector").await.unwrap();
    client
}

/// What the statement counts. It may read only a few rows.
async fn count_with_few_reads(client: &Client, sql: &str, max_bytes: i64) -> i64 {
    client.batch_execute("begin").await.unwrap();
    let count = client.query_one(sql, &[&max_bytes]).await.unwrap().get("count");
    let read = client.query_one(ROWS_READ, &[]).await.unwrap();
    client.batch_execute("rollback").await.unwrap();
    let (by_scan, by_index): (i64, i64) = (read.get(0), read.get(1));
    assert!(
        by_scan == 0 && by_index <= 100,
        "{by_scan} + {by_index} rows read: {sql}"
    );
    count
}

#[tokio::test]
async fn plans_that_were_made_for_empty_tables_are_right_for_full_ones() {
    for statistics in ["select", "analyze"] {
        let world = World::new().await;
        let superuser = world.superuser().await;
        superuser.batch_execute(statistics).await.unwrap();
        let (kept, large) = (projector(&world).await, 8 << 20);
        for sql in [READ_WORK, READ_HISTORIES, LIST_STREAMS] {
            for max_bytes in [1, large] {
                assert_eq!(count_with_few_reads(&kept, sql, max_bytes).await, 0, "{sql}");
            }
        }
        superuser.batch_execute(FILL).await.unwrap();
        for client in [kept, projector(&world).await] {
            for sql in [READ_WORK, READ_HISTORIES, LIST_STREAMS, ADVANCE_HEADS] {
                assert_eq!(
                    count_with_few_reads(&client, sql, large).await,
                    2,
                    "{statistics}: {sql}"
                );
            }
            // The limit of bytes cuts after the first event.
            for sql in [READ_WORK, READ_HISTORIES] {
                assert_eq!(count_with_few_reads(&client, sql, 1).await, 1, "{statistics}: {sql}");
            }
        }
    }
}

/// An append reads one row of the catalog, whatever the planner knows of it. With statistics, it believes that to read all event types is
/// cheaper.
#[tokio::test]
async fn an_append_finds_its_event_type_by_the_index() {
    for statistics in ["select", "analyze"] {
        let world = World::new().await;
        world.superuser().await.batch_execute(statistics).await.unwrap();
        let client = world.api_login().await;
        client.batch_execute("begin").await.unwrap();
        for stream in 1..=8 {
            client.execute(APPEND, &[&format!("S-{stream}")]).await.unwrap();
            client.execute(APPEND_TWO, &[&format!("T-{stream}")]).await.unwrap();
        }
        let sql =
            "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_xact_user_tables where schemaname = 'annals'";
        let by_scan: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(by_scan, 0, "{statistics}: rows read by sequential scans");
    }
}

#[tokio::test]
async fn a_state_tables_new_column_is_filled_before_its_writer_is_made_again() {
    let world = World::new().await;
    let fill = "select annals.fill_states('sale', array['00000000-0000-0000-0000-000000000000'::uuid], array['S-1'], array[1], array['system'],
        array[null::timestamptz], array[now()], array[now()], array[$1::text::jsonb])";
    let (client, owner) = (projector(&world).await, world.owner().await);
    let row = async || {
        let sql = "select to_jsonb(s) ->> 'region', s.product from public.sales s where s.id = 'S-1'";
        let row = owner.query_one(sql, &[]).await.unwrap();
        (row.get::<_, Option<String>>(0), row.get::<_, Option<String>>(1))
    };
    let text = |words: &str| Some(words.to_owned());
    client
        .execute(fill, &[&r#"{"region": "North", "product": "Pump"}"#])
        .await
        .unwrap();
    assert_eq!(row().await, (None, text("Pump")));
    owner
        .batch_execute("alter table public.sales add column region text")
        .await
        .unwrap();
    client
        .execute(fill, &[&r#"{"region": "South", "product": "Valve"}"#])
        .await
        .unwrap();
    assert_eq!(row().await, (text("South"), text("Valve")));
    owner
        .batch_execute("select annals.make_state_writer('public.sales')")
        .await
        .unwrap();
    client
        .execute(fill, &[&r#"{"region": "West", "product": "Hose"}"#])
        .await
        .unwrap();
    assert_eq!(row().await, (text("West"), text("Hose")));
}
