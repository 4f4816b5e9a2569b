//! The functions behind lists of events keep their plans. A plan must be right although the log grows after it was made, with statistics that say
//! nothing or are of an empty log, for staff and for someone with a few events among many. Read rows are counted, because a wrong plan reads
//! all rows that it then sorts or discards.

use std::fmt::Write as _;

use tests::{Person, World};
use tokio_postgres::Client;

/// Streams of ten events each. Each tenth stream is of a type, actor, source and so on of its own, and one more tenant has as many events.
const FILL: &str = r#"
insert into annals.events (event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type,
                           aggregate_type, aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, correlation_id, command_id,
                           data, metadata)
select n, t, t, gen_random_uuid(), case when n % 2 = 0 then '00000000-0000-0000-0000-000000000000' else '00000000-0000-0000-0000-0000000000ff' end::uuid,
       case when n % 10 = 0 then '00000000-0000-0000-0000-00000000000a'::uuid end,
       case when n % 10 = 2 then '00000000-0000-0000-0000-00000000000c'::uuid end, 1 + n / 2000, case when n % 10 = 4 then 'sale.deleted' else 'sale.updated' end,
       'sale', 'S-' || lpad((n % 2000)::text, 5, '0'), '1.0', case when n % 10 = 0 then 'agent:rare' else 'agent:usual' end, 'system', 'system', false,
       case when n % 10 = 6 then 'rare' else 'api' end, case when n % 10 = 8 then 'rare' end, case when n % 10 = 8 then 'rare' end, '{}', '{}'
  from generate_series(1, 20000) as n cross join lateral (select timestamptz '2026-01-01' + n * interval '1 second' as t) as t;
insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
select tenant_id, aggregate_type, aggregate_id, 10, 10, max(created_at), 'system' from annals.events group by 1, 2, 3;
update annals.checkpoints set position = 20000 where name = 'sweep'"#;

/// Each list with the arguments that make it one of few events among many.
const LISTS: [(&str, &str); 11] = [
    ("list_events", ""),
    ("list_events_of_types", ", event_types => '{sale.deleted,sale.none}'"),
    ("list_events_of_aggregate_type", ", stream_type => 'sale'"),
    ("list_events_of_actor", ", actor => 'agent:rare'"),
    (
        "list_events_of_person",
        ", person => '00000000-0000-0000-0000-00000000000a'",
    ),
    ("list_events_of_correlation", ", correlation => 'rare'"),
    (
        "list_events_of_causation",
        ", causation => '00000000-0000-0000-0000-00000000000c'",
    ),
    ("list_events_of_command", ", command => 'rare'"),
    ("list_events_of_source", ", origin => 'rare'"),
    ("list_events_of_id", ", stream_id => 'S-00010'"),
    ("list_history", ", stream_type => 'sale', stream_id => 'S-00010'"),
];

/// What a fold reads of a stream, and how many rows that gives.
const FOLDS: [(&str, &str, i64); 3] = [
    ("find_past", "'sale', 'S-00010', 7, null, true", 1),
    ("find_past", "'sale', 'S-00010', null, '2026-01-01 00:30:00Z', true", 1),
    ("list_facts", "'sale', 'S-00010', 5, 8, 100, 4194304", 3),
];

/// Rows of the log that the session has read since it last reported its figures: by sequential scans, and by indexes.
const ROWS_READ: &str =
    "select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables where relid = 'annals.events'::regclass";

async fn session(world: &World, person: &Person) -> Client {
    let client = world.api_login().await;
    let claims = person.claims().to_string().replace('\'', "''");
    let words = format!("set role authenticated; set request.jwt.claims = '{claims}'");
    client.batch_execute(&words).await.expect("a caller's session");
    client
}

async fn rows_read(client: &Client) -> (i64, i64) {
    let read = client.query_one(ROWS_READ, &[]).await.expect("figures");
    (read.get(0), read.get(1))
}

/// How many events the list returns. It may read only a few more.
async fn count(client: &Client, list: &str, arguments: &str) -> i64 {
    client.batch_execute("begin").await.expect("a transaction");
    let before = rows_read(client).await;
    let sql = format!("select count(*) from annals.{list}({arguments})");
    let count: i64 = client.query_one(&sql, &[]).await.expect("a count").get(0);
    let after = rows_read(client).await;
    client.batch_execute("rollback").await.expect("its end");
    let (by_scan, by_index) = (after.0 - before.0, after.1 - before.1);
    // Two binary searches for a version read thirty.
    assert!(
        by_scan == 0 && by_index <= 50,
        "{by_scan} + {by_index} rows read: {sql}"
    );
    count
}

/// First pages, and pages that begin in the middle, in both orders.
fn pages(more: &str) -> [String; 4] {
    let middle = if more.contains("stream_type => 'sale', stream_id") {
        5
    } else {
        10_000
    };
    [
        ("true", "null"),
        ("true", &middle.to_string()),
        ("false", "0"),
        ("false", &middle.to_string()),
    ]
    .map(|(newest, after)| {
        let mut arguments = format!("is_newest => {newest}, after => {after}, row_limit => 10, max_bytes => 4194304");
        write!(arguments, "{more}").expect("a text");
        arguments
    })
}

#[tokio::test]
async fn a_list_reads_its_page_and_little_else_whatever_the_log_was_when_it_was_planned() {
    for statistics in ["select", "analyze annals.events"] {
        let world = World::new().await;
        let (staff, user) = (Person::staff(), Person::user());
        let superuser = world.superuser().await;
        superuser.batch_execute(statistics).await.expect("statistics");
        let (kept, kept_by_user) = (session(&world, &staff).await, session(&world, &user).await);
        let own = pages("");
        for (list, more) in LISTS {
            for arguments in pages(more) {
                assert_eq!(count(&kept, list, &arguments).await, 0, "{list}");
            }
        }
        for arguments in pages(", is_processed => false") {
            assert_eq!(count(&kept, "list_events_unprocessed", &arguments).await, 0);
        }
        for arguments in &own {
            assert_eq!(count(&kept_by_user, "list_events_of_caller", arguments).await, 0);
        }
        let nothing = "false, null, 1, 1000, ids => '{00000000-0000-4000-8000-000000000001}'";
        assert_eq!(count(&kept, "find_events", nothing).await, 0);
        for (function, arguments, _) in FOLDS {
            assert_eq!(count(&kept, function, arguments).await, 0, "{function}");
        }
        superuser.batch_execute(FILL).await.expect("a log");
        // Three events among many: done by the user, done for the user, and in a stream of the user's.
        let three = format!(
            "insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, user_id, aggregate_version, event_type, aggregate_type,
                    aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, data, metadata)
             select 30000 + n, now(), now(), gen_random_uuid(), '{tenant}', case when n < 3 then '{id}'::uuid end, n, 'sale.updated', 'sale', 'mine', '1.0',
                    case n when 1 then 'user:{id}' else 'agent:usual' end, 'system', 'user:{id}', n = 3, 'api', '{{}}', '{{}}' from generate_series(1, 3) as n",
            tenant = user.tenant,
            id = user.sub,
        );
        superuser.batch_execute(&three).await.expect("three events");
        for client in [kept, session(&world, &staff).await] {
            for (list, more) in LISTS {
                for arguments in pages(more) {
                    let found = count(&client, list, &arguments).await;
                    assert!(
                        (4..=10).contains(&found),
                        "{found} events, {statistics}: {list}({arguments})"
                    );
                }
            }
            let ids = "select string_agg(id::text, ',') from annals.events where event_number in (10, 20000)";
            let ids: String = superuser.query_one(ids, &[]).await.expect("two ids").get(0);
            let arguments = format!("false, null, 2, 4194304, ids => '{{{ids}}}'");
            assert_eq!(count(&client, "find_events", &arguments).await, 2);
            for (function, arguments, expected) in FOLDS {
                assert_eq!(
                    count(&client, function, arguments).await,
                    expected,
                    "{function}({arguments})"
                );
            }
        }
        for client in [kept_by_user, session(&world, &user).await] {
            assert_eq!(count(&client, "list_events_of_caller", &own[0]).await, 3);
            assert_eq!(count(&client, "list_events_of_caller", &own[1]).await, 0);
            assert_eq!(count(&client, "list_events_of_caller", &own[3]).await, 3);
        }
    }
}

/// A page of a long stream costs the same wherever it is, also in the list by id, whose pages begin at a number.
#[tokio::test]
async fn a_page_of_a_long_stream_reads_as_much_as_a_page_of_a_short_one() {
    let world = World::new().await;
    let staff = Person::staff();
    let superuser = world.superuser().await;
    let long = "
        insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type, aggregate_type, aggregate_id,
                                   version, created_by, posted_by, started_by, source, data, metadata)
        select 10 * n, t, t, gen_random_uuid(), '00000000-0000-0000-0000-000000000000', n, 'sale.updated', 'sale', 'long', '1.0', 'system', 'system',
               'system', 'api', '{}', '{}'
          from generate_series(1, 20000) as n cross join lateral (select timestamptz '2026-01-01' + n * interval '1 second' as t) as t;
        insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
        values ('00000000-0000-0000-0000-000000000000', 'sale', 'long', 20000, 20000, now(), 'system');
        update annals.checkpoints set position = 200000 where name = 'sweep'";
    superuser.batch_execute(long).await.expect("a long stream");
    let client = session(&world, &staff).await;
    for after in [15, 100_005, 199_900] {
        for newest in [true, false] {
            let arguments = format!(
                "is_newest => {newest}, after => {after}, row_limit => 10, max_bytes => 4194304, stream_id => 'long'"
            );
            let expected = if newest && after == 15 { 1 } else { 10 };
            assert_eq!(
                count(&client, "list_events_of_id", &arguments).await,
                expected,
                "{arguments}"
            );
        }
    }
}

/// Someone who appends to the end of long streams of others reads these events, and not the streams.
#[tokio::test]
async fn events_at_the_end_of_a_long_foreign_stream_cost_no_search_of_the_stream() {
    let world = World::new().await;
    let (user, starter) = (Person::user(), Person::user());
    let superuser = world.superuser().await;
    let long = format!(
        "insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type, aggregate_type,
                aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, data, metadata)
         select n, t, t, gen_random_uuid(), '{tenant}', n, 'sale.updated', 'sale', 'long', '1.0', case when n <= 5000 then 'user:{starter}' else 'user:{user}' end,
                'system', 'user:{starter}', true, 'api', '{{}}', '{{}}'
           from generate_series(1, 5010) as n cross join lateral (select timestamptz '2026-01-01' + n * interval '1 second' as t) as t;
         insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
         values ('{tenant}', 'sale', 'long', 5010, 5005, now(), 'user:{starter}')",
        tenant = user.tenant,
        starter = starter.sub,
        user = user.sub,
    );
    superuser.batch_execute(&long).await.expect("a long stream");
    let client = session(&world, &user).await;
    for (more, expected) in [("", 10), (", is_processed => true", 5), (", is_processed => false", 5)] {
        let arguments = format!("is_newest => true, after => null, row_limit => 10, max_bytes => 4194304{more}");
        assert_eq!(
            count(&client, "list_events_of_caller", &arguments).await,
            expected,
            "{more}"
        );
    }
    // They do not see the state, and its absence must not take longer than that of a stream that does not exist.
    assert_eq!(count(&client, "find_entity", "'sale', 'long'").await, 0);
    assert_eq!(count(&client, "find_past", "'sale', 'long', 5000, null, true").await, 0);
    let last = "is_newest => false, after => 5000, row_limit => 10, max_bytes => 4194304, stream_type => 'sale', stream_id => 'long'";
    assert_eq!(count(&client, "list_history", last).await, 10);
    // The starter sees all of it.
    let client = session(&world, &starter).await;
    for after in [15, 2_505] {
        for newest in [true, false] {
            let arguments = format!(
                "is_newest => {newest}, after => {after}, row_limit => 10, max_bytes => 4194304, stream_id => 'long'"
            );
            assert_eq!(count(&client, "list_events_of_id", &arguments).await, 10, "{arguments}");
        }
    }
}

/// As [`count`], for a list by a field, with the rows of the index of fields.
async fn count_by_field(client: &Client, list: &str, arguments: &str) -> i64 {
    client.batch_execute("begin").await.expect("a transaction");
    let before = rows_and_values_read(client).await;
    let sql = format!(
        "select count(*) from annals.{list}({arguments}, event_types => '{{product.created,sale.updated}}', field => 'sku',
         wanted => '{{\"\\\"rare\\\"\"}}')"
    );
    let count: i64 = client.query_one(&sql, &[]).await.expect("a count").get(0);
    let after = rows_and_values_read(client).await;
    client.batch_execute("rollback").await.expect("its end");
    let (by_scan, by_index) = (after.0 - before.0, after.1 - before.1);
    // Two binary searches for a version read thirty.
    assert!(
        by_scan == 0 && by_index <= 50,
        "{by_scan} + {by_index} rows read: {sql}"
    );
    count
}

async fn rows_and_values_read(client: &Client) -> (i64, i64) {
    let sql = "select sum(seq_tup_read)::bigint, sum(idx_tup_fetch)::bigint from pg_stat_xact_user_tables
         where relid in ('annals.events'::regclass, 'annals.field_values'::regclass)";
    let read = client.query_one(sql, &[]).await.expect("figures");
    (read.get(0), read.get(1))
}

/// Each hundredth event has the value. Three of them are visible to a user, and are newer than the index.
#[tokio::test]
async fn a_list_by_a_field_reads_its_page_and_little_else_whatever_the_log_was_when_it_was_planned() {
    let fill = FILL.replace(
        "'{}', '{}'\n",
        "jsonb_build_object('sku', case when n % 100 = 0 then 'rare' else 'usual' end), '{}'\n",
    );
    assert_ne!(fill, FILL);
    let lists = [
        ("list_events_of_field", ""),
        ("list_events_of_id_by_field", ", stream_id => 'S-00100'"),
        ("list_events_of_correlation_by_field", ", correlation => 'few'"),
        (
            "list_events_of_causation_by_field",
            ", causation => '00000000-0000-0000-0000-00000000000d'",
        ),
        ("list_events_of_command_by_field", ", command => 'few'"),
        ("list_events_unprocessed_by_field", ", is_processed => false"),
    ];
    for statistics in ["select", "analyze"] {
        let world = World::new().await;
        let (staff, user) = (Person::staff(), Person::user());
        let superuser = world.superuser().await;
        superuser
            .batch_execute("insert into annals.indexed_fields (event_type, field, created_by) values ('sale.updated', 'sku', 'system')")
            .await
            .expect("a field");
        superuser.batch_execute(statistics).await.expect("statistics");
        let (kept, kept_by_user) = (session(&world, &staff).await, session(&world, &user).await);
        for arguments in pages("") {
            for (list, more) in lists {
                assert_eq!(count_by_field(&kept, list, &format!("{arguments}{more}")).await, 0);
            }
            assert_eq!(
                count_by_field(&kept_by_user, "list_events_of_caller_by_field", &arguments).await,
                0
            );
        }
        superuser.batch_execute(&fill).await.expect("a log");
        let three = format!(
            "insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type, aggregate_type,
                    aggregate_id, version, created_by, posted_by, started_by, source, correlation_id, causation_id, command_id, data, metadata)
             select 30000 + n, now(), now(), gen_random_uuid(), '{tenant}', n, 'sale.updated', 'sale', 'mine', '1.0', 'user:{id}', 'system', 'user:{id}',
                    'api', 'few', '00000000-0000-0000-0000-00000000000d', 'few', '{{\"sku\": \"rare\"}}', '{{}}' from generate_series(1, 3) as n;
             select annals.index_new_events(30000, 50000);
             select annals.fill_field_index(50000), annals.fill_field_index(50000)",
            tenant = user.tenant,
            id = user.sub,
        );
        superuser.batch_execute(&three).await.expect("three events");
        for client in [kept, session(&world, &staff).await] {
            for (place, arguments) in pages("").iter().enumerate() {
                assert_eq!(count_by_field(&client, "list_events_of_field", arguments).await, 10);
                let in_stream = count_by_field(
                    &client,
                    "list_events_of_id_by_field",
                    &format!("{arguments}, stream_id => 'S-00100'"),
                )
                .await;
                assert_eq!(in_stream, [10, 5, 10, 5][place]);
                for (list, more) in &lists[2..] {
                    let newer = count_by_field(&client, list, &format!("{arguments}{more}")).await;
                    assert_eq!(newer, [3, 0, 3, 3][place], "{list}");
                }
            }
        }
        for client in [kept_by_user, session(&world, &user).await] {
            for (place, arguments) in pages("").iter().enumerate() {
                let own = count_by_field(&client, "list_events_of_caller_by_field", arguments).await;
                assert_eq!(own, [3, 0, 3, 3][place]);
            }
        }
    }
}

/// The sweep's functions keep their plans, too: each step reads its window and not the log.
#[tokio::test]
async fn the_index_of_fields_is_filled_by_reading_each_event_once() {
    for statistics in ["select", "analyze"] {
        let world = World::new().await;
        let superuser = world.superuser().await;
        let declare = "insert into annals.indexed_fields (tenant_id, filled_to, event_type, field, created_by) values
            (null, null, 'sale.updated', 'sku', 'system'), (null, 0, 'sale.deleted', 'sku', 'system'),
            ('00000000-0000-0000-0000-000000000000', 0, 'sale.updated', 'name', 'system')";
        superuser.batch_execute(declare).await.expect("fields");
        superuser.batch_execute(statistics).await.expect("statistics");
        let kept = world.api_login().await;
        kept.batch_execute("set role annals_projector")
            .await
            .expect("the projector");
        let steps = "select annals.index_new_events($1, 100), annals.fill_field_index(100)";
        let step = async |client: &Client, up_to: i64| {
            client.batch_execute("begin").await.expect("a transaction");
            let before = rows_and_values_read(client).await;
            client.query(steps, &[&up_to]).await.expect("a step");
            let after = rows_and_values_read(client).await;
            client.batch_execute("commit").await.expect("its end");
            (after.0 - before.0, after.1 - before.1)
        };
        for _ in 0..8 {
            assert_eq!(step(&kept, 0).await, (0, 0));
        }
        superuser
            .batch_execute("update annals.indexed_fields set filled_to = 0 where filled_to is null and field = 'name'")
            .await
            .expect("a field");
        let fill = FILL.replace("'{}', '{}'\n", "'{\"sku\": \"usual\", \"name\": \"N\"}', '{}'\n");
        superuser.batch_execute(&fill).await.expect("a log");
        let mut read = 0;
        for _ in 0..20 {
            let (by_scan, by_index) = step(&kept, 20_000).await;
            assert!(
                by_scan == 0 && by_index <= 400,
                "{by_scan} + {by_index} rows read, {statistics}"
            );
            read += by_index;
        }
        assert!(read > 2_000, "{read}");
        superuser
            .batch_execute("update annals.indexed_fields set is_dropped = true where field = 'name'")
            .await
            .expect("a dropped field");
        let (by_scan, by_index) = step(&kept, 20_000).await;
        assert!(
            by_scan == 0 && by_index <= 400,
            "{by_scan} + {by_index} rows read, {statistics}"
        );
    }
}
