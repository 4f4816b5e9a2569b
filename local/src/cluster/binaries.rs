//! Finds PostgreSQL's programs.
//!
//! Looks in PATH, in `pg_config --bindir` and in the folders of Debian, Red Hat, Homebrew and Postgres.app, and takes the newest
//! version that it knows; where there is none, it downloads one ([`super::fetch`]). A folder counts only if its `postgres` has
//! run, as the account that will run it, and has named its version. So wrappers in /usr/local/bin, half-removed packages and
//! folders that are closed to that account are passed over.

use super::account::{Account, run};
use super::fetch;
use crate::Error;
use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Oldest major version that the migrations run on.
pub(super) const OLDEST_MAJOR: u32 = 15;
/// Newest major version that the migrations are tested on.
pub(super) const NEWEST_MAJOR: u32 = 18;

/// Folders with one subfolder per installed version, and the way from there to the programs.
const FAMILIES: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// A folder with `initdb`, `pg_ctl` and `postgres` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The installation to use: the one in `folder` if that is given, else the newest one on this machine. A cluster that exists
    /// already needs `wanted`'s major version, because another one cannot read its files.
    pub(super) async fn find(account: &Account, folder: Option<&Path>, wanted: Option<u32>) -> Result<Self, Error> {
        if let Some(folder) = folder {
            return Self::in_folder(account, folder, wanted).await;
        }
        let mut found = Vec::new();
        for folder in candidates().await {
            if let Some(major) = version_of(&folder, account).await {
                found.push((major, folder));
            }
        }
        if let Some((major, folder)) = choose(found, wanted) {
            tracing::debug!(folder = %folder.display(), version = major, "found postgresql");
            return Ok(Self { folder });
        }
        Ok(Self {
            folder: fetch::postgresql(account, wanted).await?,
        })
    }

    async fn in_folder(account: &Account, folder: &Path, wanted: Option<u32>) -> Result<Self, Error> {
        let major = version_of(folder, account).await;
        if major.is_some_and(|major| wanted.map_or(major >= OLDEST_MAJOR, |wanted| major == wanted)) {
            return Ok(Self {
                folder: folder.to_owned(),
            });
        }
        let needed = wanted.map_or_else(|| format!("{OLDEST_MAJOR} or newer"), |major| major.to_string());
        Err(Error::Invalid(format!(
            "ANNALS_POSTGRES names {}, which has no PostgreSQL {needed} that runs here",
            folder.display()
        )))
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn pg_ctl(&self) -> PathBuf {
        self.folder.join("pg_ctl")
    }
}

async fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    let config = run({
        let mut command = Command::new("pg_config");
        command.arg("--bindir");
        command
    });
    let bindir = config.await.ok().map(|folder| PathBuf::from(folder.trim()));
    let families = FAMILIES.iter().map(|(root, prefix, rest)| {
        let found = fs::read_dir(root).into_iter().flatten().flatten();
        let names = found.filter_map(|entry| entry.file_name().into_string().ok());
        newest_first(names, prefix)
            .into_iter()
            .map(|name| Path::new(root).join(name).join(rest))
            .collect()
    });
    order(path, bindir, families.collect())
        .into_iter()
        .filter_map(|folder| home_of_programs(&folder))
        .fold(Vec::new(), |mut distinct, folder| {
            if !distinct.contains(&folder) {
                distinct.push(folder);
            }
            distinct
        })
}

/// The newest of the known versions, the first folder of it; a version newer than those only where there is no other.
fn choose(found: Vec<(u32, PathBuf)>, wanted: Option<u32>) -> Option<(u32, PathBuf)> {
    let rank = |major: u32| match major {
        OLDEST_MAJOR..=NEWEST_MAJOR => major,
        _ => 0,
    };
    found
        .into_iter()
        .filter(|(major, _)| wanted.map_or(*major >= OLDEST_MAJOR, |wanted| *major == wanted))
        .rev()
        .max_by_key(|(major, _)| rank(*major))
}

fn order(path: Vec<PathBuf>, bindir: Option<PathBuf>, families: Vec<Vec<PathBuf>>) -> Vec<PathBuf> {
    path.into_iter()
        .chain(bindir)
        .chain(families.into_iter().flatten())
        .collect()
}

/// Names that are `prefix` and a version, the newest before the others. A name without a number ("latest") is a link to one
/// that has it.
fn newest_first(names: impl Iterator<Item = String>, prefix: &str) -> Vec<String> {
    let mut found: Vec<(u32, String)> = names
        .filter_map(|name| Some((name.strip_prefix(prefix)?.split('.').next()?.parse().ok()?, name)))
        .collect();
    found.sort_by_key(|(major, _)| Reverse(*major));
    found.into_iter().map(|(_, name)| name).collect()
}

/// The folder behind `folder/initdb`, links resolved, if all three programs are there. A link is resolved because
/// /usr/local/bin may link some of the programs only; a script is passed over because it is someone's wrapper, which may
/// change accounts or arguments, around programs that the other folders show directly.
fn home_of_programs(folder: &Path) -> Option<PathBuf> {
    let home = folder.join("initdb").canonicalize().ok()?.parent()?.to_owned();
    ["initdb", "pg_ctl", "postgres"]
        .iter()
        .all(|name| is_program(&home.join(name)))
        .then_some(home)
}

fn is_program(path: &Path) -> bool {
    let mut start = [0; 2];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok()
        && start != *b"#!"
}

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
    fn path_goes_first_then_pg_config_then_the_known_folders() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let found = order(
            paths(&["/p1", "/p2"]),
            Some("/config".into()),
            vec![paths(&["/deb/18"]), paths(&["/brew/17"])],
        );
        assert_eq!(found, paths(&["/p1", "/p2", "/config", "/deb/18", "/brew/17"]));
    }

    #[test]
    fn the_newest_version_goes_first_by_number_not_by_letter() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            newest_first(names(&["9.6", "15", "latest", "18"]).into_iter(), ""),
            names(&["18", "15", "9.6"])
        );
        let brew = ["postgresql@9", "redis", "postgresql@17", "postgresql"];
        assert_eq!(
            newest_first(names(&brew).into_iter(), "postgresql@"),
            names(&["postgresql@17", "postgresql@9"])
        );
    }

    #[test]
    fn the_newest_known_version_is_chosen_wherever_it_is() {
        let found = |majors: &[(u32, &str)]| majors.iter().map(|(m, f)| (*m, PathBuf::from(f))).collect::<Vec<_>>();
        let machine = found(&[
            (15, "/path"),
            (18, "/debian/18"),
            (18, "/brew/18"),
            (14, "/old"),
            (19, "/beta"),
        ]);
        assert_eq!(choose(machine.clone(), None), Some((18, "/debian/18".into())));
        assert_eq!(choose(machine.clone(), Some(15)), Some((15, "/path".into())));
        assert_eq!(choose(machine, Some(16)), None);
        assert_eq!(choose(found(&[(19, "/beta")]), None), Some((19, "/beta".into())));
        assert_eq!(choose(found(&[(14, "/old")]), None), None);
    }

    #[test]
    fn versions_are_read_from_what_postgres_says() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("welcome to the postgres wrapper"), None);
    }
}
