//! A large sales file to committed events, compared with COPY of the same events into the reference table.
//!
//! The importer is a separate process (this program again), so that its memory can be measured: its peak is `VmHWM` in `/proc`. Its time
//! includes everything that it does: reading the file twice, lookups, checks against the catalog's schemas, appends. Projecting the
//! events is measured elsewhere.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;

use annals_config::DatabaseConfig;
use annals_import::CONNECTIONS;
use annals_import::Importer;
use annals_queue::Queue;
use annals_storage::{Folder, Storage};
use annals_store::{Store, redacted_error};
use futures_util::{SinkExt, TryStreamExt};
use serde_json::json;
use tests::{Asked, Figure, Line, Person, Phase, Target, World, connect};
use tokio::process::Command;
use uuid::Uuid;

use crate::site::Site;

/// Default number of rows in the file.
pub const ROWS: i64 = 1_000_000;
/// The first argument that makes this program the importer; the database, the folder and the upload follow.
const IMPORTER: &str = "csv-importer";
/// How often the importer continues after an error.
const ATTEMPTS: usize = 10;
/// The most memory that the importer may use, in MiB.
const MEMORY: f64 = 64.0;
/// Rows that an inspection must read in a second: a million in ten.
const INSPECTED: f64 = 100_000.0;
/// The imported events as rows of the reference table. A stream's id there is the end of the name, so it sorts as in Annals.
const EVENTS: &str = "select id, event_number, event_type, aggregate_type, \
     encode(convert_to(right(repeat('0', 16) || aggregate_id, 16), 'UTF8'), 'hex')::uuid, aggregate_version, data, metadata, created_by, user_id, \
     \"timestamp\", created_at from annals.events where event_type = 'sale.created' order by event_number";
/// The columns of those rows.
const COLUMNS: &str = "id, event_number, event_type, aggregate_type, aggregate_id, aggregate_version, data, metadata, created_by, user_id, \
     timestamp, created_at";

/// The ids of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// Each row has its own id.
    OfTheirOwn,
    /// Rows have no id, and are identified by their content.
    None,
}

/// Runs the importer if this process is one. Returns whether it was.
pub async fn is_importer() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, url, folder, upload] = arguments.as_slice() else {
        return false;
    };
    if name != IMPORTER {
        return false;
    }
    let store = Store::new(&DatabaseConfig {
        url: url.clone(),
        pool_size: CONNECTIONS,
    });
    let folder = Folder::new(PathBuf::from(folder), String::new(), Vec::new());
    let storage = Storage::Folder(folder);
    let importer = Importer::new(store.expect("an address"), Queue::Unconfigured, storage);
    let started = Instant::now();
    let upload: Uuid = upload.parse().expect("an upload");
    // Errors are printed. The importer then continues, as after the next scheduled run, and its time keeps counting.
    let mut attempts = 0;
    let outcome = loop {
        attempts += 1;
        match importer.import(upload, None).await {
            Ok(outcome) => break outcome,
            Err(error) if attempts < ATTEMPTS => println!("  left: {}", redacted_error(&error)),
            Err(error) => panic!("no import after {attempts} attempts: {}", redacted_error(&error)),
        }
    };
    println!("{outcome:?} {} {}", started.elapsed().as_secs_f64(), most_resident());
    true
}

/// The peak memory of this process, in KiB.
fn most_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default()
}

/// Measures files with and without ids.
pub async fn measure(site: &Site, rows: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    for (ids, name, file) in [
        (Ids::OfTheirOwn, "csv_named", "with ids"),
        (Ids::None, "csv_unnamed", "without ids"),
    ] {
        let url = site.fresh_database(name).await;
        let world = World::at(name.to_owned(), &url);
        let folder = std::env::temp_dir().join(format!("annals-bench-{}", Uuid::new_v4()));
        fs::create_dir_all(&folder).expect("a folder");
        println!("{rows} rows {file}");
        let (inspected, inspecting) = inspect(site, &world, &url, &folder, (rows, ids)).await;
        let (first, mebibytes) = import(site, &world, &url, &folder, (rows, ids)).await;
        let (again, _) = import(site, &world, &url, &folder, (rows, ids)).await;
        let reference = site.reference_database(&format!("{name}_reference")).await;
        let copied = copy(site, &url, &reference, &folder).await;
        fs::remove_dir_all(&folder).expect("the folder goes");
        let work = format!("CSV of {rows} rows {file}");
        let [limit, used, inspecting, least] = [MEMORY, mebibytes, inspecting, INSPECTED].map(|rate| Figure {
            rate,
            ..Figure::default()
        });
        lines.extend([
            Line::rate(format!("{work} inspected"), "rows/s", least, inspected).with_target(Target::CSV_INSPECTED),
            Line::cost(
                format!("{work} inspected, the importer's memory"),
                "MiB",
                limit,
                inspecting,
            )
            .with_target(Target::CSV_MEMORY),
            Line::rate(format!("{work} to committed events"), "events/s", copied, first).with_target(Target::CSV),
            Line::cost(format!("{work}, the importer's memory"), "MiB", limit, used).with_target(Target::CSV_MEMORY),
            Line::alone(format!("{work} again, every row known"), "rows/s", again),
        ]);
    }
    lines
}

/// Inspects a file, and returns the rate and the most memory, in MiB, that the importer used.
async fn inspect(site: &Site, world: &World, url: &str, folder: &Path, file: (i64, Ids)) -> (Figure, f64) {
    let staff = Person::staff();
    let asked = world
        .ask_for_upload(&staff, json!({"dataset": "sales", "start": "confirmed"}))
        .await;
    let body = json!({"upload_id": asked.id});
    world.post(&staff, "/data/inspect", body).await.expect(202);
    process(site, url, folder, &asked, file).await
}

/// Imports a file, and returns the same.
async fn import(site: &Site, world: &World, url: &str, folder: &Path, file: (i64, Ids)) -> (Figure, f64) {
    let asked = world
        .ask_for_upload(&Person::staff(), json!({"dataset": "sales"}))
        .await;
    process(site, url, folder, &asked, file).await
}

/// Writes the file of an upload and starts the importer.
async fn process(site: &Site, url: &str, folder: &Path, asked: &Asked, (rows, ids): (i64, Ids)) -> (Figure, f64) {
    write_file(&folder.join(asked.id.to_string()), rows, ids).expect("a file");
    let phase = Phase::start(site.postmaster);
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([IMPORTER, url])
        .arg(folder)
        .arg(asked.id.to_string())
        .output()
        .await
        .expect("the importer");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (left, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", &text));
    if !left.is_empty() {
        println!("{left}");
    }
    let words: Vec<&str> = last.split_whitespace().collect();
    let [outcome, seconds, resident] = words.as_slice() else {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("the importer ends with {}: {text:?}\n{said}", output.status)
    };
    let seconds: f64 = seconds.parse().expect("seconds");
    let resident: f64 = resident.parse().expect("kilobytes");
    println!("  {outcome} in {seconds:.1} s");
    let count = usize::try_from(rows).expect("rows");
    (phase.end_with_rate(count, rows as f64 / seconds), resident / 1024.0)
}

/// Sales as a shop's system would export them.
fn write_file(path: &Path, rows: i64, ids: Ids) -> std::io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    let id = |row: i64| match ids {
        Ids::OfTheirOwn => format!("S-{row:08},"),
        Ids::None => String::new(),
    };
    let column = if ids == Ids::None { "" } else { "sale_id," };
    writeln!(
        file,
        "{column}sale_date,amount,customer_id,product,quantity,unit_price,category,currency"
    )?;
    for row in 0..rows {
        let (year, month, day) = (2015 + row % 10, row % 12 + 1, row % 28 + 1);
        let (units, cents) = (row * 37 % 90_000, row * 13 % 100);
        writeln!(
            file,
            "{}{year}-{month:02}-{day:02},{units}.{cents:02},CUST-{:05},\"Bush Somerset Collection Bookcase, no {}\",{},{}.5,Furniture,USD",
            id(row),
            row % 50_000,
            row % 1_000,
            row % 9 + 1,
            row % 700,
        )?;
    }
    file.flush()
}

/// Copies the imported events through a file into the reference table.
async fn copy(site: &Site, from: &str, to: &str, folder: &Path) -> Figure {
    let source = connect(from).await;
    let path = folder.join("rows");
    let mut file = tokio::io::BufWriter::new(tokio::fs::File::create(&path).await.expect("a file"));
    let sql = format!("copy ({EVENTS}) to stdout");
    let mut out = pin!(source.copy_out(&sql).await.expect("rows"));
    while let Some(bytes) = out.try_next().await.expect("rows") {
        tokio::io::AsyncWriteExt::write_all(&mut file, &bytes)
            .await
            .expect("the disk takes them");
    }
    tokio::io::AsyncWriteExt::flush(&mut file)
        .await
        .expect("the disk takes them");
    let target = connect(to).await;
    let phase = Phase::start(site.postmaster);
    let sql = format!("copy events ({COLUMNS}) from stdin");
    let mut sink = pin!(target.copy_in(&sql).await.expect("COPY"));
    let mut file = tokio::fs::File::open(&path).await.expect("the file");
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = tokio::io::AsyncReadExt::read(&mut file, &mut piece)
            .await
            .expect("rows");
        if read == 0 {
            break;
        }
        let bytes = bytes::Bytes::copy_from_slice(&piece[..read]);
        sink.send(bytes).await.expect("COPY takes rows");
    }
    let copied = sink.finish().await.expect("COPY ends");
    phase.end(copied as usize)
}
