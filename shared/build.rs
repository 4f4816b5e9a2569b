//! A migration that is added is compiled in: the macro that embeds the folder notices changed files, but no new ones.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
