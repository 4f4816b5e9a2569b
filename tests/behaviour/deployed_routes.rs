//! What the routers serve is what the template deploys: a route that is missing there answers on a laptop only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A method and a path without its parameters' names.
type Route = (String, String);

fn nameless(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn served() -> BTreeSet<Route> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut routes = BTreeSet::new();
    for file in [
        "post-event/src/lib.rs",
        "audit-query/src/lib.rs",
        "csv-upload/src/handler.rs",
    ] {
        let source = fs::read_to_string(root.join("functions").join(file)).unwrap();
        for route in source.split(".route(").skip(1) {
            let path = route.split('"').nth(1).unwrap();
            for method in ["get", "post", "put", "patch", "delete"] {
                if route.contains(&format!(" {method}(")) || route.contains(&format!(".{method}(")) {
                    routes.insert((method.to_uppercase(), nameless(path)));
                }
            }
        }
    }
    routes
}

fn deployed() -> BTreeSet<Route> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let template = fs::read_to_string(root.join("template.yaml")).unwrap();
    let route = |line: &str| {
        let (_, rest) = line.split_once("Method: ")?;
        let (method, rest) = rest.split_once(", Path: '")?;
        Some((method.to_owned(), nameless(rest.split_once('\'')?.0)))
    };
    let routes: Vec<Route> = template.lines().filter_map(route).collect();
    let distinct: BTreeSet<Route> = routes.iter().cloned().collect();
    assert_eq!(routes.len(), distinct.len(), "a route is deployed twice: {routes:?}");
    distinct
}

#[test]
fn every_route_is_deployed_and_nothing_else() {
    let (served, deployed) = (served(), deployed());
    assert!(served.len() > 25, "only {} routes found", served.len());
    assert_eq!(served, deployed);
}
