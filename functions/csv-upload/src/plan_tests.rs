use super::*;
use crate::dataset::SALES;
use crate::options::Options;
use crate::records::Splitter;
use crate::row::Row;

struct File {
    frame: Frame,
    chunk: Vec<ChunkRow>,
}

/// A chunk of the rows of a file that knows no quotes; rows without an id are called `row-1` and so on.
fn file(text: &str) -> File {
    let options = Options::default();
    let mut splitter = Splitter::new(b',');
    let mut lines = text.lines().map(|line| format!("{line}\n"));
    assert!(
        splitter
            .split(lines.next().expect("a header").as_bytes())
            .is_ok_and(|(_, complete)| complete)
    );
    let layout = Layout::find(&SALES, &options.mapping, splitter.record()).expect("a layout");
    let mut chunk = Vec::new();
    for (row, line) in (1..).zip(lines) {
        assert!(splitter.split(line.as_bytes()).is_ok_and(|(_, complete)| complete));
        let record = splitter.record();
        let read = (SALES.read)(
            &Row {
                record,
                layout: &layout,
            },
            &options.values,
        )
        .map(|mut facts| {
            let id = facts
                .id
                .take()
                .unwrap_or_else(|| AggregateId::try_from(format!("row-{row}")).expect("an id"));
            (id, facts)
        });
        chunk.push(ChunkRow {
            row,
            line: record.line(),
            read,
        });
    }
    File {
        frame: Frame::new(&SALES, &layout, Uuid::nil()).expect("a frame"),
        chunk,
    }
}

fn known(id: &str, version: i32, state: Value) -> Entities {
    let state = state.as_object().cloned().expect("an object");
    Entities::from([(
        id.to_owned(),
        Known {
            version,
            deleted: false,
            state,
        },
    )])
}

fn plan(file: &File, known: &Entities) -> Plan {
    file.frame.plan(&file.chunk, known, &HashMap::new())
}

#[test]
fn new_rows_are_created_with_their_frame() {
    let plan = plan(&file("sale_id,sale_date,amount\nS-1,2018-11-08,5\n"), &Entities::new());
    assert_eq!(plan.verdicts, [Verdict::Accepted]);
    let event = &plan.events[0];
    assert_eq!(
        (
            event.event_type.as_str(),
            event.aggregate_type.as_str(),
            event.aggregate_id.as_str()
        ),
        ("sale.created", "sale", "S-1")
    );
    assert_eq!(event.source.as_ref().map(Text::as_str), Some("csv"));
    assert_eq!(
        event.correlation_id.as_ref().map(Text::as_str),
        Some("00000000-0000-0000-0000-000000000000")
    );
    assert_eq!((event.expected_version, &event.idempotency_key), (Some(0), &None));
    assert_eq!(
        event.timestamp.map(|t| t.to_string()).as_deref(),
        Some("2018-11-08T00:00:00.000000Z")
    );
}

#[test]
fn known_rows_are_duplicates_or_updates_of_what_the_file_speaks_of() {
    let state = json!({"sale_date": "2018-11-08", "amount_cents": 500, "currency": "USD", "quantity": "x", "product": "Lamp", "more": 1});
    let known = known("S-1", 7, state);
    let same = plan(
        &file("sale_id,sale_date,amount,product\nS-1,2018-11-08,5.00,Lamp\n"),
        &known,
    );
    assert_eq!((same.verdicts, same.events.len()), (vec![Verdict::Duplicate], 0));
    let other = plan(
        &file("sale_id,sale_date,amount,product,notes\nS-1,2018-11-08,6,,new\n"),
        &known,
    );
    assert_eq!(other.verdicts, [Verdict::Updated]);
    let expected = json!({"changes": {"amount_cents": {"old": 500, "new": 600}, "product": {"old": "Lamp", "new": null},
        "notes": {"old": null, "new": "new"}}});
    assert_eq!(Value::Object(other.events[0].data.clone()), expected);
    assert_eq!(
        (other.events[0].event_type.as_str(), other.events[0].expected_version),
        ("sale.updated", Some(7))
    );
}

#[test]
fn numbers_are_compared_by_value_and_null_is_absent() {
    let state =
        json!({"sale_date": "2018-11-08", "amount_cents": 500, "currency": "USD", "quantity": 100, "notes": null});
    let mut known = known("S-1", 1, state);
    let text = "sale_id,sale_date,amount,quantity,notes\nS-1,2018-11-08,5,100.0,\n";
    assert_eq!(plan(&file(text), &known).verdicts, [Verdict::Duplicate]);
    for (number, verdict) in [
        ("1e2", Verdict::Duplicate),
        ("100.00", Verdict::Duplicate),
        ("100.01", Verdict::Updated),
    ] {
        let quantity = serde_json::from_str(number).expect("a number");
        known
            .get_mut("S-1")
            .expect("known")
            .state
            .insert("quantity".to_owned(), quantity);
        assert_eq!(plan(&file(text), &known).verdicts, [verdict], "{number}");
    }
}

#[test]
fn the_same_id_twice_is_taken_in_the_files_order() {
    let text = "sale_id,sale_date,amount\nS-1,2018-11-08,5\nS-1,2018-11-08,5\nS-1,2018-11-08,6\nS-1,2018-11-08,5\n";
    let plan = plan(&file(text), &Entities::new());
    assert_eq!(
        plan.verdicts,
        [
            Verdict::Accepted,
            Verdict::Duplicate,
            Verdict::Updated,
            Verdict::Updated
        ]
    );
    let expected: Vec<Option<i32>> = plan.events.iter().map(|event| event.expected_version).collect();
    assert_eq!((expected, plan.rows), (vec![Some(0), Some(1), Some(2)], vec![0, 2, 3]));
    assert_eq!(plan.changed["S-1"].version, 3);
}

#[test]
fn deleted_entities_stay_deleted() {
    let mut known = known("S-1", 2, json!({"amount_cents": 500}));
    known.get_mut("S-1").expect("known").deleted = true;
    let plan = plan(&file("sale_id,sale_date,amount\nS-1,2018-11-08,5\n"), &known);
    assert!(plan.events.is_empty());
    let Verdict::Rejected(faults) = &plan.verdicts[0] else {
        panic!("{:?}", plan.verdicts)
    };
    assert_eq!((faults[0].code, faults[0].value.as_deref()), ("deleted", Some("S-1")));
}

#[test]
fn rows_without_ids_never_undo_what_was_changed_since() {
    let corrected = known(
        "row-1",
        2,
        json!({"sale_date": "2018-11-08", "amount_cents": 999, "currency": "USD"}),
    );
    let plan = plan(&file("sale_date,amount\n2018-11-08,5\n2018-11-08,5\n"), &corrected);
    assert_eq!(plan.verdicts, [Verdict::Duplicate, Verdict::Accepted]);
}

#[test]
fn bad_rows_and_refused_ones_append_nothing() {
    let file = file("sale_id,sale_date,amount\nS-1,2018-11-08,x\nS-2,2018-11-08,5\nS-3,2018-11-08,5\n");
    let refused = HashMap::from([(1, RowFault::of_row("schema_violation", "no"))]);
    let plan = file.frame.plan(&file.chunk, &Entities::new(), &refused);
    assert!(matches!(
        &plan.verdicts[..],
        [Verdict::Rejected(_), Verdict::Rejected(_), Verdict::Accepted]
    ));
    assert_eq!(plan.rows, [2]);
}
