//! A proxy before PostgreSQL that parses frames: it records them, delays answers, and breaks the connection of an append at a chosen moment.
//! If worlds use PgBouncer, the proxy is between Annals and PgBouncer.

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

/// A fault of the next append that passes, or of the next statement with another name. It happens once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks after the append was sent and before it arrives.
    CutBeforeAppend,
    /// The connection breaks after the append arrived and before its commit arrives (its Sync if the append is alone).
    CutBeforeCommit,
    /// The connection breaks after the commit and before its answer arrives.
    CutAfterCommit,
    /// The server crashes after the commit: it sends SQLSTATE 57P02, and nothing more.
    CrashAfterCommit,
    /// The pooler has no server connection for the append: it sends FATAL with Supavisor's three fields, and closes.
    PoolerFull,
    /// The pooler loses its server after the commit: it sends the same kind of FATAL.
    PoolerLostServer,
    /// The client loses its connection while the server is still working; the server continues and commits.
    CutWhileRunning,
    /// The client loses its connection, but what it sent arrives later, before its retry.
    ArrivesBeforeRetry,
    /// The same, but it arrives when [`Proxy::deliver_late`] is called.
    ArrivesLast,
}

/// A frame that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// A simple query of the client.
    Query(String),
    /// A statement of the client.
    Parse {
        /// The name of the prepared statement; empty if it has none.
        name: String,
        /// Its SQL.
        sql: String,
    },
    /// Any other frame of the client.
    Client(char),
    /// A frame of the server that was passed on to the client.
    Server(char),
}

impl Passed {
    /// Whether it is a frame of the client.
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

/// An armed fault and its statement.
struct Armed {
    fault: Fault,
    /// The first words of the statement.
    at: String,
}

/// Delayed frames, and the server connection on which they will arrive.
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
            // Whichever ends first, both connections are closed.
            async move { serve(client, &shared).await }
        });
        Self {
            port: port.await,
            shared,
        }
    }

    /// A world like the given one, over the same database, whose requests pass this proxy as `annals_api`.
    pub fn before(&self, world: &World) -> World {
        world.behind(self.port)
    }

    /// The address that leads through this proxy.
    pub fn through(&self, url: &str) -> String {
        url.replace(&format!(":{}/", cluster().port()), &format!(":{}/", self.port))
    }

    /// Arms a fault for the next append.
    pub fn arm(&self, fault: Fault) {
        self.arm_at(fault, "-- append_event");
    }

    /// Arms a fault for the next statement that begins with this text.
    pub fn arm_at(&self, fault: Fault, statement: &str) {
        let at = statement.to_owned();
        *self.shared.fault.lock().expect("no panic elsewhere") = Some(Armed { fault, at });
    }

    /// Whether the armed fault has happened.
    pub fn has_struck(&self) -> bool {
        self.shared.fault.lock().expect("no panic elsewhere").is_none()
    }

    /// From now on, answers within a transaction are passed on only after the client has sent its commit. A client that waits for one
    /// before would wait for ever.
    pub fn hold_answers_until_commit(&self) {
        self.shared.hold.store(true, Ordering::SeqCst);
    }

    /// From now on, [`Fault::CutWhileRunning`] waits for [`Proxy::cut`].
    pub fn hold_cut(&self) {
        self.shared.hold_cut.store(true, Ordering::SeqCst);
    }

    /// From now on, every login is refused with these error fields; with `None`, logins work again.
    pub fn refuse_logins(&self, fields: Option<&'static str>) {
        *self.shared.refuses_logins.lock().expect("no panic elsewhere") = fields;
    }

    /// Cuts the connection that waits for it.
    pub fn cut(&self) {
        self.shared.cut.notify_one();
    }

    /// The frames that have passed since the last call.
    pub fn take_record(&self) -> Vec<Passed> {
        std::mem::take(&mut self.shared.record.lock().expect("no panic elsewhere"))
    }

    /// Delivers the delayed frames, and waits until the server has handled them.
    pub async fn deliver_late(&self) {
        self.shared.deliver_late(false).await.expect("the server takes it");
    }
}

impl Shared {
    fn record(&self, passed: Passed) {
        self.record.lock().expect("no panic elsewhere").push(passed);
    }

    /// Returns the armed fault if it is for this statement, and disarms it.
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
    // Frames are sent one by one; without this option each would wait for an acknowledgement.
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
    // A transaction lasts from its begin to its commit. An append that is alone lasts until the Sync after its statement.
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
        // With an armed fault, the answer to the commit (after which the server is idle) must not be passed on in part.
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
                // The client must not notice the end of the connection by itself, so it is closed only at the client's next request.
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

/// Keeps the server's connection open until everything that it got is answered.
async fn finish(mut answers: Frames, _server: OwnedWriteHalf) -> io::Result<()> {
    while let Some(answer) = answers.next().await? {
        if answer.is_idle() {
            break;
        }
    }
    Ok(())
}

/// The error that a server sends to its sessions after another server process has crashed.
const CRASH: &str = "SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash of another server process\0\0";
/// The error of Supavisor: only severity, code and message.
pub const POOLER_FULL: &str = "SFATAL\0CXX000\0MMax client connections reached\0\0";
const POOLER_LOST_SERVER: &str = "SFATAL\0CXX000\0Mterminating connection due to a lost backend\0\0";

fn fatal(fields: &str) -> Vec<u8> {
    let length = u32::try_from(fields.len() + 4).expect("a short message");
    [b"E".as_slice(), &length.to_be_bytes(), fields.as_bytes()].concat()
}
