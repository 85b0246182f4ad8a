//! What the command-line tools say, and where: results on standard output, as text or as one JSON
//! document; progress, warnings and errors on standard error.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    ffi::OsString,
    io::{self, BufWriter, IsTerminal, Write},
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::terminal::{self, Escapes, Terminal};

/// The exit code of an interrupted program, by the convention of shells: 128 + SIGINT.
pub(crate) const INTERRUPTED: i32 = 130;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything asked for was done.
    #[default]
    Ok = 0,
    /// The check was made, and something is bad.
    FoundBad = 1,
    /// The work could not be done.
    CannotRun = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Standard output, in the form that the user asked for.
pub struct Output {
    json: bool,
    stdout: BufWriter<Terminal<io::Stdout>>,
}

impl Output {
    /// Output as text, or with `json` as JSON.
    pub fn new(json: bool) -> Self {
        let escapes = if json { Escapes::Json } else { Escapes::Text };
        Self { json, stdout: BufWriter::new(terminal::stdout().with_escapes(escapes)) }
    }

    /// Whether the user asked for JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: `value` as JSON, or the text that `human` makes of it. The text is for
    /// people, wherever it goes: control characters of names from files are written out in it.
    pub fn print<T: Serialize>(
        &mut self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.stdout, value)?;
            return writeln!(self.stdout);
        }
        let text = human(value);
        let text = terminal::lines(&text);
        self.stdout.write_all(text.as_bytes())?;
        if text.ends_with('\n') { Ok(()) } else { writeln!(self.stdout) }
    }

    /// Standard output itself, for a command whose result is bytes.
    pub fn bytes(&mut self) -> &mut (impl Write + use<>) {
        &mut self.stdout
    }

    /// Hands everything to the reader.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// A bar on standard error for work on `len` bytes; it shows only on a terminal.
pub(crate) fn progress_bytes(label: &'static str, len: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match len {
        Some(len) => (
            ProgressBar::new(len),
            "{msg:>10} [{bar:32}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        ),
        None => (ProgressBar::no_length(), "{msg:>10} {spinner} {bytes} {binary_bytes_per_sec}"),
    };
    let style =
        ProgressStyle::with_template(template).expect("the template is one of the two above");
    bar.with_style(style.progress_chars("=> ")).with_message(label)
}

/// A bar on standard error for `len` things; it shows only on a terminal.
pub(crate) fn progress_bar(label: &'static str, len: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:>10} [{bar:32}] {pos}/{len} {per_sec} {eta}");
    let style = style.expect("the template is well formed");
    ProgressBar::new(len).with_style(style.progress_chars("=> ")).with_message(label)
}

/// Ends the program with what clap says of arguments that cannot be read. What it quotes of them is
/// written out: a name of a file may hold anything.
pub(crate) fn refuse_arguments(
    command: clap::Command,
    typed: &[OsString],
    error: &clap::Error,
) -> ! {
    let shown = typed.iter().map(|text| terminal::one_line(&text.to_string_lossy()).into_owned());
    match command.try_get_matches_from(shown) {
        // Written out, an argument may be wrong in another way, or not at all.
        Err(shown) if shown.kind() == error.kind() => shown.exit(),
        _ => {
            let _ = write!(terminal::stderr(), "{}", terminal::lines(&error.to_string()));
            std::process::exit(error.exit_code());
        }
    }
}

/// Work may take so long before it is said what is being done.
const PATIENCE: Duration = Duration::from_millis(500);

/// Work that says on standard error what it is, if it lasts; it ends when this is dropped.
#[must_use = "the work ends when this is dropped"]
pub struct Doing {
    end: Option<mpsc::Sender<()>>,
    teller: Option<JoinHandle<()>>,
}

/// Begins work that may take long. After half a second a terminal shows what is being done until
/// the work ends, and anything else gets one line.
pub fn doing(what: impl Into<String>) -> Doing {
    let (what, (end, ended)) = (what.into(), mpsc::channel());
    let tell = move || {
        if outlasts(PATIENCE, &ended) {
            show(&what, &ended);
        }
    };
    // A thread that cannot be had leaves the work without words, not undone.
    let teller = thread::Builder::new().name("doing".into()).spawn(tell).ok();
    Doing { end: Some(end), teller }
}

/// Whether the other end is still there after some time.
fn outlasts(patience: Duration, ended: &Receiver<()>) -> bool {
    ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout)
}

fn show(what: &str, ended: &Receiver<()>) {
    if !io::stderr().is_terminal() {
        return print_note(what);
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let style = style.expect("the template is well formed");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
    bar.enable_steady_tick(PATIENCE / 5);
    // Nothing is ever sent: this waits for the other end to go.
    let _ = ended.recv();
    bar.finish_and_clear();
}

impl Drop for Doing {
    fn drop(&mut self) {
        // The thread waits for this end to go.
        self.end = None;
        // What comes next finds the line cleared.
        let _ = self.teller.take().map(JoinHandle::join);
    }
}

/// Prints one line on standard error: the error and its causes, each said once.
pub(crate) fn print_error(error: &anyhow::Error) {
    print_line("error", &error_line(error));
}

/// Prints one line on standard error.
pub(crate) fn print_warning(warning: &str) {
    print_line("warning", warning);
}

/// Something worth knowing, on standard error.
pub(crate) fn print_note(note: &str) {
    print_line("note", note);
}

/// An error and its causes on one line. A cause that the message already quotes is not said again.
pub(crate) fn error_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace(['\n', '\r'], " ")
}

/// Whether the error is that nobody reads our output any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io_error = cause.downcast_ref::<io::Error>();
        io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn print_line(kind: &str, message: &str) {
    // When standard error is closed there is nobody left to tell.
    let _ = writeln!(terminal::stderr(), "{kind}: {}", terminal::one_line(message));
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn only_work_that_lasts_says_what_it_is() {
        let (end, ended) = mpsc::channel();
        assert!(outlasts(Duration::ZERO, &ended));
        drop(end);
        assert!(!outlasts(Duration::from_secs(3600), &ended));
    }

    #[test]
    fn causes_are_said_once() {
        let error = Err::<(), _>(io::Error::other("disk on fire"))
            .context("cannot write: disk on fire")
            .unwrap_err();
        assert_eq!(error_line(&error), "cannot write: disk on fire");
        let error =
            Err::<(), _>(io::Error::other("disk\non fire")).context("cannot write").unwrap_err();
        assert_eq!(error_line(&error), "cannot write: disk on fire");
    }

    #[test]
    fn a_closed_pipe_is_known_below_other_errors() {
        let closed = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe))
            .context("cannot write")
            .unwrap_err();
        assert!(is_closed_pipe(&closed));
        assert!(!is_closed_pipe(&anyhow::anyhow!("other")));
    }
}
