//! The transaction of an exchange or a proof, which keeps projectors waiting.

use super::lock_transaction::LockTransaction;

/// The lock that keeps projectors waiting. Dropping this value releases it.
pub struct Locked {
    pub(super) transaction: LockTransaction,
    /// Rows of key figures that were repaired in its transaction.
    pub(super) repaired: i64,
}
