//! Properties that are checked for random inputs.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::{Builder, Runtime};

use crate::world::World;

/// How many random inputs a property is checked for, and how many attempts are made to find a smaller input that fails.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Number of random inputs.
    pub cases: u32,
    /// Attempts to make a failing input smaller.
    pub shrinks: u32,
}

/// Checks a property for random inputs; panics with the smallest failing input that was found.
pub fn check_property<S: Strategy>(runtime: &Runtime, effort: Effort, inputs: &S, property: impl AsyncFn(S::Value)) {
    let config = Config {
        cases: effort.cases,
        max_shrink_iters: effort.shrinks,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(inputs, |input| {
        runtime.block_on(property(input));
        Ok::<(), TestCaseError>(())
    });
    outcome.unwrap();
}

/// The same for a property of one world, without requirements, that all inputs share. It runs on a single thread.
pub fn check_property_of_world<S: Strategy>(effort: Effort, inputs: &S, property: impl AsyncFn(&World, S::Value)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::without_requirements());
    check_property(&runtime, effort, inputs, async |input| property(&world, input).await);
}
