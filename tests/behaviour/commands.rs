//! The commands of `annals-local`, in the order in which a new user runs them.

use std::process::Output;

use tests::{DataDir, Local, annals_local};

/// Without a port: the commands find the server by its data folder.
fn run(data_dir: &DataDir, command: &str) -> Output {
    annals_local(&data_dir.0).arg(command).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_fills_a_new_folder_and_verify_finds_no_difference_before_and_after_a_rebuild() {
    let data_dir = DataDir::fresh();
    let mut server = Local::start(&data_dir.0);
    for command in ["demo", "verify", "rebuild", "verify"] {
        let output = run(&data_dir, command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
    }
    assert!(server.stop());
}
