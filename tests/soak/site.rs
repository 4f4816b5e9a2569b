//! The server, the processes in front of it that can be killed, and what was acknowledged to clients.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tests::{Cutter, Ledger, Server, World};

/// Number of processes that answer requests.
const PROCESSES: usize = 3;
/// Connections of all pools and of the tests themselves.
const CONNECTIONS: u16 = 250;

/// A process: its functions, and the cutter that kills it.
pub struct Process {
    pub cutter: Cutter,
    pub world: World,
}

/// Everything that a soak uses.
pub struct Site {
    pub server: Server,
    /// Functions that are never killed.
    pub world: World,
    /// The processes; the last one projects and rebuilds, the others answer requests.
    pub processes: Vec<Process>,
    pub ledger: Ledger,
    /// What was acknowledged other than as an event.
    pub other_acknowledgements: Mutex<OtherAcknowledgements>,
}

/// Acknowledgements of the generic API and of uploads.
#[derive(Default)]
pub struct OtherAcknowledgements {
    /// New phone numbers of customers, each used once.
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
            other_acknowledgements: Mutex::default(),
        }
    }

    /// The process that projects and rebuilds.
    pub fn projecting(&self) -> &Process {
        &self.processes[PROCESSES]
    }

    /// A process that answers requests.
    pub fn answering(&self, number: usize) -> &Process {
        &self.processes[number % PROCESSES]
    }

    /// Runs the oracle, which panics on a difference, and then checks the acknowledgements that the oracle does not know.
    pub async fn judge(&self) -> Result<String, String> {
        self.world.assert_valid(&self.ledger).await;
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
        let other_acknowledgements = self.other_acknowledgements.lock().expect("no panic elsewhere");
        if let Some(lost) = other_acknowledgements.phones.difference(&there).next() {
            return Err(format!("an acknowledged change is lost: {lost}"));
        }
        if let Some(lost) = other_acknowledgements.sales.difference(&sales).next() {
            return Err(format!("a row of an upload is lost or doubled: {lost}"));
        }
        Ok(format!(
            "{} events, {} changes and {} rows of uploads were acknowledged, and are there once",
            self.ledger.len(),
            other_acknowledgements.phones.len(),
            other_acknowledgements.sales.len()
        ))
    }
}
