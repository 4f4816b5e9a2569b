//! The items that are measured.

use std::time::Instant;

use super::Peer;
use super::events::{AGGREGATE_TYPE, FILLED, LONG, LONG_STREAM, batch, event, new_stream};
use super::load::{Measured, WARM_UP, run};
use crate::api::{cursor, events_on};

/// Writers with `expected_version`.
const WRITERS: usize = 16;
/// Their streams.
const STREAMS: usize = 1_000;
/// Events of a batch.
const BATCH: usize = 100;

impl Peer {
    /// One event per request, each to a new stream.
    pub async fn append(&self, writers: usize) -> Measured {
        let (api, payload) = (self.api.clone(), self.payload.clone());
        run(vec![(); writers], self.seconds, move |()| {
            let (api, body) = (api.clone(), event(&new_stream(), &payload, None));
            async move { (api.post(body, 1).await, ()) }
        })
        .await
    }

    /// One event per request, to the writer's streams in turn, with the version that the writer expects.
    pub async fn append_expecting(&self) -> Measured {
        let versions = self.versions().await;
        let own = |writer| Own {
            streams: versions.iter().skip(writer).step_by(WRITERS).cloned().collect(),
            turn: 0,
        };
        let (api, payload) = (self.api.clone(), self.payload.clone());
        run((0..WRITERS).map(own).collect(), self.seconds, move |mut own: Own| {
            let (stream, version) = own.next();
            let (api, body) = (api.clone(), event(stream, &payload, Some(version)));
            async move { (api.post(body, 1).await, own) }
        })
        .await
    }

    /// The 1,000 streams with their current versions; 0 for those that have no events yet.
    async fn versions(&self) -> Vec<(String, i64)> {
        let names: Vec<String> = (0..STREAMS).map(|number| format!("expected-{number:04}")).collect();
        let heads = "select w.name, coalesce(h.version, 0)::bigint from unnest($2::text[]) as w (name)
                       left join annals.heads h on h.aggregate_type = $1 and h.aggregate_id = w.name order by w.name";
        let owner = self.database.owner().await;
        let rows = owner.query(heads, &[&AGGREGATE_TYPE, &names]).await.expect("heads");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// 100 events per request, to the writer's own stream.
    pub async fn append_hundreds(&self, writers: usize) -> Measured {
        let (api, payload) = (self.api.clone(), self.payload.clone());
        let streams: Vec<String> = (0..writers).map(|_| new_stream()).collect();
        run(streams, self.seconds, move |stream: String| {
            let body = batch(std::iter::repeat_n(stream.as_str(), BATCH), &payload);
            let api = api.clone();
            async move { (api.post(body, BATCH).await, stream) }
        })
        .await
    }

    /// Reads the stream of 1,000 events over and over, in one page.
    pub async fn read_stream(&self) -> Measured {
        self.append_long_stream().await;
        let api = self.api.clone();
        run(vec![()], self.seconds, move |()| {
            let api = api.clone();
            let path = format!("/events/aggregate/{AGGREGATE_TYPE}/{LONG_STREAM}/history?limit={LONG}");
            async move { (events_on(&api.get(&path).await), ()) }
        })
        .await
    }

    /// Reads the first 200,000 events of the feed once, in pages of 1,000. A shorter feed is read to its end.
    pub async fn read_feed(&self) -> Measured {
        let warm = Instant::now();
        self.read_pages(|_| warm.elapsed() < WARM_UP).await;
        self.read_pages(|events| events < FILLED).await
    }

    async fn read_pages(&self, wanted: impl Fn(usize) -> bool) -> Measured {
        let (started, mut measured) = (Instant::now(), Measured::default());
        let mut path = "/events/feed?limit=1000".to_owned();
        while wanted(measured.events) {
            let read = async {
                let page = self.api.get(&path).await;
                (events_on(&page), page)
            };
            let before = measured.events;
            let page = measured.time(read).await;
            match cursor(&page, "cursor") {
                Some(after) if measured.events > before => path = format!("/events/feed?limit=1000&after={after}"),
                _ => break,
            }
        }
        measured.elapsed = started.elapsed();
        measured
    }
}

/// A writer's streams and their versions.
struct Own {
    streams: Vec<(String, i64)>,
    turn: usize,
}

impl Own {
    /// The next stream, and the version that it has before it gets another event.
    fn next(&mut self) -> (&str, i64) {
        let place = self.turn % self.streams.len();
        self.turn += 1;
        let (stream, version) = &mut self.streams[place];
        *version += 1;
        (stream, *version - 1)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_writer_expects_the_versions_that_it_has_written() {
        let mut own = Own {
            streams: vec![("a".to_owned(), 0), ("b".to_owned(), 4)],
            turn: 0,
        };
        let mut next = || {
            let (stream, version) = own.next();
            (stream.to_owned(), version)
        };
        let found = [next(), next(), next(), next()];
        let expected = [("a", 0), ("b", 4), ("a", 1), ("b", 5)];
        assert_eq!(found, expected.map(|(stream, version)| (stream.to_owned(), version)));
    }
}
