//! What a caller decides about a cluster.

use std::path::PathBuf;

/// For tests: no wait for the disk. A crash of the machine may lose the cluster, a crash of a process loses nothing.
pub const FAST_BUT_UNSAFE: &[(&str, &str)] = &[("fsync", "off"), ("full_page_writes", "off")];

/// Where a cluster lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In (or pointed to by) this data folder, from run to run; one server at a time.
    Folder(PathBuf),
    /// In a new temporary folder that goes when the cluster stops or this process dies. Any number of them may run at once.
    Temporary,
}

/// How to run a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it lives.
    pub home: Home,
    /// Folder of PostgreSQL's programs; none: the newest version on this machine. `ANNALS_POSTGRES` sets it.
    pub programs: Option<PathBuf>,
    /// Most connections at a time.
    pub max_connections: u16,
    /// Further lines of postgresql.conf, which win over the built-in ones. An adopted server keeps what it was started with.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// Durable, in a data folder.
    pub fn persistent(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            home: Home::Folder(data_dir.into()),
            programs: programs(),
            max_connections: 100,
            settings: Vec::new(),
        }
    }

    /// Durable as long as it lasts, in a temporary folder.
    pub fn ephemeral() -> Self {
        Self {
            home: Home::Temporary,
            programs: programs(),
            max_connections: 100,
            settings: Vec::new(),
        }
    }

    /// Adds lines of postgresql.conf, for example [`FAST_BUT_UNSAFE`].
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

fn programs() -> Option<PathBuf> {
    std::env::var_os("ANNALS_POSTGRES")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
}
