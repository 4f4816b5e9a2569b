//! The template deploys every route that the routers serve. By API Gateway's rules for selecting routes, each request reaches the
//! function that serves it, and a request that no router serves reaches a function that answers with a problem.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use annals_http::gateway::ENDINGS;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// A route of a function. `$default` matches every request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    function: &'static str,
    method: String,
    path: String,
}

const FUNCTIONS: [(&str, &str); 4] = [
    ("PostEvent", "post-event/src/lib.rs"),
    ("AuditQuery", "audit-query/src/lib.rs"),
    ("CsvUpload", "csv-upload/src/lib.rs"),
    (PAGES, "console/src/lib.rs"),
];

/// The function whose routes are pages for people. They are not part of the API, so the document does not describe them.
const PAGES: &str = "Console";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn served() -> Vec<Route> {
    let mut routes = Vec::new();
    for (function, file) in FUNCTIONS {
        let source = fs::read_to_string(root().join("functions").join(file)).unwrap();
        for route in source.split(".route(").skip(1) {
            let path = route.split('"').nth(1).unwrap();
            for method in METHODS {
                // A router answers HEAD wherever it answers GET.
                let call = method.replace("HEAD", "GET").to_lowercase();
                if route.contains(&format!(" {call}(")) || route.contains(&format!(".{call}(")) {
                    routes.push(Route {
                        function,
                        method: method.to_owned(),
                        path: path.to_owned(),
                    });
                }
            }
        }
    }
    assert!(routes.len() > 25, "only {} routes found", routes.len());
    routes
}

fn deployed() -> Vec<Route> {
    let template = fs::read_to_string(root().join("template.yaml")).unwrap();
    let (mut function, mut routes) = (None, Vec::new());
    for line in template.lines() {
        if let Some(name) = line.strip_prefix("  ").filter(|name| !name.starts_with([' ', '#'])) {
            let name = name.trim_end_matches(':');
            function = FUNCTIONS.iter().map(|(function, _)| *function).find(|f| *f == name);
        }
        if !line.contains("{ ApiId: !Ref Api") {
            continue;
        }
        let between = |start: &str, end: char| Some(line.split_once(start)?.1.split_once(end)?.0.to_owned());
        routes.push(Route {
            function: function.expect("a function's route"),
            method: between("Method: ", ',').unwrap_or_else(|| "ANY".to_owned()),
            path: between("Path: '", '\'').unwrap_or_else(|| "$default".to_owned()),
        });
    }
    routes
}

/// Whether API Gateway matches this path to the route, and how specific the match is. API Gateway prefers a full match to a greedy one, and
/// that to `$default`; among equal matches the one with more literal text, and then the one that names its method.
fn match_of(route: &Route, method: &str, path: &str) -> Option<(usize, usize, bool)> {
    if route.method != "ANY" && route.method != method {
        return None;
    }
    let named = route.method != "ANY";
    if route.path == "$default" {
        return Some((0, 0, named));
    }
    let (pattern, path): (Vec<&str>, Vec<&str>) = (route.path.split('/').collect(), path.split('/').collect());
    let greedy = pattern.last().is_some_and(|last| last.ends_with("+}"));
    let fits = if greedy {
        path.len() >= pattern.len()
    } else {
        path.len() == pattern.len()
    };
    let same = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    let literals = pattern.iter().filter(|segment| !segment.starts_with('{')).count();
    (fits && pattern.iter().zip(&path).all(same)).then_some((if greedy { 1 } else { 2 }, literals, named))
}

fn selected<'a>(routes: &'a [Route], method: &str, path: &str) -> &'a Route {
    let matching = routes
        .iter()
        .filter_map(|route| Some((match_of(route, method, path)?, route)));
    matching.max_by_key(|(rank, _)| *rank).expect("a $default route").1
}

/// The path of a request after API Gateway has decoded it. Ids that may contain a slash contain one.
fn requested(path: &str) -> String {
    let segment = |segment: &str| match segment {
        "{aggregate_id}" => "a/b".to_owned(),
        "{id}" if path.starts_with("/api/v1/audit/entity") || path.starts_with("/api/v1/audit/count") => {
            "a/b".to_owned()
        }
        other => other.trim_matches(['{', '}']).to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// So the document and the template have the same routes, too: the other tests here hold the template against the routers.
#[test]
fn the_document_describes_exactly_the_routes_that_are_served() {
    let served = served().into_iter().filter(|route| route.method != "HEAD");
    let (pages, api): (Vec<Route>, Vec<Route>) = served.partition(|route| route.function == PAGES);
    let served: BTreeSet<(String, String)> = api.into_iter().map(|route| (route.method, route.path)).collect();
    let paths = annals_openapi::document()["paths"].as_object().unwrap();
    let described = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), served);
    let pages: BTreeSet<(String, String)> = pages.into_iter().map(|page| (page.method, page.path)).collect();
    let page = |path: &str| ("GET".to_owned(), path.to_owned());
    assert_eq!(
        pages,
        BTreeSet::from([
            page("/docs"),
            page("/docs/"),
            page("/docs/assets/{name}"),
            page("/docs/problems"),
            page("/docs/problems/{code}"),
            page("/redoc"),
        ])
    );
}

#[test]
fn every_request_reaches_the_function_that_serves_it() {
    let deployed = deployed();
    for route in served() {
        for path in [requested(&route.path), route.path.replace(['{', '}'], "")] {
            let reached = selected(&deployed, &route.method, &path);
            // $default leads to a function that answers HEAD. It only does not know where an id with a slash ends.
            let may_be_default = route.method == "HEAD" && !path.contains("a/b");
            assert!(
                may_be_default || reached.path != "$default",
                "{} {path} has no route",
                route.method
            );
            assert_eq!(
                reached.function, route.function,
                "{} {path} by {reached:?}",
                route.method
            );
        }
    }
}

#[test]
fn every_deployed_route_serves_some_request() {
    let deployed = deployed();
    let distinct: BTreeSet<(&str, &str)> = deployed.iter().map(|r| (r.method.as_str(), r.path.as_str())).collect();
    assert_eq!(
        distinct.len(),
        deployed.len(),
        "a route is deployed twice: {deployed:?}"
    );
    let served = served();
    for route in deployed.iter().filter(|route| route.path != "$default") {
        let used = |s: &&Route| selected(&deployed, &s.method, &requested(&s.path)) == route;
        assert!(served.iter().any(|s| used(&s)), "{route:?} serves nothing");
    }
}

/// Only a router that knows the path can answer 405; any other router would answer 404.
#[test]
fn a_method_that_a_path_does_not_take_reaches_a_function_that_knows_the_path() {
    let (deployed, served) = (deployed(), served());
    for Route { path, .. } in &served {
        for method in METHODS {
            if served.iter().any(|route| route.path == *path && route.method == method) {
                continue;
            }
            let function = selected(&deployed, method, &requested(path)).function;
            let known = served
                .iter()
                .any(|route| route.path == *path && route.function == function);
            // The one exception: the route for writes of entities is greedy about what follows an id, and its function does not know `/diff`.
            let excepted = path.ends_with("/{aggregate_id}/diff") && ["POST", "PATCH", "DELETE"].contains(&method);
            assert!(known != excepted, "{method} {path} reaches {function}");
        }
    }
}

#[test]
fn a_path_that_no_router_serves_reaches_a_function_too() {
    let deployed = deployed();
    for path in [
        "/",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v1/events/a/b/c",
        "/favicon.ico",
    ] {
        for method in METHODS {
            assert_eq!(selected(&deployed, method, path).path, "$default", "{method} {path}");
        }
    }
}

#[test]
fn text_after_an_id_is_separated_from_the_id_again() {
    let served = served();
    let endings = served
        .iter()
        .filter_map(|route| Some(route.path.split_once("/{aggregate_id}")?.1));
    let endings: BTreeSet<&str> = endings.filter(|ending| !ending.is_empty()).collect();
    assert_eq!(endings, BTreeSet::from(ENDINGS));
}
