//! Progress of commands that have no figures of their own to print, on standard error and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often the elapsed time is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Work of unknown length: what is done, and for how long already. It disappears when it is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Begins to draw, as in "migrating the database".
    pub fn start(doing: &'static str) -> Self {
        let spinner = styled(ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}").with_message(doing);
        spinner.enable_steady_tick(DRAW_EVERY);
        Self(spinner)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar of this many events.
pub fn bar_of_events(total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), "{bar:40} {pos}/{len} events, {elapsed}")
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
