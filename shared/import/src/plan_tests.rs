use annals_csv::{Row, SALES, Splitter, facts};

use super::*;
use crate::options::Options;

struct File {
    frame: Frame,
    chunk: Vec<ChunkRow>,
}

/// A chunk of the rows of a file without quotes. Rows without an id get the ids `row-1`, `row-2` and so on.
fn file(text: &str) -> File {
    let options = Options::default();
    let mut splitter = Splitter::new(b',');
    let mut lines = text.lines().map(|line| format!("{line}\n"));
    assert!(
        splitter
            .split(lines.next().expect("a header").as_bytes())
            .is_ok_and(|(_, complete)| complete)
    );
    let layout = Layout::find(&SALES, &options.read, splitter.record()).expect("a layout");
    let (mut chunk, mut ids) = (Vec::new(), HashSet::new());
    for (row, line) in (1..).zip(lines) {
        assert!(splitter.split(line.as_bytes()).is_ok_and(|(_, complete)| complete));
        let record = splitter.record();
        let read = facts::read(
            &SALES,
            &Row {
                record,
                layout: &layout,
            },
            &options.read.values,
        )
        .map(|mut facts| {
            let id = facts
                .id
                .take()
                .unwrap_or_else(|| AggregateId::try_from(format!("row-{row}")).expect("an id"));
            (id, facts)
        });
        let repeats = read.as_ref().is_ok_and(|(id, _)| !ids.insert(id.as_str().to_owned()));
        chunk.push(ChunkRow {
            row,
            line: record.line(),
            read,
            repeats,
        });
    }
    File {
        frame: Frame::new(&SALES, &layout, Uuid::nil()).expect("a frame"),
        chunk,
    }
}

fn entity(id: &str, version: i32, state: Value) -> Entities {
    let state = state.as_object().cloned().expect("an object");
    Entities::from([(
        id.to_owned(),
        Known {
            version,
            deleted: false,
            reverted: false,
            state,
            bytes: 0,
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
    let known = entity("S-1", 7, state);
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
    let mut known = entity("S-1", 1, state);
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
fn of_an_id_that_says_several_things_the_first_counts_and_the_same_file_again_changes_nothing() {
    let text = "sale_id,sale_date,amount\nS-1,2018-11-08,5\nS-1,2018-11-08,5.00\nS-1,2018-11-08,6\nS-1,2018-11-08,5\n";
    let file = file(text);
    let codes = |plan: &Plan| -> Vec<&'static str> {
        let code = |verdict: &Verdict| match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Updated => "updated",
            Verdict::Duplicate => "duplicate",
            Verdict::Rejected(faults) => faults[0].code,
        };
        plan.verdicts.iter().map(code).collect()
    };
    let first = plan(&file, &Entities::new());
    assert_eq!(codes(&first), ["accepted", "duplicate", "repeated_id", "duplicate"]);
    assert_eq!((first.rows, first.changed["S-1"].version), (vec![0], 1));
    let again = plan(&file, &first.changed);
    assert_eq!(codes(&again), ["duplicate", "duplicate", "repeated_id", "duplicate"]);
    let known = entity(
        "S-1",
        3,
        json!({"sale_date": "2018-11-08", "amount_cents": 700, "currency": "USD"}),
    );
    let update = plan(&file, &known);
    assert_eq!(codes(&update), ["updated", "duplicate", "repeated_id", "duplicate"]);
    assert_eq!(update.events[0].expected_version, Some(3));
}

#[test]
fn deleted_entities_stay_deleted() {
    let mut known = entity("S-1", 2, json!({"amount_cents": 500}));
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
    let corrected = entity(
        "row-1",
        2,
        json!({"sale_date": "2018-11-08", "amount_cents": 999, "currency": "USD"}),
    );
    let plan = plan(&file("sale_date,amount\n2018-11-08,5\n2018-11-08,5\n"), &corrected);
    assert_eq!(plan.verdicts, [Verdict::Duplicate, Verdict::Accepted]);
}

#[test]
fn rows_of_a_report_without_ids_that_equal_known_ones_are_for_a_person_to_decide() {
    let known = entity(
        "row-1",
        1,
        json!({"sale_date": "2018-11-08", "amount_cents": 500, "currency": "USD"}),
    );
    let text = "sale_date,amount,annals_errors\n2018-11-08,5,\n2018-11-08,5,\n";
    let plan = plan(&file(text), &known);
    let Verdict::Rejected(faults) = &plan.verdicts[0] else {
        panic!("{:?}", plan.verdicts)
    };
    assert_eq!(
        (faults[0].code, &plan.verdicts[1]),
        ("equals_known_row", &Verdict::Accepted)
    );
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
