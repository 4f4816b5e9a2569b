//! Where it happens: a server, processes before it that can be killed, and what clients were told.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tests::{Cutter, Ledger, Server, World};

/// Processes that answer requests.
const PROCESSES: usize = 3;
/// Connections: those of all pools, and the tests' own.
const CONNECTIONS: u16 = 250;

/// A process: its functions, and the way to its death.
pub struct Process {
    pub cutter: Cutter,
    pub world: World,
}

/// All of it.
pub struct Site {
    pub server: Server,
    /// Undisturbed.
    pub world: World,
    /// Those that answer requests; the last one projects and rebuilds.
    pub processes: Vec<Process>,
    pub ledger: Ledger,
    /// What was acknowledged otherwise than as an event.
    pub told: Mutex<Told>,
}

/// Acknowledgements of the generic API and of uploads.
#[derive(Default)]
pub struct Told {
    /// New phones of customers, each meant once.
    pub phones: BTreeSet<String>,
    /// Ids of sales.
    pub sales: BTreeSet<String>,
}

impl Site {
    pub async fn start() -> Self {
        let server = Server::start(CONNECTIONS).await;
        let world = server.world();
        let mut processes = Vec::new();
        for _ in 0..=PROCESSES {
            let cutter = Cutter::before_server(server.functions_port()).await;
            let world = cutter.before(&world);
            processes.push(Process { cutter, world });
        }
        Self {
            server,
            world,
            processes,
            ledger: Ledger::default(),
            told: Mutex::default(),
        }
    }

    /// The one that projects and rebuilds.
    pub fn projecting(&self) -> &Process {
        &self.processes[PROCESSES]
    }

    /// One that answers requests.
    pub fn answering(&self, number: usize) -> &Process {
        &self.processes[number % PROCESSES]
    }

    /// Asks the oracle, which panics, and then about what it does not know.
    pub async fn judge(&self) -> Result<String, String> {
        self.world.assert_sound(&self.ledger).await;
        let log = self.world.superuser().await;
        let phones = "select data #>> '{changes,phone,new}' from annals.events where event_type = 'customer.updated'";
        let rows = log.query(phones, &[]).await.expect("the log");
        let mut there = BTreeSet::new();
        for row in rows {
            let Some(phone) = row.get::<_, Option<String>>(0) else {
                continue;
            };
            if !there.insert(phone.clone()) {
                return Err(format!("a change was made twice: {phone}"));
            }
        }
        let sales = "select aggregate_id from annals.heads where aggregate_type = 'sale' and version = 1";
        let sales: BTreeSet<String> = log
            .query(sales, &[])
            .await
            .expect("the log")
            .iter()
            .map(|row| row.get(0))
            .collect();
        let told = self.told.lock().expect("no panic elsewhere");
        if let Some(lost) = told.phones.difference(&there).next() {
            return Err(format!("an acknowledged change is lost: {lost}"));
        }
        if let Some(lost) = told.sales.difference(&sales).next() {
            return Err(format!("a row of an upload is lost or doubled: {lost}"));
        }
        Ok(format!(
            "{} events, {} changes and {} rows of uploads were acknowledged, and are there once",
            self.ledger.len(),
            told.phones.len(),
            told.sales.len()
        ))
    }
}
