//! `template.yaml` as text, for tests of the deployment.

use std::fs;
use std::path::Path;

/// The whole template.
pub fn template() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join("template.yaml")).unwrap()
}

/// A resource's lines.
pub fn resource(name: &str) -> String {
    let template = template();
    let (_, after) = template
        .split_once(&format!("\n  {name}:\n"))
        .unwrap_or_else(|| panic!("no {name}"));
    let lines = after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("   "));
    lines.collect::<Vec<_>>().join("\n")
}
