//! SIGINT and SIGTERM.
//!
//! The signals are caught before the cluster starts. A signal during the start is remembered, and the cluster is stopped in order as soon
//! as it has started. Otherwise a Ctrl-C in the first seconds would leave a PostgreSQL server running.

use crate::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit code of an interrupted process: 128 and the number of SIGINT, as shells do.
pub const INTERRUPTED: i32 = 130;

/// The request to end the process. All clones see it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// Catches the signals from now on. The first one requests the shutdown. The second one ends the process immediately; the next run
    /// adopts the cluster that is left running.
    pub fn listen() -> Result<Self, Error> {
        let catch = |kind| signal(kind).map_err(Error::io_doing("listen for signals"));
        let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        let (request, requested) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            tracing::info!("stopping; a second signal ends the process immediately");
            request.send_replace(true);
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(INTERRUPTED);
        });
        Ok(Self { requested })
    }

    /// A shutdown that is requested by this channel instead of signals.
    pub fn from_channel(requested: watch::Receiver<bool>) -> Self {
        Self { requested }
    }

    /// Waits until the shutdown is requested.
    pub async fn requested(&mut self) {
        // An error would mean that the sender is gone. The task that holds it waits for the signal, so it is not gone before.
        let _requested = self.requested.wait_for(|requested| *requested).await;
    }

    /// Whether the shutdown has been requested.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
