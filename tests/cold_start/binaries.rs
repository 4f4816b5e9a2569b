//! The functions as they are deployed: built alone, since what the tests beside them need of a crate would be built in.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Bytes that a zip file with one entry has beside its data: two headers with the name, and the end of the directory.
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

/// Where the programs are.
pub struct Binaries {
    folder: PathBuf,
}

/// Whether to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Before anything is measured.
    First,
    /// What is there is measured.
    Never,
}

impl Binaries {
    /// The functions, and the one that they are compared with.
    pub fn of(build: Build) -> Self {
        if build == Build::First {
            cargo(&[
                "-p",
                "post-event",
                "-p",
                "audit-query",
                "-p",
                "csv-upload",
                "-p",
                "projector",
                "-p",
                "migrate",
            ]);
            cargo(&["-p", "tests", "--bin", "hello"]);
        }
        let own = std::env::current_exe().expect("our own path");
        let target = own.ancestors().nth(2).expect("the target folder");
        Self {
            folder: target.join("release"),
        }
    }

    /// A program of this name.
    pub fn path(&self, binary: &str) -> PathBuf {
        self.folder.join(binary)
    }

    /// Bytes of a zip file that holds the program, as `zip -9` packs it.
    pub fn zipped(&self, binary: &str) -> usize {
        let program = fs::read(self.path(binary)).expect("the program");
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&program).expect("memory takes it");
        packed.finish().expect("memory takes it").len() + ZIP_FRAME
    }
}

fn cargo(what: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet"]).args(what);
    assert!(
        build.status().expect("cargo runs").success(),
        "the functions do not build"
    );
}
