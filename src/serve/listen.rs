//! Connections: accepted, bounded in number and time, and ended in good order.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::routes::router;
use super::state::ServerState;

/// How long the head of a request may take, and a connection may lie idle.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// How long connections have to send their last answers when the server ends.
const LAST_TIME: Duration = Duration::from_secs(5);

/// How long nothing is accepted after the system has refused to.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is taken, or is none of this machine.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread or no timer.
    #[error("cannot start the server: {0}")]
    Start(#[source] io::Error),
}

/// HTTP on a thread of its own.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl HttpServer {
    /// Listens, and answers from now on. At most `connections` are open at once; others wait in the
    /// system's queue.
    ///
    /// # Errors
    /// It cannot listen there.
    pub fn start(
        address: SocketAddr,
        connections: usize,
        state: Arc<ServerState>,
    ) -> Result<Self, ListenError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ListenError::Start)?;
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.map_err(|source| ListenError::Bind { address, source })?;
        let address = listener.local_addr().map_err(ListenError::Start)?;
        let (stop, stopped) = watch::channel(false);
        let serve = move || serve(&runtime, listener, connections, router(state), stopped);
        let thread = std::thread::Builder::new().name("http".into()).spawn(serve);
        Ok(Self { address, stop, thread: thread.map_err(ListenError::Start)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing any more, lets connections send what they have, and ends.
    pub fn finish(self) {
        // Without a thread nobody hears it, and it has ended.
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    connections: usize,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        let room = Arc::new(Semaphore::new(connections));
        let mut open = JoinSet::new();
        loop {
            let next = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                _ = stopped.changed() => break,
            };
            match (permit, accepted) {
                (Ok(permit), Ok((stream, _))) => {
                    let (router, stopped) = (router.clone(), stopped.clone());
                    open.spawn(connection(stream, router, stopped, permit));
                }
                // Too many open files, most often: some will be closed in a moment.
                _ => tokio::time::sleep(PAUSE).await,
            }
            while open.try_join_next().is_some() {}
        }
        drop(listener);
        let all = async { while open.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_TIME, all).await;
    });
}

async fn connection(
    stream: TcpStream,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Events are small, and each is to go at once.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // What goes wrong with a connection concerns its client alone, who sees it.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|&stopped| stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
