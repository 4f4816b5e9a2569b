//! Progress of commands that have no figures of their own to print, on standard error and only if that is a terminal.

use annals_store::MigrationProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often the elapsed time is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar of the migrations that a database lacks. It is drawn from the first progress on, so never if there is nothing to apply, and
/// disappears when it is dropped.
#[derive(Default)]
pub struct MigrationBar(Option<ProgressBar>);

impl MigrationBar {
    /// Shows how far the run is. A migration can take long, so the elapsed time is drawn by itself.
    pub fn show(&mut self, progress: MigrationProgress) {
        let bar = self.0.get_or_insert_with(|| {
            let bar = bar_of(progress.total, "migrating the database {bar:40} {pos}/{len}, {elapsed}");
            bar.enable_steady_tick(DRAW_EVERY);
            bar
        });
        bar.set_position(count(progress.done));
    }
}

impl Drop for MigrationBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A bar of this many events.
pub fn bar_of_events(total: usize) -> ProgressBar {
    bar_of(total, "{bar:40} {pos}/{len} events, {elapsed}")
}

fn bar_of(total: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(count(total));
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A number of things as indicatif counts them.
pub fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}
