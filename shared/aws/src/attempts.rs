//! Attempts at a request that may fail, with pauses between them.

use std::time::Duration;

/// How often a request is attempted.
#[derive(Debug, Clone, Copy)]
pub struct Attempts {
    failed: u32,
    most: u32,
    pause: Duration,
}

impl Attempts {
    /// At most `most` attempts. `pause` is the time before the second, and each further pause is longer by as much.
    pub const fn new(most: u32, pause: Duration) -> Self {
        let failed = 0;
        Self { failed, most, pause }
    }

    /// Called after a failed attempt. Waits and returns true, or returns false if it was the last attempt.
    pub async fn again(&mut self) -> bool {
        self.failed += 1;
        let is_left = self.failed < self.most;
        if is_left {
            tokio::time::sleep(self.pause * self.failed).await;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attempts_are_limited_and_the_pauses_between_them_grow() {
        let (mut attempts, begin) = (Attempts::new(4, Duration::from_millis(5)), std::time::Instant::now());
        let mut made = 1;
        while attempts.again().await {
            made += 1;
        }
        assert_eq!(made, 4);
        assert!(begin.elapsed() >= Duration::from_millis(5 + 10 + 15));
    }
}
