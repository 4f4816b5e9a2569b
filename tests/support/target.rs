//! What each line of the bench should reach. This is the only place of these numbers.

/// A line's ratios to its ceiling; larger is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The ratio that a line must reach.
    pub floor: f64,
    /// The ratio that is wanted.
    pub goal: f64,
}

impl Target {
    /// One event per request, 16 writers.
    pub const APPEND: Self = Self::of(0.65, 0.85);
    /// One event per request, 1 writer.
    pub const APPEND_ALONE: Self = Self::of(0.65, 0.9);
    /// A hundred events per request.
    pub const BATCH: Self = Self::of(0.55, 0.75);
    /// Pages of 100 events.
    pub const PAGE: Self = Self::of(0.35, 0.6);
    /// One entity by its id.
    pub const ENTITY: Self = Self::of(0.35, 0.6);
    /// Projection with a wake-up for each event.
    pub const PROJECT_SINGLES: Self = Self::of(1.0, 2.0);
    /// Projection with a wake-up for each batch.
    pub const PROJECT_BATCHES: Self = Self::of(2.0, 4.0);
    /// Rebuild with streams of 1 event.
    pub const REBUILD_1: Self = Self::of(0.3, 0.5);
    /// Rebuild with streams of 10 events.
    pub const REBUILD_10: Self = Self::of(0.4, 0.5);
    /// Rebuild with streams of 1,000 events.
    pub const REBUILD_1000: Self = Self::of(0.5, 0.5);
    /// A CSV file to committed events.
    pub const CSV: Self = Self::of(0.5, 0.6);
    /// An inspection of a CSV file: not longer than the limit.
    pub const CSV_INSPECTED: Self = Self::of(1.0, 1.0);
    /// The importer's memory: not more than the limit.
    pub const CSV_MEMORY: Self = Self::of(1.0, 1.0);
    /// A page of a large log may take 1.3 times as long as one of a small log.
    pub const LARGE: Self = Self::of(1.0 / 1.3, 1.0 / 1.15);
    /// A start may take 1.5 times as long as hello-world with one connect and query.
    pub const COLD_START: Self = Self::of(1.0 / 1.5, 1.0 / 1.2);

    const fn of(floor: f64, goal: f64) -> Self {
        Self { floor, goal }
    }
}
