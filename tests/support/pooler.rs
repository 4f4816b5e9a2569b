//! A small transaction pooler that does to a client's session what PgBouncer and Supavisor do, without those programs.
//!
//! Every client's login goes through to a server connection of its own. After that, all server connections serve all clients, and each
//! transaction uses another connection than its client's last one, if there is one. It always connects to the server itself, even if
//! worlds use PgBouncer, because PgBouncer prefers the connection that the client had.
//!
//! A strict pooler ends the client's turn with its transaction, as Supavisor was observed to do. Answers to what the client sent after
//! that without waiting are lost.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::cluster::cluster;
use crate::frames::Frames;
use crate::listener::listen;
use crate::world::World;

/// How long a strict pooler waits for what a client has sent after the end of a transaction.
const LOOK: Duration = Duration::from_millis(20);

/// A running pooler; it ends with the test's runtime.
pub struct Pooler {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    idle: Mutex<VecDeque<Server>>,
    is_strict: bool,
    logins: AtomicUsize,
    switches: AtomicUsize,
    lost: AtomicUsize,
}

struct Server {
    number: usize,
    answers: Frames,
    requests: OwnedWriteHalf,
}

impl Pooler {
    /// A pooler before the tests' cluster.
    pub async fn start() -> Self {
        Self::of(Shared::default()).await
    }

    /// A strict pooler.
    pub async fn start_strict() -> Self {
        let is_strict = true;
        Self::of(Shared {
            is_strict,
            ..Shared::default()
        })
        .await
    }

    async fn of(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let served = Arc::clone(&shared);
        let port = listen(move |client| {
            let shared = Arc::clone(&served);
            async move { serve(client, &shared).await }
        });
        Self {
            port: port.await,
            shared,
        }
    }

    /// A world like the given one, over the same database, whose requests pass this pooler as `annals_api`.
    pub fn before(&self, world: &World) -> World {
        world.behind(self.port)
    }

    /// Number of logins by clients.
    pub fn logins(&self) -> usize {
        self.shared.logins.load(Ordering::SeqCst)
    }

    /// Number of times a strict pooler has lost answers to what a client sent before its transaction had ended.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Number of transactions that ran on another server connection than their client's last one.
    pub fn switches(&self) -> usize {
        self.shared.switches.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// There are as many server connections as clients, and each client holds at most one, so one is free.
    fn another_than(&self, last: usize) -> Server {
        let mut idle = self.idle.lock().expect("no panic elsewhere");
        let place = idle.iter().position(|server| server.number != last).unwrap_or(0);
        idle.remove(place).expect("a server connection")
    }
}

async fn serve(client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (client_in, mut client) = client.into_split();
    let mut requests = Frames::of_client(client_in);
    let mut last = log_in(&mut requests, &mut client, shared).await?;
    while let Some(first) = requests.next().await? {
        if first.tag() == b'X' {
            return Ok(());
        }
        let mut server = shared.another_than(last);
        if server.number != last {
            shared.switches.fetch_add(1, Ordering::SeqCst);
            last = server.number;
        }
        let mut owed = usize::from(first.wants_answer());
        server.requests.write_all(first.bytes()).await?;
        loop {
            tokio::select! {
                frame = requests.next() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    owed += usize::from(frame.wants_answer());
                    server.requests.write_all(frame.bytes()).await?;
                }
                frame = server.answers.next() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    owed -= usize::from(frame.ends_answer());
                    let over = owed == 0 && frame.is_idle();
                    if shared.is_strict && frame.is_idle() && is_impatient(&mut requests, owed).await? {
                        shared.lost.fetch_add(1, Ordering::SeqCst);
                        client.write_all(frame.bytes()).await?;
                        // A client that waits for these answers now waits until its time limit.
                        while requests.next().await?.is_some() {}
                        return Ok(());
                    }
                    if over {
                        shared.idle.lock().expect("no panic elsewhere").push_back(server);
                        client.write_all(frame.bytes()).await?;
                        break;
                    }
                    client.write_all(frame.bytes()).await?;
                }
            }
        }
    }
    Ok(())
}

/// Whether the client has sent more than was answered at the end of a transaction. Terminate does not count.
async fn is_impatient(requests: &mut Frames, owed: usize) -> io::Result<bool> {
    if owed > 0 {
        return Ok(true);
    }
    match tokio::time::timeout(LOOK, requests.next()).await {
        Ok(frame) => Ok(frame?.is_some_and(|frame| frame.tag() != b'X')),
        Err(_quiet) => Ok(false),
    }
}

async fn log_in(requests: &mut Frames, client: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<usize> {
    let server = TcpStream::connect(("127.0.0.1", cluster().port())).await?;
    server.set_nodelay(true)?;
    let (server_in, mut server) = server.into_split();
    let mut answers = Frames::of_server(server_in);
    loop {
        tokio::select! {
            frame = requests.next() => match frame? {
                Some(frame) => server.write_all(frame.bytes()).await?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
            frame = answers.next() => {
                let Some(frame) = frame? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
                let done = frame.is_idle();
                if done {
                    let number = shared.logins.fetch_add(1, Ordering::SeqCst);
                    let ready = Server { number, answers, requests: server };
                    shared.idle.lock().expect("no panic elsewhere").push_back(ready);
                    client.write_all(frame.bytes()).await?;
                    return Ok(number);
                }
                client.write_all(frame.bytes()).await?;
            }
        }
    }
}
