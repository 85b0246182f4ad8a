//! Other programs: with a time limit and a limit on what they may say, and never through a shell.
//!
//! In: a line of words. Out: what the program wrote. On Unix it leads a process group of its own,
//! and whatever is left of the group ends with it: when it ends, is cut off or stopped, and when
//! this program ends. What leaves the group by itself (`setsid`) is out of reach, as are, on other
//! systems, the programs that it began.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How often a program that runs is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the rest of the output of a program that has ended may take: it is in a pipe already.
const REST: Duration = Duration::from_secs(1);

/// The programs that run now, by their process groups.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every program that still runs, with all that it began: for the end of this one.
pub(crate) fn end_all() {
    locked(&RUNNING).drain(..).for_each(end_group);
}

/// Ends all of a group; none may be left.
#[cfg(unix)]
fn end_group(leader: u32) {
    use nix::sys::signal::{Signal, killpg};
    if let Ok(leader) = i32::try_from(leader) {
        // A group that has no process any more cannot be killed, which is what is wanted.
        let _ = killpg(nix::unistd::Pid::from_raw(leader), Signal::SIGKILL);
    }
}

#[cfg(not(unix))]
fn end_group(_: u32) {}

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
    /// The user stopped it, and its group was ended.
    #[error("stopped")]
    Cancelled,
    /// The system could not start it, or not read what it wrote.
    #[error("cannot run it: {0}")]
    Io(#[from] io::Error),
}

/// A program that runs. It is ended, with its group, in whatever way it is left.
struct RunningCommand {
    child: Child,
    has_ended: bool,
}

impl RunningCommand {
    fn start(mut command: Command) -> io::Result<Self> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // Held meanwhile, so that the end of this program misses none.
        let mut running = locked(&RUNNING);
        let child = command.spawn()?;
        running.push(child.id());
        Ok(Self { child, has_ended: false })
    }

    /// How it ended, if it has. What it left running in its group ends then.
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        // Held meanwhile, so that nobody ends a group whose number has gone to another one.
        let mut running = locked(&RUNNING);
        let status = self.child.try_wait()?;
        if status.is_some() && !self.has_ended {
            self.has_ended = true;
            end_group(self.child.id());
            running.retain(|leader| *leader != self.child.id());
        }
        Ok(status)
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut running = locked(&RUNNING);
        // Before the wait, after which the number may be another's.
        end_group(self.child.id());
        // One that has ended cannot be killed, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        running.retain(|leader| *leader != self.child.id());
    }
}

/// Runs a program with `input` on its standard input; what it wrote on its standard output until it
/// ended.
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
    // Nobody reads the standard error: a pipe for it would fill up and stop the program.
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = RunningCommand::start(command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ProcessError::Missing(program.clone()),
        _ => ProcessError::Io(error),
    })?;
    let (stdin, stdout) = (running.child.stdin.take(), running.child.stdout.take());
    let input = input.to_owned();
    // A program need not read what it is given; the thread ends when the program does.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let said = Arc::new(Mutex::new(Vec::new()));
    // One byte more than may come, which tells a flood from a reply that just fits.
    let read = stdout.map(|stdout| hear(stdout.take(max_bytes as u64 + 1), Arc::clone(&said)));
    let end = Instant::now() + Duration::from_secs(seconds.into());
    // Not until its output ends: something that it began may hold that open for ever.
    let status = loop {
        if let Some(status) = running.ended()? {
            break status;
        }
        if locked(&said).len() > max_bytes {
            return Err(ProcessError::Flooded(max_bytes));
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(ProcessError::Cancelled);
        }
        if Instant::now() >= end {
            return Err(ProcessError::TimedOut(seconds));
        }
        thread::sleep(LOOK);
    };
    // Else all of it is read, or somebody out of reach holds the pipe: what the program itself
    // wrote is there.
    if let Some(Ok(Err(error))) = read.map(|read| read.recv_timeout(REST)) {
        return Err(error.into());
    }
    let bytes = std::mem::take(&mut *locked(&said));
    // It may have ended before the loop saw how much it wrote.
    if bytes.len() > max_bytes {
        return Err(ProcessError::Flooded(max_bytes));
    }
    if !status.success() {
        return Err(ProcessError::Failed(status.to_string()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads on a thread of its own into `said`, and tells when there is no more.
fn hear(
    mut from: impl Read + Send + 'static,
    said: Arc<Mutex<Vec<u8>>>,
) -> mpsc::Receiver<io::Result<()>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // As much as a pipe holds on Linux.
        let mut piece = vec![0; 1 << 16];
        let ended = loop {
            match from.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(length) => locked(&said).extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        // Nobody may be there to hear it any more.
        let _ = sender.send(ended);
    });
    receiver
}
