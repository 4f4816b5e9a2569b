//! A proxy to PostgreSQL whose connections can fall silent: what is sent is accepted and arrives nowhere, as after a failover, or when a
//! firewall has dropped the state of an idle connection.

use std::io;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cluster::cluster;
use crate::listener::listen;

/// The proxy; its connections end with the test's runtime.
pub struct SilentProxy {
    port: u16,
    cut: watch::Sender<usize>,
}

impl SilentProxy {
    /// A proxy to the tests' cluster.
    pub async fn start() -> Self {
        let (cut, cuts) = watch::channel(0);
        let port = listen(move |client| carry(client, cuts.clone())).await;
        Self { port, cut }
    }

    /// The address that leads through this proxy.
    pub fn through(&self, url: &str) -> String {
        url.replace(&format!(":{}/", cluster().port()), &format!(":{}/", self.port))
    }

    /// Silences all existing connections. New ones work.
    pub fn silence(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut client: TcpStream, mut cuts: watch::Receiver<usize>) -> io::Result<()> {
    cuts.mark_unchanged();
    let mut server = TcpStream::connect(("127.0.0.1", cluster().port())).await?;
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut server) => ended.map(|_| ()),
        _ = cuts.changed() => {
            // Neither end is notified.
            std::future::pending::<()>().await;
            drop((client, server));
            Ok(())
        }
    }
}
