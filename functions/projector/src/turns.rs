//! In which order streams are looked at.

use std::collections::BTreeMap;

use annals::domain::{StreamId, TenantId};

/// The streams, each once, in chunks of so many: tenants in turn, one stream of each, so that one with thousands of streams does not
/// come before all others.
pub(crate) fn chunks(streams: &[StreamId], of: usize) -> Vec<Vec<StreamId>> {
    let mut sorted: Vec<&StreamId> = streams.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut seen: BTreeMap<TenantId, usize> = BTreeMap::new();
    let mut in_turn: Vec<(usize, &StreamId)> = Vec::with_capacity(sorted.len());
    for stream in sorted {
        let turn = seen.entry(stream.tenant_id).or_default();
        in_turn.push((*turn, stream));
        *turn += 1;
    }
    in_turn.sort();
    let in_turn: Vec<StreamId> = in_turn.into_iter().map(|(_, stream)| stream.clone()).collect();
    in_turn.chunks(of).map(<[StreamId]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use annals::domain::{AggregateId, AggregateType};
    use serde_json::json;

    use super::*;

    #[test]
    fn tenants_take_turns_and_no_stream_comes_twice() {
        let stream = |tenant: u8, id: &str| StreamId {
            tenant_id: serde_json::from_value(json!(format!("00000000-0000-0000-0000-{tenant:012}"))).unwrap(),
            aggregate_type: AggregateType::try_from("customer".to_owned()).unwrap(),
            aggregate_id: AggregateId::try_from(id.to_owned()).unwrap(),
        };
        let given = [
            stream(1, "a"),
            stream(1, "b"),
            stream(1, "c"),
            stream(2, "a"),
            stream(1, "b"),
        ];
        let expected = [
            vec![stream(1, "a"), stream(2, "a")],
            vec![stream(1, "b"), stream(1, "c")],
        ];
        assert_eq!(chunks(&given, 2), expected);
    }
}
