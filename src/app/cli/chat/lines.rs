//! Where a conversation's lines come from: an editor with a history on a terminal, else a pipe or a
//! file as it is.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};

use crate::app::cli::output::print_note;
use crate::folders;

/// What stands before what is typed.
const PROMPT: &str = "> ";

/// How many lines are remembered between conversations.
const MOST_REMEMBERED: usize = 1000;

/// The longest line that is read from a pipe: more than any context holds.
const MOST_IN_BYTES: u64 = 16 << 20;

/// One line, or why there is none.
pub(crate) enum ChatInput {
    /// A line without its end.
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// The lines of a person or of a pipe.
pub(crate) struct ChatReader {
    /// `None` where standard input is no terminal.
    editor: Option<DefaultEditor>,
    history: Option<PathBuf>,
}

impl ChatReader {
    /// Begins with what was typed in earlier conversations.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub fn open() -> anyhow::Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self { editor: None, history: None });
        }
        // Before the editor changes it.
        remember_terminal();
        let config = Config::builder()
            .max_history_size(MOST_REMEMBERED)
            .context("the history cannot be used")?
            .auto_add_history(true)
            .build();
        let mut editor =
            DefaultEditor::with_config(config).context("the terminal cannot be used")?;
        // Without a home there is no history, which hinders nobody.
        let history = folders::data().map(|folder| folder.join("chat-history.txt"));
        if let Some(path) = history.as_deref().filter(|path| path.exists())
            && let Err(error) = editor.load_history(path)
        {
            print_note(&format!(
                "{}: what was typed before cannot be read: {error}",
                path.display()
            ));
        }
        Ok(Self { editor: Some(editor), history })
    }

    /// Whether a person types.
    pub(crate) fn is_terminal(&self) -> bool {
        self.editor.is_some()
    }

    /// The next line.
    ///
    /// # Errors
    /// Standard input cannot be read.
    pub fn next(&mut self) -> anyhow::Result<ChatInput> {
        let Some(editor) = &mut self.editor else { return piped() };
        match editor.readline(PROMPT) {
            Ok(line) => {
                self.keep();
                Ok(ChatInput::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(ChatInput::Interrupted),
            Err(ReadlineError::Eof) => Ok(ChatInput::End),
            Err(error) => Err(error).context("cannot read what is typed"),
        }
    }

    /// Keeps the history at once, so that a conversation that is killed is remembered too. What
    /// cannot be kept is told of once.
    fn keep(&mut self) {
        let (Some(editor), Some(path)) = (&mut self.editor, &self.history) else { return };
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let kept = folder.map_err(ReadlineError::from).and_then(|()| editor.append_history(path));
        if let Err(error) = kept {
            print_note(&format!("{}: what is typed is not remembered: {error}", path.display()));
            self.history = None;
        }
    }
}

/// How the terminal was before a conversation changed it.
#[cfg(unix)]
static TERMINAL: std::sync::Mutex<Option<nix::sys::termios::Termios>> = std::sync::Mutex::new(None);

#[cfg(unix)]
fn remember_terminal() {
    if let (Ok(mut kept), Ok(now)) = (TERMINAL.lock(), nix::sys::termios::tcgetattr(io::stdin())) {
        *kept = Some(now);
    }
}

#[cfg(not(unix))]
fn remember_terminal() {}

/// Sets the terminal as it was before a conversation, for an end while somebody types.
pub fn give_terminal_back() {
    #[cfg(unix)]
    if let Ok(mut kept) = TERMINAL.lock()
        && let Some(before) = kept.take()
    {
        // Where it is gone there is nothing to give back.
        let _ =
            nix::sys::termios::tcsetattr(io::stdin(), nix::sys::termios::SetArg::TCSANOW, &before);
        // The editor asked to be told of what is pasted.
        let _ = io::Write::write_all(&mut io::stdout(), b"\x1b[?2004l\n");
    }
}

fn piped() -> anyhow::Result<ChatInput> {
    let mut bytes = Vec::new();
    // One byte more tells a line that is too long from one that just fits.
    let mut input = io::Read::take(io::stdin().lock(), MOST_IN_BYTES + 1);
    let read = input.read_until(b'\n', &mut bytes).context("cannot read standard input")?;
    if read == 0 {
        return Ok(ChatInput::End);
    }
    anyhow::ensure!(
        bytes.len() as u64 <= MOST_IN_BYTES,
        "a line of standard input has more than {MOST_IN_BYTES} bytes"
    );
    let text = String::from_utf8(bytes).context("a line of standard input is not text in UTF-8")?;
    Ok(ChatInput::Text(text.trim_end_matches(['\n', '\r']).into()))
}
