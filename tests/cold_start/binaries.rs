//! The functions' binaries as deployed: built on their own, because otherwise features that the tests need would be compiled in, and in their
//! folder, where Cargo finds the settings for functions (functions/.cargo/config.toml).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Bytes of a zip file with one entry in addition to its data: two headers with the name, and the end of the directory.
const ZIP_FRAME: usize = 30 + 46 + 22 + 2 * "bootstrap".len();

/// The folder of the programs.
pub struct Binaries {
    folder: PathBuf,
}

/// Whether to build the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Build them before measuring.
    First,
    /// Measure what exists.
    Never,
}

impl Binaries {
    /// Prepares the functions and the hello-world function.
    pub fn of(build: Build) -> Self {
        let own = std::env::current_exe().expect("our own path");
        // A folder of their own: with other settings, programs of the same name are in the usual one.
        let target = own.ancestors().nth(2).expect("the target folder").join("functions");
        if build == Build::First {
            let functions = [
                "-p",
                "post-event",
                "-p",
                "audit-query",
                "-p",
                "csv-upload",
                "-p",
                "annals-console",
                "-p",
                "importer",
                "-p",
                "projector",
                "-p",
                "migrate",
            ];
            cargo(&functions, &target);
            cargo(&["-p", "tests", "--bin", "hello"], &target);
        }
        Self {
            folder: target.join("release"),
        }
    }

    /// The path of the program with this name.
    pub fn path(&self, binary: &str) -> PathBuf {
        self.folder.join(binary)
    }

    /// Size of a zip file with the program, packed as by `zip -9`.
    pub fn zipped(&self, binary: &str) -> usize {
        let program = fs::read(self.path(binary)).expect("the program");
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&program).expect("memory takes it");
        packed.finish().expect("memory takes it").len() + ZIP_FRAME
    }
}

fn cargo(what: &[&str], target: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--quiet"]).args(what);
    build.arg("--target-dir").arg(target);
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions"));
    assert!(
        build.status().expect("cargo runs").success(),
        "the functions do not build"
    );
}
