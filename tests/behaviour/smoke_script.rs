//! `scripts/smoke` against a stack: a server, and a fake `aws` command that knows the stack's outputs, settings and secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Person, SECRET, World};
use tokio::net::TcpListener;
use tokio::process::Command;
use uuid::Uuid;

/// A folder that is deleted at the end of the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// A folder with a fake `aws` command for a stack with these settings.
fn aws_with(url: &str, parameters: &[(&str, &str)]) -> Folder {
    let folder = Folder(std::env::temp_dir().join(format!("annals-smoke-{}", Uuid::new_v4())));
    fs::create_dir(&folder.0).unwrap();
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value}))
        .collect();
    let outputs = json!([
        {"OutputKey": "ApiUrl", "OutputValue": url},
        {"OutputKey": "Secret", "OutputValue": "arn:of:the:secret"}
    ]);
    let stack = json!({"Stacks": [{"Outputs": outputs, "Parameters": parameters}]});
    let secret = json!({"SecretString": json!({"JWT_SECRET": SECRET}).to_string()});
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         'cloudformation describe-stacks --stack-name annals --output json') echo '{stack}';;\n\
         'secretsmanager get-secret-value --secret-id arn:of:the:secret --output json') echo '{secret}';;\n\
         *) echo \"aws $*\" >&2; exit 2;;\nesac\n"
    );
    let aws = folder.0.join("aws");
    fs::write(&aws, script).unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The path of the interpreter itself; a shim could change PATH.
async fn python() -> String {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    String::from_utf8(asked.await.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

/// Runs the script with these variables, and with the folder first in PATH.
async fn smoke(folder: &Folder, variables: &[(&str, &str)]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/smoke");
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(python().await);
    command.arg(script).env("PATH", path);
    for name in [
        "STACK",
        "ANNALS_URL",
        "TOKEN",
        "JWT_SECRET",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
    ] {
        command.env_remove(name);
    }
    let running = command.envs(variables.iter().copied()).output();
    tokio::time::timeout(Duration::from_secs(120), running)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smoke_script_posts_reads_back_and_sees_the_event_projected() {
    // The functions of the world require the issuer `tests`.
    let world = Arc::new(World::new().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1", listener.local_addr().unwrap());
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            loop {
                world.project().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let stack = |shared: &'static str| {
        let parameters = [
            ("JwtSharedSecret", shared),
            ("JwtIssuer", "tests"),
            ("JwtAudience", "authenticated"),
        ];
        aws_with(&url, &parameters)
    };
    let (signs, does_not) = (stack("true"), stack("false"));
    let token = Person::staff().token();
    for (folder, variables) in [
        (&signs, &[("STACK", "annals")][..]),
        (&does_not, &[("STACK", "annals"), ("TOKEN", &token[..])][..]),
        (&signs, &[("ANNALS_URL", &url[..]), ("TOKEN", &token[..])][..]),
        (
            &signs,
            &[
                ("ANNALS_URL", &url[..]),
                ("JWT_SECRET", SECRET),
                ("JWT_ISSUER", "tests"),
            ][..],
        ),
    ] {
        let output = smoke(folder, variables).await;
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        assert!(said.contains("read back and projected: it works"), "{said}");
    }
    for (folder, variables, advice) in [
        (&does_not, &[("STACK", "annals")][..], "JwtSharedSecret is false"),
        (&signs, &[][..], "say STACK, or ANNALS_URL"),
        (&signs, &[("ANNALS_URL", &url[..])][..], "say JWT_SECRET or TOKEN"),
    ] {
        let output = smoke(folder, variables).await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complaint.contains(advice), "{complaint}");
    }
}
