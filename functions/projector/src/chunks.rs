//! In which order streams are projected.

use std::collections::BTreeMap;

use annals_domain::{StreamId, TenantId};

/// Cuts the streams into chunks of `size`, each stream once. Tenants take turns, one stream each, so that a tenant with thousands of
/// streams does not come before all others.
pub(crate) fn chunks(streams: &[StreamId], size: usize) -> Vec<Vec<StreamId>> {
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
    in_turn.chunks(size).map(<[StreamId]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use annals_domain::{AggregateId, AggregateType};
    use serde_json::json;

    use super::*;

    #[test]
    fn tenants_take_turns_and_each_stream_comes_once() {
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
