//! The wish to stop: set once by a signal, seen by everything that waits.
//! Depends on: tokio.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Shared by everything that runs; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    once: CancellationToken,
    twice: CancellationToken,
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on. The first asks everything to end; the second ends it at once.
    ///
    /// # Errors
    /// What the system said when a handler could not be installed.
    pub fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut stream = signal(kind)?;
            let heard = interrupt.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    heard.signal.store(kind.as_raw_value(), Ordering::SeqCst);
                    if heard.once.is_cancelled() {
                        heard.twice.cancel();
                    }
                    heard.once.cancel();
                }
            });
        }
        Ok(interrupt)
    }

    /// The same wish for a part of the work, which can also be stopped by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            once: self.once.child_token(),
            twice: self.twice.child_token(),
            signal: Arc::clone(&self.signal),
        }
    }

    /// Stops this part of the work, without a signal.
    pub fn stop(&self) {
        self.once.cancel();
    }

    /// Whether this part of the work is to end, for whatever reason.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.once.is_cancelled()
    }

    /// Resolves when the first signal has come.
    pub async fn requested(&self) {
        self.once.cancelled().await;
    }

    /// Resolves when a second signal has come.
    pub async fn insisted(&self) {
        self.twice.cancelled().await;
    }

    /// The signal that was heard, if any.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        let signal = self.signal.load(Ordering::SeqCst);
        (self.once.is_cancelled() && signal != 0).then_some(signal)
    }
}
