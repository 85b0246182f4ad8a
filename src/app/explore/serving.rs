//! `--serve PORT` in the window: OpenAI clients ask the model that is shown, and one watches it
//! answer.
//!
//! Comes in: the window's engine. Goes out: HTTP on a thread of its own, and the loop of requests
//! on another, which ends with the window.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use crate::app::cli::output::{print_note, print_warning};
use crate::batch::request::Defaults;
use crate::batch::{ModelText, Scheduler, TextModel};
use crate::engine::Engine;
use crate::model::PixelModel;
use crate::serve::{
    HttpServer, RequestQueue, ServedModel, ServerMetrics, ServerState, answer_queue,
};
use crate::world::think::{WindowEngine, WindowEngineEnd};

/// Requests that may wait: they are answered one after the other.
const QUEUE: usize = 64;
/// Connections that may be open.
const CONNECTIONS: usize = 128;

/// The server of a window.
pub(super) struct WindowServer {
    http: HttpServer,
    loop_thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    end: WindowEngineEnd,
}

impl WindowServer {
    /// Listens on this machine alone, and answers from now on.
    ///
    /// # Errors
    /// The port is taken, or the model has no usable tokenizer.
    pub fn start(port: u16, engine: WindowEngine, model: &PixelModel) -> anyhow::Result<Self> {
        let text = ModelText::new(model).context("the model's tokenizer cannot be used")?;
        let text = Arc::new(text);
        let queue = Arc::new(RequestQueue::new(QUEUE));
        let metrics = Arc::new(ServerMetrics::default());
        let state = Arc::new(ServerState::new(Arc::clone(&queue), Arc::clone(&metrics), None));
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let http = HttpServer::start(address, CONNECTIONS, Arc::clone(&state))
            .with_context(|| format!("--serve {port}"))?;
        state.open(ServedModel {
            text: Arc::clone(&text),
            name: text.name().to_owned(),
            adapters: Vec::new(),
            defaults: Defaults::default(),
            capacity: engine.capacity(),
            device: engine.device(),
            root: crate::pxi::hex(&model.header().root),
            created: jiff::Timestamp::now().as_second(),
        });
        print_note(&format!("the window answers at http://{}/v1", http.address()));
        let (stop, end) = (Arc::new(AtomicBool::new(false)), engine.ending());
        let stopped = Arc::clone(&stop);
        let loop_thread = std::thread::Builder::new()
            .name("requests".into())
            .spawn(move || answer(engine, &text, (&queue, &metrics), &stopped))
            .context("cannot start the loop of requests")?;
        Ok(Self { http, loop_thread, stop, end })
    }

    /// Ends with the window: who still waits hears that the server ends.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.end.end("the window was closed");
        // A thread that has panicked has said so.
        let _ = self.loop_thread.join();
        self.http.finish();
    }
}

/// Answers requests until the window ends.
fn answer(
    mut engine: WindowEngine,
    text: &ModelText,
    (queue, metrics): (&RequestQueue, &ServerMetrics),
    stop: &AtomicBool,
) {
    let mut scheduler = Scheduler::new(text, engine.capacity()).telling_scores();
    let grace = Duration::ZERO;
    let done =
        answer_queue(&mut scheduler, &mut engine, queue, metrics, stop, grace, print_warning);
    if let Err(error) = done
        && !stop.load(Ordering::Relaxed)
    {
        print_warning(&format!("no request is answered any more: {error}"));
    }
}
