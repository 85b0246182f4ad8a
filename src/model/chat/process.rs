//! The other side of [`worker`](super::worker): starts the process, asks it, and tells why it
//! ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::ChatError;
use super::worker::{ARGUMENT, MEBIBYTES, MILLISECONDS, OUT_OF_TIME, RenderJob, Reply};

/// The time by the clock that a job may take, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most of a process's last words that are read.
const MAX_LAST_WORDS: u64 = 4096;

/// The variable that names the program to start, for a program that is not ours.
const PROGRAM: &str = "PIXEL_LLM_PROGRAM";

/// Whether the running program turns into a worker where it is asked to.
static THIS_PROGRAM: AtomicBool = AtomicBool::new(false);

/// Says that it does.
pub(super) fn may_start_this_program() {
    THIS_PROGRAM.store(true, Ordering::Relaxed);
}

/// The program to start. Another program than ours, such as a test, has ours beside it.
fn program() -> Result<PathBuf, String> {
    let this = || std::env::current_exe().map_err(|error| error.to_string());
    if let Some(named) = std::env::var_os(PROGRAM) {
        return Ok(PathBuf::from(named));
    }
    if THIS_PROGRAM.load(Ordering::Relaxed) {
        return this();
    }
    let name = format!("pixel-llm{}", std::env::consts::EXE_SUFFIX);
    // Two folders: Cargo puts tests into `deps`, one below the program's.
    let found = this()?
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not beside this program; name it in {PROGRAM}"))
}

/// A running process. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Option<BufReader<ChildStdout>>,
    last_words: Option<ChildStderr>,
}

impl Process {
    /// Starts the program as a worker, with pipes to its three streams.
    pub fn start() -> Result<Process, ChatError> {
        let program = program().map_err(|problem| ChatError::NoProcess { problem })?;
        let mut command = Command::new(&program);
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // One heap, not one for each thread, each of which would reserve room within the limit.
        command.env("MALLOC_ARENA_MAX", "1").env("RUST_BACKTRACE", "0");
        // An interrupt is for us: what we still ask is answered.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| {
            let problem =
                format!("{}: {error}", crate::terminal::one_line(&program.display().to_string()));
            ChatError::NoProcess { problem }
        })?;
        let (input, last_words) = (child.stdin.take(), child.stderr.take());
        let lines = child.stdout.take().map(BufReader::new);
        Ok(Process { child, input, lines, last_words })
    }

    /// The answer to a job. `Err` where the process ended instead; it is of no use then.
    pub fn ask(&mut self, job: &RenderJob) -> Result<Reply, ChatError> {
        let broken = |problem: String| ChatError::NoProcess { problem };
        let mut line = serde_json::to_vec(job).map_err(|error| broken(error.to_string()))?;
        line.push(b'\n');
        let (Some(mut input), Some(mut lines)) = (self.input.take(), self.lines.take()) else {
            return Err(broken("its pipes are closed".to_owned()));
        };
        let (send, answer) = mpsc::channel();
        // On a thread of its own: a process that does not read would block the write without end.
        let exchange = move || {
            let mut text = String::new();
            // A process that ended does not read: what it said before that counts.
            let _ = input.write_all(&line).and_then(|()| input.flush());
            let _ = lines.read_line(&mut text);
            let _ = send.send((text, input, lines));
        };
        std::thread::Builder::new()
            .name("chat template".to_owned())
            .spawn(exchange)
            .map_err(|error| broken(error.to_string()))?;
        match self.wait(&answer)? {
            Some((text, input, lines)) => match serde_json::from_str(&text) {
                Ok(reply) => {
                    (self.input, self.lines) = (Some(input), Some(lines));
                    Ok(reply)
                }
                Err(_) => Err(self.end()),
            },
            None => Err(self.end()),
        }
    }

    fn wait<T>(&mut self, answer: &Receiver<T>) -> Result<Option<T>, ChatError> {
        match answer.recv_timeout(PATIENCE) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            // The process is killed when the caller drops it, which ends the thread's read as well.
            Err(RecvTimeoutError::Timeout) => {
                let problem = format!("it did not answer within {} s", PATIENCE.as_secs());
                Err(ChatError::NoProcess { problem })
            }
        }
    }

    /// Why the process ended.
    fn end(&mut self) -> ChatError {
        let mut words = String::new();
        if let Some(last_words) = self.last_words.take() {
            // Without them the status still tells something.
            let _ = last_words.take(MAX_LAST_WORDS).read_to_string(&mut words);
        }
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(error) => return ChatError::NoProcess { problem: error.to_string() },
        };
        if status.code() == Some(OUT_OF_TIME) {
            return ChatError::OutOfTime { milliseconds: MILLISECONDS };
        }
        // Rust's runtime writes these words, and those below, and aborts: the status is the same
        // for both.
        if words.contains("memory allocation of") {
            return ChatError::OutOfMemory { mebibytes: MEBIBYTES };
        }
        if words.contains("overflowed its stack") {
            let problem = "it is nested too deep, or makes what is".to_owned();
            return ChatError::Render { problem };
        }
        let words = crate::terminal::one_line(words.trim());
        ChatError::NoProcess {
            problem: format!("it ended with {status} {words}").trim_end().to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
