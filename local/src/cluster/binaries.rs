//! Finds PostgreSQL's programs.
//!
//! It searches PATH, `pg_config --bindir` and the folders of Debian, Red Hat, Homebrew and Postgres.app, and chooses the newest version
//! that Annals is tested with. If there is none, it downloads one ([`super::fetch`]). A folder counts only if its `postgres --version` runs
//! as the account that will run the server. This excludes wrappers in /usr/local/bin, packages that are half removed, and folders that the
//! account may not enter.

use super::account::{Account, run};
use super::fetch;
use super::version::{NEWEST_MAJOR, OLDEST_MAJOR, version_of};
use crate::Error;
use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Where packages install PostgreSQL: a folder, the prefix of its subfolders' names before the version, and the folder of programs in a
/// subfolder.
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
    /// The installation to use: that in `folder` if it is given, otherwise the newest on this machine. `wanted` is the major version of an
    /// existing cluster, whose files no other version can read.
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
            "ANNALS_POSTGRES names the folder {}, which has no PostgreSQL {needed} that runs on this machine",
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

/// The newest version that is tested, in the first folder that has it. A newer, untested version is chosen only if there is no other.
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

/// The names that consist of `prefix` and a version, newest first. Names without a version ("latest") are left out: they are links to a
/// folder that is found by its version.
fn newest_first(names: impl Iterator<Item = String>, prefix: &str) -> Vec<String> {
    let mut found: Vec<(u32, String)> = names
        .filter_map(|name| Some((name.strip_prefix(prefix)?.split('.').next()?.parse().ok()?, name)))
        .collect();
    found.sort_by_key(|(major, _)| Reverse(*major));
    found.into_iter().map(|(_, name)| name).collect()
}

/// The folder that `folder/initdb` is in, with links resolved, if it has all three programs. Links are resolved because /usr/local/bin may
/// have links to only some of the programs. Scripts do not count: they are wrappers, which may change the account or the arguments, and the
/// other folders have the programs themselves.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_comes_first_then_pg_config_then_the_known_folders() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let found = order(
            paths(&["/p1", "/p2"]),
            Some("/config".into()),
            vec![paths(&["/deb/18"]), paths(&["/brew/17"])],
        );
        assert_eq!(found, paths(&["/p1", "/p2", "/config", "/deb/18", "/brew/17"]));
    }

    #[test]
    fn versions_are_sorted_as_numbers_newest_first() {
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
    fn the_newest_tested_version_is_chosen_from_all_folders() {
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
}
