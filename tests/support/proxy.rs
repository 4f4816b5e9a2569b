//! A proxy before PostgreSQL that reads the protocol's frames: it records what passes, holds answers back, and breaks the
//! connection of an append at a chosen moment. Where worlds go through PgBouncer, it stands between Annals and that.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::cluster::cluster;
use crate::frames::{Frame, Frames};
use crate::listener::listen;
use crate::pgbouncer::port_before;
use crate::world::World;

/// What happens to the next append that passes, or to the next statement of another name; only to that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks when the append is on its way and has not arrived.
    CutBeforeAppend,
    /// The connection breaks when the append has arrived and what commits it has not: its commit, or its Sync where it stands alone.
    CutBeforeCommit,
    /// The connection breaks when the commit is done and its answer is on the way.
    CutAfterCommit,
    /// The server dies when the commit is done: it says so (SQLSTATE 57P02), and nothing more.
    CrashAfterCommit,
    /// The pooler has no server connection for the append: it says FATAL with the three fields that Supavisor sends, and closes.
    PoolerFull,
    /// The pooler loses its server when the commit is done: it says so in the same way.
    PoolerLostServer,
    /// The client loses its connection while the server is still at work, which goes on and commits.
    CutWhileRunning,
    /// The client loses its connection, but what it sent arrives after all, before it tries again.
    ArrivesBeforeRetry,
    /// The same, but it arrives when [`Proxy::deliver_late`] says.
    ArrivesLast,
}

/// A frame that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// A simple query of the client.
    Query(String),
    /// A statement of the client.
    Parse {
        /// The statement's name on the server; empty if it has none.
        name: String,
        /// Its SQL.
        sql: String,
    },
    /// Any other frame of the client.
    Client(char),
    /// A frame of the server, when the client got it.
    Server(char),
}

impl Passed {
    /// Whether the client sent it.
    pub fn is_from_client(&self) -> bool {
        !matches!(self, Self::Server(_))
    }
}

/// A running proxy; it ends with the test's runtime.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    fault: Mutex<Option<Armed>>,
    hold: AtomicBool,
    hold_cut: AtomicBool,
    refuses_logins: Mutex<Option<&'static str>>,
    cut: Notify,
    record: Mutex<Vec<Passed>>,
    late: tokio::sync::Mutex<Option<Late>>,
}

/// A fault, and the statement that it waits for.
struct Armed {
    fault: Fault,
    /// How the statement begins.
    at: String,
}

/// Frames that are still on their way, and the server connection that they will arrive on.
struct Late {
    before_retry: bool,
    frames: Vec<Frame>,
    answers: Frames,
    server: OwnedWriteHalf,
}

impl Proxy {
    /// A proxy before the tests' cluster.
    pub async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        let port = listen(move |client| {
            let shared = Arc::clone(&served);
            // However it ends, both connections are closed with it.
            async move { serve(client, &shared).await }
        });
        Self {
            port: port.await,
            shared,
        }
    }

    /// A world like the given one, over the same database, whose requests pass this proxy as the runtime's login.
    pub fn before(&self, world: &World) -> World {
        World::directly_at(world.database.clone(), &self.through(&world.url_as("annals_api")))
    }

    /// An address, led through this proxy.
    pub fn through(&self, url: &str) -> String {
        url.replace(&format!(":{}/", cluster().port()), &format!(":{}/", self.port))
    }

    /// Arms a fault, which strikes at the next append.
    pub fn arm(&self, fault: Fault) {
        self.arm_at(fault, "-- append_event");
    }

    /// Arms a fault, which strikes at the next statement that begins so.
    pub fn arm_at(&self, fault: Fault, statement: &str) {
        let at = statement.to_owned();
        *self.shared.fault.lock().expect("no panic elsewhere") = Some(Armed { fault, at });
    }

    /// Whether the armed fault has struck.
    pub fn has_struck(&self) -> bool {
        self.shared.fault.lock().expect("no panic elsewhere").is_none()
    }

    /// From now on, answers within a transaction reach the client only after it has sent its commit: a client that waits for
    /// one before that waits for ever.
    pub fn hold_answers_until_commit(&self) {
        self.shared.hold.store(true, Ordering::SeqCst);
    }

    /// From now on, [`Fault::CutWhileRunning`] waits for [`Proxy::cut`].
    pub fn hold_cut(&self) {
        self.shared.hold_cut.store(true, Ordering::SeqCst);
    }

    /// From now on, every login is refused with these fields of an error, or with none any more.
    pub fn refuse_logins(&self, fields: Option<&'static str>) {
        *self.shared.refuses_logins.lock().expect("no panic elsewhere") = fields;
    }

    /// Cuts what waits for it.
    pub fn cut(&self) {
        self.shared.cut.notify_one();
    }

    /// What passed since the last call.
    pub fn take_record(&self) -> Vec<Passed> {
        std::mem::take(&mut self.shared.record.lock().expect("no panic elsewhere"))
    }

    /// Lets what is late arrive, and waits until the server is done with it.
    pub async fn deliver_late(&self) {
        self.shared.deliver_late(false).await.expect("the server takes it");
    }
}

impl Shared {
    fn record(&self, passed: Passed) {
        self.record.lock().expect("no panic elsewhere").push(passed);
    }

    /// The armed fault, if this is the statement that it waits for.
    fn strike(&self, frame: &Frame) -> Option<Fault> {
        let mut armed = self.fault.lock().expect("no panic elsewhere");
        armed.take_if(|armed| frame.begins(&armed.at)).map(|armed| armed.fault)
    }

    async fn deliver_late(&self, before_retry: bool) -> io::Result<()> {
        let mut slot = self.late.lock().await;
        if slot.as_ref().is_none_or(|late| late.before_retry != before_retry) {
            return Ok(());
        }
        let Some(mut late) = slot.take() else { return Ok(()) };
        for frame in &late.frames {
            late.server.write_all(frame.bytes()).await?;
        }
        finish(late.answers, late.server).await
    }
}

async fn serve(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port_before(cluster().port()))).await?;
    // Frame by frame, which without this would wait for acknowledgements of each.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_in, mut client) = client.into_split();
    let (server_in, mut server) = server.into_split();
    let (mut requests, mut answers) = (Frames::of_client(client_in), Frames::of_server(server_in));
    let refused = *shared.refuses_logins.lock().expect("no panic elsewhere");
    if let Some(fields) = refused {
        requests.next().await?;
        return client.write_all(&fatal(fields)).await;
    }
    let mut fault = None;
    // A transaction goes from its begin to its commit; that of an append that stands alone to the Sync after its statement.
    let (mut in_transaction, mut stands_alone, mut held) = (false, false, Vec::new());
    let mut on_the_way = Vec::new();
    loop {
        tokio::select! {
            frame = requests.next() => {
                let Some(frame) = frame? else { return Ok(()) };
                shared.record(frame.passed());
                let struck = shared.strike(&frame);
                if frame.is_append() || struck.is_some() {
                    stands_alone = !in_transaction;
                    shared.deliver_late(true).await?;
                    fault = struck;
                }
                let commits = frame.is_commit() || (stands_alone && frame.is_sync());
                if fault == Some(Fault::CutBeforeAppend) || (fault == Some(Fault::CutBeforeCommit) && commits) {
                    return Ok(());
                }
                if fault == Some(Fault::PoolerFull) {
                    client.write_all(&fatal(POOLER_FULL)).await?;
                    requests.next().await?;
                    return Ok(());
                }
                if let Some(Fault::ArrivesBeforeRetry | Fault::ArrivesLast) = fault {
                    on_the_way.push(frame);
                    if commits {
                        let before_retry = fault == Some(Fault::ArrivesBeforeRetry);
                        *shared.late.lock().await = Some(Late { before_retry, frames: on_the_way, answers, server });
                        return Ok(());
                    }
                    continue;
                }
                server.write_all(frame.bytes()).await?;
                if fault == Some(Fault::CutWhileRunning) && commits {
                    if shared.hold_cut.load(Ordering::SeqCst) {
                        shared.cut.notified().await;
                    }
                    tokio::spawn(finish(answers, server));
                    return Ok(());
                }
                in_transaction = (in_transaction || frame.is_begin() || frame.is_append() || struck.is_some()) && !commits;
                stands_alone &= in_transaction;
            }
            frame = answers.next() => {
                let Some(frame) = frame? else { return Ok(()) };
                held.push(frame);
            }
        }
        if in_transaction && shared.hold.load(Ordering::SeqCst) {
            continue;
        }
        // With a fault about to strike, the answer to the commit (the server is idle after it) must not get through in part.
        if fault.is_some() && !held.last().is_some_and(Frame::ends_answer) {
            continue;
        }
        match fault {
            Some(Fault::CutAfterCommit) if held.iter().any(Frame::is_idle) => return Ok(()),
            Some(Fault::CrashAfterCommit | Fault::PoolerLostServer) if held.iter().any(Frame::is_idle) => {
                let words = match fault {
                    Some(Fault::CrashAfterCommit) => CRASH,
                    _ => POOLER_LOST_SERVER,
                };
                client.write_all(&fatal(words)).await?;
                // The connection's end is on its way as long as nobody uses it: who does has not listened.
                requests.next().await?;
                return Ok(());
            }
            _ => {}
        }
        for frame in held.drain(..) {
            shared.record(frame.passed_back());
            client.write_all(frame.bytes()).await?;
        }
    }
}

/// Keeps the server's connection until it has answered all that it got.
async fn finish(mut answers: Frames, _server: OwnedWriteHalf) -> io::Result<()> {
    while let Some(answer) = answers.next().await? {
        if answer.is_idle() {
            break;
        }
    }
    Ok(())
}

/// What a server says when another of its processes has crashed.
const CRASH: &str = "SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash of another server process\0\0";
/// What Supavisor says: severity, code and message, no more.
pub const POOLER_FULL: &str = "SFATAL\0CXX000\0MMax client connections reached\0\0";
const POOLER_LOST_SERVER: &str = "SFATAL\0CXX000\0Mterminating connection due to a lost backend\0\0";

fn fatal(fields: &str) -> Vec<u8> {
    let length = u32::try_from(fields.len() + 4).expect("a short message");
    [b"E".as_slice(), &length.to_be_bytes(), fields.as_bytes()].concat()
}
