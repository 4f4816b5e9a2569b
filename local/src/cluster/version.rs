//! Versions of PostgreSQL.

use super::account::{Account, run};
use std::path::Path;

/// Oldest major version that the migrations run on.
pub(super) const OLDEST_MAJOR: u32 = 15;
/// Newest major version that the migrations are tested on.
pub(super) const NEWEST_MAJOR: u32 = 18;

/// The major version of the `postgres` in a folder; `None` if it does not run as this account.
pub(super) async fn version_of(folder: &Path, account: &Account) -> Option<u32> {
    let mut command = account.command(&folder.join("postgres"));
    command.arg("--version");
    major_version(&run(command).await.ok()?)
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)` and `postgres (PostgreSQL) 18beta1`.
fn major_version(answer: &str) -> Option<u32> {
    let (_, version) = answer.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_the_output_of_postgres() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("welcome to the postgres wrapper"), None);
    }
}
