//! A line to PostgreSQL that goes dead without a word: what is sent on it is taken and arrives nowhere, as after a failover, or
//! when a firewall has forgotten a connection that slept.

use std::io;

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cluster::cluster;
use crate::listener::listen;

/// Connections through here; they end with the test's runtime.
pub struct Line {
    port: u16,
    cut: watch::Sender<usize>,
}

impl Line {
    /// A line to the tests' cluster.
    pub async fn start() -> Self {
        let (cut, cuts) = watch::channel(0);
        let port = listen(move |client| carry(client, cuts.clone())).await;
        Self { port, cut }
    }

    /// An address, led through here.
    pub fn through(&self, url: &str) -> String {
        url.replace(&format!(":{}/", cluster().port()), &format!(":{}/", self.port))
    }

    /// The connections that there are now go dead. New ones work.
    pub fn go_dead(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut client: TcpStream, mut cuts: watch::Receiver<usize>) -> io::Result<()> {
    cuts.mark_unchanged();
    let mut server = TcpStream::connect(("127.0.0.1", cluster().port())).await?;
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut server) => ended.map(|_| ()),
        _ = cuts.changed() => {
            // Neither end hears of it.
            std::future::pending::<()>().await;
            drop((client, server));
            Ok(())
        }
    }
}
