//! Options of a cluster.

use std::path::PathBuf;

/// Settings for tests: the server does not wait for the disk. A crash of the machine may destroy the cluster; a crash of a process loses
/// nothing.
pub const FAST_BUT_UNSAFE: &[(&str, &str)] = &[("fsync", "off"), ("full_page_writes", "off")];

/// Where a cluster is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In this data folder, or where its pointer says, from one run to the next. One server at a time.
    Folder(PathBuf),
    /// In a new temporary folder, which is removed when the cluster stops or this process dies. Any number of them may run concurrently.
    Temporary,
}

/// How to run a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster is kept.
    pub home: Home,
    /// Folder of PostgreSQL's programs, from `ANNALS_POSTGRES`. `None`: the newest version on this machine.
    pub programs: Option<PathBuf>,
    /// The server's `max_connections`.
    pub max_connections: u16,
    /// More settings of postgresql.conf, name and value. They override the built-in ones. An adopted server keeps the settings that it was
    /// started with.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A durable cluster in a data folder.
    pub fn persistent(data_dir: impl Into<PathBuf>) -> Self {
        Self::in_home(Home::Folder(data_dir.into()))
    }

    /// A cluster in a temporary folder, durable until it is removed.
    pub fn ephemeral() -> Self {
        Self::in_home(Home::Temporary)
    }

    fn in_home(home: Home) -> Self {
        let programs = std::env::var_os("ANNALS_POSTGRES").filter(|folder| !folder.is_empty());
        Self {
            home,
            programs: programs.map(PathBuf::from),
            max_connections: 100,
            settings: Vec::new(),
        }
    }

    /// Adds settings of postgresql.conf, for example [`FAST_BUT_UNSAFE`].
    #[must_use]
    pub fn with_settings(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        self
    }
}
