//! Follows the log: delivers every event that is committed after a position, in order, and then waits for the next ones.
//!
//! It reads as [`crate::replay`] does, up to one high-water mark after the other, so no event is missed or delivered twice, although
//! numbers are drawn before transactions commit. It keeps no position of its own: a follower that ends and begins again with the number of
//! the last event that it has handled continues without a gap.

use std::convert::Infallible;
use std::time::Duration;

use annals_domain::Event;
use annals_store::{Feed, Selection, Store};

use crate::replay::{ReplayError, resolve, upcast};

/// Pause after the first look that found nothing. It doubles up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long one mark waits for open appends. Then a new mark is taken, so an append that stays open only delays later events.
const MARK_PATIENCE: Duration = Duration::from_secs(30);
/// Events per page.
const PAGE: i64 = 500;

/// Where to begin: after this event number, or at the end of the log.
///
/// # Errors
/// [`ReplayError::UnknownType`] if the catalog has no such type, or none that matches a pattern. [`ReplayError::Store`].
pub async fn begin(store: &Store, selection: &Selection, after: Option<i64>) -> Result<i64, ReplayError<Infallible>> {
    let catalog = store.fresh_projector_outline().await?;
    resolve(&catalog, selection).map_err(ReplayError::UnknownType)?;
    match after {
        Some(number) => Ok(number),
        None => Ok(store.high_water_mark_or_older(MARK_PATIENCE).await?),
    }
}

/// Delivers the selected events after this number, page by page, until the handler or the database fails.
///
/// # Errors
/// [`ReplayError`], including the handler's own error.
pub async fn follow<E, F>(
    store: &Store,
    selection: &Selection,
    after: i64,
    mut handler: impl FnMut(Vec<Event>) -> F,
) -> Result<Infallible, ReplayError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    let (mut feed, mut pause) = (Feed::after(store.clone(), after), FIRST_PAUSE);
    loop {
        feed.advance_mark(MARK_PATIENCE).await?;
        if feed.position() >= feed.high_water_mark() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        }
        // The catalog is read after the mark: a type that is registered later has events only after the mark.
        let catalog = store.fresh_projector_outline().await?;
        feed = feed.of(resolve(&catalog, selection).map_err(ReplayError::UnknownType)?);
        while feed.position() < feed.high_water_mark() {
            let mut events = feed.next_page(PAGE).await?;
            events.iter_mut().try_for_each(|event| upcast(&catalog, event))?;
            if !events.is_empty() {
                handler(events).await.map_err(ReplayError::Handler)?;
            }
        }
        pause = FIRST_PAUSE;
    }
}
