//! A proxy before PostgreSQL that strikes at the n-th statement: it cuts the connection that says it, or all of them at once and
//! for good, as the kernel does for a process that is killed. It also leads to another server when it is told to.

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
use crate::world::{World, url_at};

/// How long a server may take over what it was sent before a strike.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The connection that says the statement; its process lives, and may connect again.
    Connection,
    /// Every connection: whoever holds them is dead.
    Process,
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The statement has not arrived.
    Before,
    /// The server has done it and nobody hears of it.
    After,
}

/// A strike at the statement of this number, counted over all connections from 1.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    /// What.
    pub victim: Victim,
    /// When.
    pub when: When,
    /// Where.
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
    /// Rises whenever all connections are to end.
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
    /// A cutter before the tests' cluster, or before the PgBouncer that worlds go through.
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
                // Whoever ends it, both connections are closed with it.
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

    /// Another process's functions over the world's database, whose requests pass here as the runtime's login.
    pub fn before(&self, world: &World) -> World {
        let url = url_at(self.port, "annals_api", &world.database);
        World::directly_at(world.database.clone(), &url).seen_from(&world.superuser_url)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads new connections to another server, and ends those that there are.
    pub fn lead_to(&self, server: u16) {
        self.shared.server.store(server, Ordering::SeqCst);
        self.end_all();
    }

    /// Ends every connection now.
    pub fn end_all(&self) {
        self.shared.ended.send_modify(|count| *count += 1);
    }

    /// Arms a strike, and lets connections through again where the last victim was a process.
    pub fn arm(&self, strike: Strike) {
        *self.shared.armed.lock().expect("no panic elsewhere") = Armed {
            strike: Some(strike),
            ..Armed::default()
        };
        self.shared.struck.send_replace(false);
    }

    /// Takes back what was armed.
    pub fn disarm(&self) {
        *self.shared.armed.lock().expect("no panic elsewhere") = Armed::default();
    }

    /// Waits for the strike.
    pub async fn struck(&self) {
        let mut struck = self.shared.struck.subscribe();
        struck.wait_for(|struck| *struck).await.expect("the cutter lives");
    }

    /// Whether it has struck.
    pub fn has_struck(&self) -> bool {
        *self.shared.struck.borrow()
    }
}

impl Shared {
    /// Counts a statement; when the strike falls, if it is this one's.
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
    // Frame by frame, which without this would wait for acknowledgements of each.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_in, mut client) = client.into_split();
    let (server_in, mut server) = server.into_split();
    let (mut requests, mut answers) = (Frames::of_client(client_in), Frames::of_server(server_in));
    // The server's word that it is ready after the login answers nothing that is counted.
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
