use serde_json::json;

use super::*;

fn state(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn diff(before: Value, after: Value) -> Value {
    json!(changes(&state(before), &state(after)))
}

#[test]
fn differing_fields_are_named_once_with_both_values() {
    assert_eq!(
        diff(
            json!({"same": [1], "changed": 1, "gone": "x", "null": null}),
            json!({"same": [1], "changed": 2, "new": {}})
        ),
        json!({"changed": {"old": 1, "new": 2}, "gone": {"old": "x", "new": null}, "new": {"old": null, "new": {}}})
    );
}

#[test]
fn absent_equals_null_at_every_level() {
    assert_eq!(
        diff(json!({"a": null, "b": {"c": null, "d": 1}}), json!({"b": {"d": 1}})),
        json!({})
    );
    assert_eq!(
        diff(json!({"b": {"c": null}}), json!({"b": {"c": 1}})),
        json!({"/b/c": {"old": null, "new": 1}})
    );
}

#[test]
fn members_of_objects_are_reported_by_pointer_and_new_values_as_a_whole() {
    assert_eq!(
        diff(
            json!({"address": {"city": "Pisa", "zip": "1", "geo": {"x": 1}}, "kind": {"a": 1}}),
            json!({"address": {"city": "Lucca", "zip": "1", "geo": {"x": 2, "a/b~c": true}}, "kind": "a", "more": {"deep": {"x": 1}}})
        ),
        json!({"/address/city": {"old": "Pisa", "new": "Lucca"}, "/address/geo/x": {"old": 1, "new": 2},
               "/address/geo/a~1b~0c": {"old": null, "new": true}, "kind": {"old": {"a": 1}, "new": "a"},
               "more": {"old": null, "new": {"deep": {"x": 1}}}})
    );
}

#[test]
fn elements_with_ids_are_identified_by_them_at_any_index() {
    let before = json!({"lines": [{"id": "A", "n": 1}, {"id": 7, "n": 1}, {"id": "C", "n": 1}]});
    let after = json!({"lines": [{"id": "new/1", "n": 9}, {"id": "A", "n": 1}, {"id": 7, "n": 2}]});
    assert_eq!(
        diff(before.clone(), after),
        json!({"/lines/new~11": {"old": null, "new": {"id": "new/1", "n": 9}}, "/lines/7/n": {"old": 1, "new": 2},
               "/lines/C": {"old": {"id": "C", "n": 1}, "new": null}})
    );
    // Another order is a change of the list, which no element shows.
    let turned = json!({"lines": [{"id": 7, "n": 1}, {"id": "A", "n": 1}, {"id": "C", "n": 1}]});
    assert_eq!(
        diff(before.clone(), turned.clone()),
        json!({"lines": {"old": before["lines"], "new": turned["lines"]}})
    );
}

#[test]
fn elements_without_ids_are_identified_by_their_index() {
    assert_eq!(
        diff(json!({"tags": ["a", "b"]}), json!({"tags": ["a", "c", "d"]})),
        json!({"/tags/1": {"old": "b", "new": "c"}, "/tags/2": {"old": null, "new": "d"}})
    );
    let twice = json!({"rows": [{"id": 1, "n": 1}, {"id": 1, "n": 2}]});
    assert_eq!(
        diff(twice, json!({"rows": [{"id": 1, "n": 1}, {"id": 1, "n": 3}]})),
        json!({"/rows/1/n": {"old": 2, "new": 3}})
    );
    assert_eq!(
        diff(json!({"l": [1]}), json!({"l": [1, null]})),
        json!({"l": {"old": [1], "new": [1, null]}})
    );
}

#[test]
fn a_field_whose_name_looks_like_a_pointer_is_reported_by_a_pointer() {
    assert_eq!(
        diff(json!({"/a": 1, "a": {"b": 1}}), json!({"/a": 2, "a": {"b": 2}})),
        json!({"/~1a": {"old": 1, "new": 2}, "/a/b": {"old": 1, "new": 2}})
    );
}

#[test]
fn too_many_or_too_deep_changes_are_reported_as_a_whole() {
    let many = |n: u32| json!({"list": (0..600).map(|i| json!(i + n)).collect::<Vec<_>>()});
    assert_eq!(
        diff(many(0), many(1)),
        json!({"list": {"old": many(0)["list"], "new": many(1)["list"]}})
    );
    let deep = |value: Value| (0..40).fold(value, |inner, _| json!({"d": inner}));
    let told = diff(deep(json!(1)), deep(json!(2)));
    let pointers: Vec<&String> = told.as_object().expect("an object").keys().collect();
    assert_eq!(pointers, [&"/d".repeat(MAX_DEPTH)]);
    // Pointers repeat the names above them.
    let long = "n".repeat(2_000);
    let wide = |n: u32| json!({&long: {&long: (0..400).map(|i| (i.to_string(), json!(n))).collect::<Map<_, _>>()}});
    assert_eq!(diff(wide(1), wide(2)).as_object().map(Map::len), Some(1));
}

#[test]
fn a_field_path_is_a_name_or_a_pointer() {
    let before =
        state(json!({"a/b": 1, "address": {"city": "Pisa"}, "lines": [{"id": "L", "n": 1}], "tags": ["x", "y"]}));
    let after =
        state(json!({"a/b": 2, "address": {"city": "Lucca"}, "lines": [{"id": "L", "n": 2}], "tags": ["x", "z"]}));
    for (path, expected) in [
        ("a/b", true),
        ("/a~1b", true),
        ("address", true),
        ("/address", true),
        ("/address/city", true),
        ("/address/city/name", false),
        ("/address/zip", false),
        ("lines", true),
        ("/lines/L", true),
        ("/lines/L/n", true),
        ("/lines/0/n", false),
        ("/tags/0", false),
        ("/tags/1", true),
        ("nothing", false),
    ] {
        let path = FieldPath::parse(path).expect(path);
        assert_eq!(path.differs(&before, &after), expected, "{path:?}");
    }
    for bad in ["", "/a~", "/a~2b", &"/a".repeat(65)] {
        assert_eq!(FieldPath::parse(bad), None, "{bad}");
    }
}
