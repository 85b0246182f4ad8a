//! Paths to answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::api::{ApiError, ApiRequest, no_model, read_request};
use super::chunks::ChunkWriter;
use super::metrics::{MetricFacts, RequestOutcome};
use super::queue::{FinishedReply, QueueRefusal, QueuedRequest, RequestReply};
use super::state::{ServedModel, ServerState};
use super::vocabulary;
use crate::batch::input::MAX_LINE_IN_BYTES;
use crate::batch::output::{ResultContext, response_body};
use crate::batch::request::Endpoint;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(60);

/// How much of a body that is too large is read and dropped, so that its sender reads the answer.
const MOST_DROPPED_IN_BYTES: usize = 64 << 20;

/// How often a stream says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// Bodies from here on are read on another thread: those of all others would wait.
const LARGE_IN_BYTES: usize = 64 << 10;

/// The header that names fields without effect.
const IGNORED: HeaderName = HeaderName::from_static("x-ignored-fields");

type Shared = State<Arc<ServerState>>;

/// All paths of a server.
pub(super) fn router(state: Arc<ServerState>) -> Router {
    let chat = |state: Shared, request| complete(state, Endpoint::ChatCompletions, request);
    let completion = |state: Shared, request| complete(state, Endpoint::Completions, request);
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completion))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/tokenizer_info", get(tokenizer_info))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/props", get(props))
        .fallback(|request: HttpRequest| async move {
            let message = format!("there is no {} here", request.uri().path());
            ApiError::new(404, "not_found", message)
        })
        .method_not_allowed_fallback(|request: HttpRequest| async move {
            let message = format!("{} does not take {}", request.uri().path(), request.method());
            ApiError::new(405, "method_not_allowed", message)
        })
        .layer(from_fn_with_state(Arc::clone(&state), check_key))
        .with_state(state)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_response(status, self.body().to_string());
        let headers = response.headers_mut();
        match self.status {
            401 => {
                drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            429 | 503 => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        response
    }
}

fn json_response(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn check_key(State(state): Shared, request: HttpRequest, next: Next) -> Response {
    if let Some(keys) = &state.keys
        && request.uri().path() != "/health"
    {
        let value = request.headers().get(header::AUTHORIZATION);
        if !keys.allows(value.and_then(|value| value.to_str().ok())) {
            let message = "a key is missing or wrong; send one as `Authorization: Bearer KEY`";
            return ApiError::new(401, "invalid_api_key", message).into_response();
        }
    }
    next.run(request).await
}

/// The model, or that it is not open yet.
fn opened(state: &ServerState) -> Result<&ServedModel, ApiError> {
    let opening = || ApiError::new(503, "model_loading", "the model is being opened");
    state.model.get().ok_or_else(opening)
}

/// A body, whole.
async fn body_of(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    if let Some(kind) = kind
        && !kind.trim_start().to_ascii_lowercase().starts_with("application/json")
    {
        let message = format!("expected Content-Type: application/json, found {kind:?}");
        return Err(ApiError::new(415, "unsupported_media_type", message));
    }
    let too_large = || {
        let message = format!("the body is longer than {MAX_LINE_IN_BYTES} bytes");
        ApiError::new(413, "body_too_large", message)
    };
    let read = async {
        let (mut whole, mut dropped) = (Vec::new(), 0);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let cut = |error| ApiError::new(400, "invalid_request", format!("the body: {error}"));
            let piece = piece.map_err(cut)?;
            if dropped > 0 || whole.len() + piece.len() > MAX_LINE_IN_BYTES {
                // Whoever sends it reads the answer only once all is sent.
                dropped += whole.len() + piece.len();
                whole = Vec::new();
                if dropped > MOST_DROPPED_IN_BYTES {
                    break;
                }
            } else {
                whole.extend_from_slice(&piece);
            }
        }
        if dropped > 0 { Err(too_large()) } else { Ok(Bytes::from(whole)) }
    };
    let late = |_| ApiError::new(408, "body_timeout", "the body did not come in time");
    tokio::time::timeout(BODY_TIME, read).await.map_err(late)?
}

/// Does work that may take long for a large body where others need not wait for it.
async fn apart<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if size < LARGE_IN_BYTES {
        return work();
    }
    let failed = |_| ApiError::new(500, "internal_error", "the body could not be read");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

async fn complete(
    State(state): Shared,
    endpoint: Endpoint,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    let answered = answer(&state, endpoint, request).await;
    if let Err(error) = &answered
        && error.status != 429
    {
        state.metrics.ended(RequestOutcome::Failed);
    }
    answered
}

async fn answer(
    state: &Arc<ServerState>,
    endpoint: Endpoint,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    opened(state)?;
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body_of(&parts.headers, body).await?;
    let (shared, id) = (Arc::clone(state), state.next_id());
    let read = apart(body.len(), move || read_request(&body, endpoint, id, opened(&shared)?));
    let ApiRequest { request, model, stream, ignored } = read.await?;
    let created = jiff::Timestamp::now().as_second();
    let writer = stream
        .map(|options| ChunkWriter::new(&request, model.clone(), created, options.include_usage));
    let (reply, replies) = unbounded_channel();
    let streams = writer.is_some();
    state.queue.push(QueuedRequest { request, streams, arrived, reply }).map_err(|refusal| {
        match refusal {
            QueueRefusal::Full => {
                state.metrics.ended(RequestOutcome::Refused);
                ApiError::new(429, "queue_full", "too many requests wait; ask again in a second")
            }
            QueueRefusal::Closed => {
                ApiError::new(503, "server_stopping", "the server ends and takes no requests")
            }
        }
    })?;
    let mut response = match writer {
        Some(writer) => streamed(writer, replies).await?,
        None => whole(&model, created, replies).await?,
    };
    // A name of a field may have characters that no header has.
    let ignored: Vec<String> =
        ignored.iter().map(|name| name.escape_default().to_string()).take(32).collect();
    if !ignored.is_empty()
        && let Ok(value) = HeaderValue::from_str(&ignored.join(", "))
    {
        response.headers_mut().insert(IGNORED, value);
    }
    Ok(response)
}

/// The answer in one piece.
async fn whole(
    model: &str,
    created: i64,
    mut replies: UnboundedReceiver<RequestReply>,
) -> Result<Response, ApiError> {
    loop {
        match replies.recv().await {
            Some(RequestReply::Finished(reply)) => {
                let FinishedReply { request, answer, more } = &*reply;
                let context = ResultContext { model, created, model_digest: None };
                let body = response_body(request, answer, more, &context);
                return Ok(json_response(StatusCode::OK, body));
            }
            Some(other) => failed(&other)?,
            None => return Err(lost()),
        }
    }
}

/// The error that a reply is, if it is one.
fn failed(reply: &RequestReply) -> Result<(), ApiError> {
    match reply {
        RequestReply::Failed(request, failure) => Err(ApiError::of_failure(failure, request)),
        RequestReply::Ended(reason) => Err(ApiError::of_end(reason)),
        RequestReply::Started | RequestReply::Text { .. } | RequestReply::Finished(_) => Ok(()),
    }
}

fn lost() -> ApiError {
    ApiError::new(500, "internal_error", "the request was lost")
}

/// The answer as events. What fails before the first of them is an error of its own.
async fn streamed(
    mut writer: ChunkWriter,
    mut replies: UnboundedReceiver<RequestReply>,
) -> Result<Response, ApiError> {
    let first = replies.recv().await.ok_or_else(lost)?;
    failed(&first)?;
    let mut waiting: VecDeque<String> = writer.begin().into();
    let ended = add_events(&mut writer, first, &mut waiting);
    let state = EventStream { writer, replies, waiting, ended };
    let events = stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    Ok(sse(events))
}

fn sse(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response();
    // Proxies that gather what they pass on would keep it back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct EventStream {
    writer: ChunkWriter,
    replies: UnboundedReceiver<RequestReply>,
    waiting: VecDeque<String>,
    ended: bool,
}

impl EventStream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(data) = self.waiting.pop_front() {
                return Some(Event::default().data(data));
            }
            if self.ended {
                return None;
            }
            match self.replies.recv().await {
                Some(reply) => {
                    self.ended = add_events(&mut self.writer, reply, &mut self.waiting);
                }
                None => {
                    self.waiting.push_back(lost().body().to_string());
                    self.ended = true;
                }
            }
        }
    }
}

/// Adds the events of a reply; true where it is the last.
fn add_events(
    writer: &mut ChunkWriter,
    reply: RequestReply,
    waiting: &mut VecDeque<String>,
) -> bool {
    if let Err(error) = failed(&reply) {
        waiting.push_back(error.body().to_string());
        return true;
    }
    match reply {
        RequestReply::Text { choice, text, tokens } => {
            waiting.push_back(writer.text(choice, &text, &tokens));
            false
        }
        RequestReply::Finished(reply) => {
            waiting.extend(writer.finish(&reply));
            waiting.push_back("[DONE]".into());
            true
        }
        RequestReply::Started | RequestReply::Failed(..) | RequestReply::Ended(_) => false,
    }
}

async fn health(State(state): Shared) -> Response {
    let (status, word) = match (state.queue.is_closed(), state.model.get()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, None) => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        (false, Some(_)) => (StatusCode::OK, "ok"),
    };
    json_response(status, json!({"status": word}).to_string())
}

/// The entry of a list of models.
fn entry(served: &ServedModel, name: &str) -> Value {
    let parent = (name != served.name).then_some(&served.name);
    json!({
        "id": name,
        "object": "model",
        "created": served.created,
        "owned_by": "pixel-llm",
        "root": served.root,
        "parent": parent,
        "max_model_len": served.capacity.context,
    })
}

async fn models(State(state): Shared) -> Result<Response, ApiError> {
    let served = opened(&state)?;
    let names = std::iter::once(&served.name).chain(&served.adapters);
    let data: Vec<Value> = names.map(|name| entry(served, name)).collect();
    Ok(json_response(StatusCode::OK, json!({"object": "list", "data": data}).to_string()))
}

async fn model(State(state): Shared, Path(id): Path<String>) -> Result<Response, ApiError> {
    let served = opened(&state)?;
    if id != served.name && !served.adapters.contains(&id) {
        return Err(no_model(&id, served));
    }
    Ok(json_response(StatusCode::OK, entry(served, &id).to_string()))
}

/// Answers a body of `/tokenize` or `/detokenize`.
async fn of_vocabulary(
    state: Arc<ServerState>,
    request: HttpRequest,
    work: fn(&[u8], &ServedModel) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    opened(&state)?;
    let (parts, body) = request.into_parts();
    let body = body_of(&parts.headers, body).await?;
    // A chat template may take its time, too.
    let value = apart(LARGE_IN_BYTES, move || work(&body, opened(&state)?)).await?;
    Ok(json_response(StatusCode::OK, value.to_string()))
}

async fn tokenize(State(state): Shared, request: HttpRequest) -> Result<Response, ApiError> {
    of_vocabulary(state, request, vocabulary::tokenize).await
}

async fn detokenize(State(state): Shared, request: HttpRequest) -> Result<Response, ApiError> {
    of_vocabulary(state, request, vocabulary::detokenize).await
}

async fn tokenizer_info(State(state): Shared) -> Result<Response, ApiError> {
    Ok(json_response(StatusCode::OK, vocabulary::info(opened(&state)?).to_string()))
}

async fn metrics(State(state): Shared) -> Result<Response, ApiError> {
    let served = opened(&state)?;
    let text = state.metrics.text(&MetricFacts {
        model: &served.name,
        root: &served.root,
        device: &served.device,
        slots: served.capacity.slots,
        waiting: state.queue.len(),
    });
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn props(State(state): Shared) -> Result<Response, ApiError> {
    let served = opened(&state)?;
    let body = json!({
        "model": served.name,
        "adapters": served.adapters,
        "root": served.root,
        "device": served.device,
        "slots": served.capacity.slots,
        "context": served.capacity.context,
        "vocabulary": served.capacity.vocab,
        "version": env!("CARGO_PKG_VERSION"),
        "chat_template": served.text.chat_template(),
    });
    Ok(json_response(StatusCode::OK, body.to_string()))
}
