//! Makes Cargo compile the crate again when a migration is added: the macro that embeds the folder notices changed files, but no new
//! ones. It also passes on the number of the newest migration, for programs that need the number but not the migrations.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
    println!("cargo:rustc-env=ANNALS_NEWEST_MIGRATION={}", newest());
}

fn newest() -> u32 {
    let Ok(folder) = std::fs::read_dir("../../migrations") else {
        return 0;
    };
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| number(&name)).max().unwrap_or(0)
}

/// `V7__module_helpers.sql` is 7.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix('V')?.split_once("__")?.0.parse().ok()
}
