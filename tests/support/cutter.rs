//! A proxy before PostgreSQL that causes a fault at the n-th statement: it cuts the connection that sends it, or all connections permanently,
//! as when the kernel ends a killed process. It can also redirect connections to another server.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cluster::cluster;
use crate::frames::{Frame, Frames};
use crate::listener::listen;
use crate::pgbouncer::port_before;
use crate::world::World;

/// How long the server may take to finish its work before the connections are cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The connection that sends the statement. Its process lives, and may connect again.
    Connection,
    /// Every connection, as when their process is killed.
    Process,
}

/// When the connections are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the statement arrives.
    Before,
    /// After the server has done it and before the client gets an answer.
    After,
}

/// A fault at the statement with this number, counted from 1 over all connections.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    /// What is cut.
    pub victim: Victim,
    /// When.
    pub when: When,
    /// The number of the statement.
    pub statement: usize,
}

/// A running cutter; it ends with the test's runtime.
pub struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: AtomicU16,
    armed: Mutex<Armed>,
    /// Increased to end all connections.
    ended: watch::Sender<u64>,
    struck: watch::Sender<bool>,
}

#[derive(Default)]
struct Armed {
    strike: Option<Strike>,
    statements: usize,
    is_dead: bool,
}

impl Cutter {
    /// A cutter before the tests' cluster, or before its PgBouncer if worlds use one.
    pub async fn start() -> Self {
        Self::before_server(port_before(cluster().port())).await
    }

    /// A cutter before the server at this port.
    pub async fn before_server(server: u16) -> Self {
        let shared = Arc::new(Shared {
            server: AtomicU16::new(server),
            armed: Mutex::default(),
            ended: watch::Sender::new(0),
            struck: watch::Sender::new(false),
        });
        let served = Arc::clone(&shared);
        let port = listen(move |client| {
            let shared = Arc::clone(&served);
            async move {
                let mut ended = shared.ended.subscribe();
                // Whichever ends first, both connections are closed.
                tokio::select! {
                    _ended = serve(client, &shared) => {}
                    _ended = ended.changed() => {}
                }
            }
        });
        Self {
            port: port.await,
            shared,
        }
    }

    /// A world like the given one over the same database, as in another process, whose requests pass this cutter as `annals_api`.
    pub fn before(&self, world: &World) -> World {
        world.behind(self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Directs new connections to another server, and ends the existing ones.
    pub fn redirect_to(&self, server: u16) {
        self.shared.server.store(server, Ordering::SeqCst);
        self.end_all();
    }

    /// Ends every connection now.
    pub fn end_all(&self) {
        self.shared.ended.send_modify(|count| *count += 1);
    }

    /// Arms a fault, and allows connections again after the last victim was a process.
    pub fn arm(&self, strike: Strike) {
        *self.shared.armed.lock().expect("no panic elsewhere") = Armed {
            strike: Some(strike),
            ..Armed::default()
        };
        self.shared.struck.send_replace(false);
    }

    /// Disarms the fault.
    pub fn disarm(&self) {
        *self.shared.armed.lock().expect("no panic elsewhere") = Armed::default();
    }

    /// Waits until the fault happens.
    pub async fn struck(&self) {
        let mut struck = self.shared.struck.subscribe();
        struck.wait_for(|struck| *struck).await.expect("the cutter lives");
    }

    /// Whether the fault has happened.
    pub fn has_struck(&self) -> bool {
        *self.shared.struck.borrow()
    }
}

impl Shared {
    /// Counts a statement; returns whether and when the fault happens at it.
    fn falls_at(&self) -> Option<When> {
        let mut armed = self.armed.lock().expect("no panic elsewhere");
        armed.statements += 1;
        let strike = armed.strike?;
        (strike.statement == armed.statements).then_some(strike.when)
    }

    fn strike(&self) {
        let mut armed = self.armed.lock().expect("no panic elsewhere");
        let victim = armed.strike.take().map(|strike| strike.victim);
        armed.is_dead = victim == Some(Victim::Process);
        if armed.is_dead {
            self.ended.send_modify(|count| *count += 1);
        }
        self.struck.send_replace(true);
    }

    fn is_dead(&self) -> bool {
        self.armed.lock().expect("no panic elsewhere").is_dead
    }
}

async fn serve(client: TcpStream, shared: &Shared) -> io::Result<()> {
    if shared.is_dead() {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", shared.server.load(Ordering::SeqCst))).await?;
    // Frames are sent one by one; without this option each would wait for an acknowledgement.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_in, mut client) = client.into_split();
    let (server_in, mut server) = server.into_split();
    let (mut requests, mut answers) = (Frames::of_client(client_in), Frames::of_server(server_in));
    // The server's ReadyForQuery after the login answers no statement that is counted.
    let (mut owed, mut is_last) = (1_usize, false);
    loop {
        tokio::select! {
            frame = requests.next() => {
                let Some(frame) = frame? else { return Ok(()) };
                if frame.is_statement() {
                    match shared.falls_at() {
                        Some(When::Before) => {
                            shared.strike();
                            return Ok(());
                        }
                        Some(When::After) => is_last = true,
                        None => {}
                    }
                }
                owed += usize::from(frame.wants_answer());
                server.write_all(frame.bytes()).await?;
                if is_last && frame.wants_answer() {
                    let _done = tokio::time::timeout(PATIENCE, all_answered(&mut answers, owed)).await;
                    shared.strike();
                    return Ok(());
                }
            }
            frame = answers.next() => {
                let Some(frame) = frame? else { return Ok(()) };
                owed = owed.saturating_sub(usize::from(frame.ends_answer()));
                client.write_all(frame.bytes()).await?;
            }
        }
    }
}

async fn all_answered(answers: &mut Frames, mut owed: usize) -> io::Result<()> {
    while owed > 0 {
        let Some(frame) = answers.next().await? else {
            return Ok(());
        };
        owed -= usize::from(Frame::ends_answer(&frame));
    }
    Ok(())
}
