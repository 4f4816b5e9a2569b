//! SIGINT and SIGTERM, heard from the first moment to the last.
//!
//! The signals are caught before the cluster starts. One that comes while it starts is remembered and answered as soon as there
//! is something to stop in order; without that, a Ctrl-C in the first seconds would leave a server behind.

use crate::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that gave way to Ctrl-C, by the shells' custom.
pub const INTERRUPTED: i32 = 130;

/// Becomes true once, for everyone who holds a clone, when the process is to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
}

impl Shutdown {
    /// Starts to listen. The second signal ends the process on the spot: whoever asks twice does not want to wait, and the
    /// next run adopts what is left.
    pub fn listen() -> Result<Self, Error> {
        let catch = |kind| {
            signal(kind).map_err(|source| Error::Io {
                doing: "listen for signals".to_owned(),
                source,
            })
        };
        let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
        let (ask, asked) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            tracing::info!("stopping; ask again to leave at once");
            ask.send_replace(true);
            either(&mut interrupt, &mut terminate).await;
            std::process::exit(INTERRUPTED);
        });
        Ok(Self { asked })
    }

    /// Told by somebody else than signals.
    pub fn told_by(asked: watch::Receiver<bool>) -> Self {
        Self { asked }
    }

    /// Waits until the process is to end.
    pub async fn asked(&mut self) {
        // An error means that the listening task is gone, which it never is before the signal.
        let _heard = self.asked.wait_for(|asked| *asked).await;
    }

    /// Whether it is to end already.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
