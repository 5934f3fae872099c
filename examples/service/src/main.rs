//! Serves the routes of the `service` library on port 8080.

use std::{io, net::Ipv4Addr};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> io::Result<()> {
    // Asked for before the port opens: as process 1 of its container, a program
    // that has not asked for SIGTERM never gets it, and is killed after the grace period.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).await?;
    axum::serve(listener, service::router())
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
}
