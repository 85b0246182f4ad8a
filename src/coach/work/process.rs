//! Other programs: with a time limit and a limit on what they may say, and never through a shell.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How often a program that runs is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Why a program gave nothing that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It is not there.
    #[error("the program \"{0}\" is not installed")]
    Missing(String),
    /// It ran too long.
    #[error("cut off after {0} s")]
    TimedOut(u32),
    /// It said too much.
    #[error("cut off after {0} bytes")]
    Flooded(usize),
    /// It ended with an error.
    #[error("it ended with {0}")]
    Failed(String),
    /// The user stopped.
    #[error("stopped")]
    Cancelled,
    /// The system refused.
    #[error("cannot run it: {0}")]
    Io(#[from] io::Error),
}

/// Ends the child in whatever way this function is left.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program with `input` on its standard input; what it wrote on its standard output.
///
/// # Errors
/// It is not there, ran longer than `seconds`, wrote more than `max_bytes`, or ended with an error.
pub fn run(
    line: &[String],
    input: &str,
    seconds: u32,
    max_bytes: usize,
    cancel: &AtomicBool,
) -> Result<String, ProcessError> {
    let [program, arguments @ ..] = line else { return Err(ProcessError::Missing(String::new())) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ProcessError::Missing(program.clone()),
        _ => ProcessError::Io(error),
    })?;
    let mut child = Guard(child);
    let (stdin, stdout) = (child.0.stdin.take(), child.0.stdout.take());
    let input = input.to_owned();
    // A program need not read what it is given; the thread ends when the program does.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map(|stdout| stdout.take(max_bytes as u64 + 1).read_to_end(&mut bytes));
        // Nobody may be there to hear it any more.
        let _ = sender.send(read.unwrap_or(Ok(0)).map(|_| bytes));
    });
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let bytes = loop {
        match receiver.recv_timeout(LOOK) {
            Ok(bytes) => break bytes?,
            Err(mpsc::RecvTimeoutError::Disconnected) => break Vec::new(),
            Err(mpsc::RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                return Err(ProcessError::Cancelled);
            }
            Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() >= end => {
                return Err(ProcessError::TimedOut(seconds));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    };
    if bytes.len() > max_bytes {
        return Err(ProcessError::Flooded(max_bytes));
    }
    loop {
        match child.0.try_wait()? {
            Some(status) if status.success() => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Some(status) => return Err(ProcessError::Failed(status.to_string())),
            None if Instant::now() >= end => return Err(ProcessError::TimedOut(seconds)),
            None => thread::sleep(LOOK),
        }
    }
}
