//! The process that renders chat templates: this program, started once more with `ARGUMENT`.
//!
//! It first limits itself, then reads one job as a line of JSON, writes the answer as a line of
//! JSON, and so on until its input ends. A template that uses up its time or its memory ends the
//! process; the exit code or the last words on standard error tell why.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Compiled, STACK_IN_BYTES};
use super::source::Signs;
use super::{ChatError, ChatMessage};

/// The first argument that makes the program such a process.
pub(super) const ARGUMENT: &str = "__render-chat-templates";

/// The processor time that one job may take. With what the process takes to start it ends within a
/// second; templates of known models take some milliseconds.
pub(super) const MILLISECONDS: u64 = 800;

/// What a template and its values may take, beside the stack.
pub(super) const MEBIBYTES: u64 = 96;

/// The exit code where a job took too long.
pub(super) const OUT_OF_TIME: i32 = 75;

/// The exit code where the process cannot work at all.
const CANNOT_WORK: u8 = 76;

/// A template, and perhaps a conversation; without one it is only compiled.
#[derive(Serialize, Deserialize)]
pub(super) struct RenderJob {
    pub source: String,
    pub bos: String,
    pub eos: String,
    pub signs: Signs,
    pub conversation: Option<RenderInput>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RenderInput {
    pub messages: Vec<ChatMessage>,
    pub add_generation_prompt: bool,
    pub variables: Vec<(String, String)>,
}

/// The text, empty where a template was only compiled.
pub(super) type Reply = Result<String, ChatError>;

/// Does the work of such a process and returns its exit code, if the program was started as one.
/// A program that uses chat templates calls this before all else in its `main`.
pub(crate) fn serve_if_asked() -> Option<ExitCode> {
    super::process::may_start_this_program();
    let asked = std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT);
    asked.then(|| match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(CANNOT_WORK)
        }
    })
}

fn serve() -> std::io::Result<()> {
    // What a template makes go wrong is told in the answer.
    std::panic::set_hook(Box::new(|_| {}));
    limit_memory()?;
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    // The watch needs little, and its stack counts towards the limit of memory.
    std::thread::Builder::new().stack_size(64 * 1024).spawn(move || watch(&begun, &ended))?;
    std::thread::Builder::new()
        .stack_size(STACK_IN_BYTES)
        .spawn(move || {
            let mut compiled = None;
            for line in std::io::stdin().lock().lines() {
                let line = line?;
                // The watch ends only with the process, so there is always somebody who listens.
                let _ = begin.send(());
                let reply = answer(&line, &mut compiled);
                // Before writing: time in which nobody reads the answer is none of the template's.
                let _ = end.send(());
                let mut out = serde_json::to_vec(&reply)?;
                out.push(b'\n');
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&out)?;
                stdout.flush()?;
            }
            Ok(())
        })?
        .join()
        .unwrap_or_else(|_| Err(std::io::Error::other("the thread of chat templates panicked")))
}

fn answer(line: &str, compiled: &mut Option<(String, Signs, Compiled)>) -> Reply {
    // Unwind safe: a template that is kept is replaced by a whole one or not at all.
    let work = std::panic::AssertUnwindSafe(|| {
        let job: RenderJob = serde_json::from_str(line)
            .map_err(|error| ChatError::Render { problem: error.to_string() })?;
        if compiled
            .as_ref()
            .is_none_or(|(source, signs, _)| *source != job.source || *signs != job.signs)
        {
            let template = Compiled::new(&job.source, &job.signs)?;
            *compiled = Some((job.source, job.signs.clone(), template));
        }
        match (&job.conversation, compiled.as_ref()) {
            (Some(of), Some((_, signs, template))) => {
                let [bos, eos] = [&job.bos, &job.eos].map(|text| signs.signed(text));
                template.render([&bos, &eos], &of.messages, of.add_generation_prompt, &of.variables)
            }
            _ => Ok(String::new()),
        }
    });
    std::panic::catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let words = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(ChatError::Render { problem: format!("its engine stopped: {words}") })
    })
}

/// Ends the process where a job takes too long.
fn watch(begun: &mpsc::Receiver<()>, ended: &mpsc::Receiver<()>) {
    while begun.recv().is_ok() {
        let since = time_used();
        while let Err(mpsc::RecvTimeoutError::Timeout) =
            ended.recv_timeout(Duration::from_millis(20))
        {
            if time_used().saturating_sub(since) > Duration::from_millis(MILLISECONDS) {
                std::process::exit(OUT_OF_TIME);
            }
        }
    }
}

/// The processor time of this process.
#[cfg(unix)]
fn time_used() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::MAX };
    let part = |time: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        Duration::from_secs(seconds)
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
    };
    part(usage.user_time()) + part(usage.system_time())
}

/// The time since the first call, where the system does not tell that of the processor.
#[cfg(not(unix))]
fn time_used() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Has the system refuse memory beyond the limit, and leave no core file.
#[cfg(unix)]
fn limit_memory() -> std::io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let limit = |resource: Resource, wanted: u64| {
        let (_, hard) = getrlimit(resource)?;
        let wanted = wanted.min(hard);
        setrlimit(resource, wanted, wanted).map_err(std::io::Error::from)
    };
    // Memory that is used up ends the process by an abort, which would leave a core file.
    limit(Resource::RLIMIT_CORE, 0)?;
    // What the program has mapped already, its own file among it, takes no memory of the
    // template's.
    if let Some(mapped) = crate::memory::mapped_in_bytes() {
        let stack = STACK_IN_BYTES as u64;
        limit(Resource::RLIMIT_AS, mapped + stack + (MEBIBYTES << 20))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn limit_memory() -> std::io::Result<()> {
    Ok(())
}
