//! What a person can type beside messages: `/commands`.

use std::path::PathBuf;

use crate::names::nearest;
use crate::terminal;

/// The commands as `/help` lists them, one on a line.
pub(crate) const HELP: &str = "\
/help          this list
/clear         forget the conversation; the system message stays
/system TEXT   what the model is told before the conversation; without TEXT, show it
/undo          take the last question and its answer back
/retry         answer the last question anew
/save FILE     write the conversation as a line for `pixel-llm run --input`
/exit          end, as Ctrl-D does
A message that begins with a slash is written with two: //like this. Ctrl-C stops an answer.";

const NAMES: [&str; 9] =
    ["help", "clear", "system", "undo", "retry", "regenerate", "save", "exit", "quit"];

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A message to the model.
    Say(String),
    /// The list of commands.
    Help,
    /// Forget the conversation; the system message stays.
    Clear,
    /// Give the system message, or show it.
    System(Option<String>),
    /// Take the last turn back.
    Undo,
    /// Answer the last question anew.
    Retry,
    /// Write the conversation to a file.
    Save(PathBuf),
    /// End the conversation, as Ctrl-D does.
    Exit,
}

impl Command {
    /// Reads a line; `None` where it is blank.
    ///
    /// # Errors
    /// There is no such command, or it lacks what it needs: in words.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let Some(command) = line.trim().strip_prefix('/') else {
            return Ok(Some(Self::Say(line.into())));
        };
        if command.starts_with('/') {
            return Ok(Some(Self::Say(command.into())));
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let command = match name.to_lowercase().as_str() {
            "system" => Self::System((!rest.is_empty()).then(|| rest.into())),
            "save" if rest.is_empty() => return Err("/save needs a file: /save talk.jsonl".into()),
            "save" => Self::Save(rest.into()),
            "help" | "?" => Self::Help,
            "clear" => Self::Clear,
            "undo" => Self::Undo,
            "retry" | "regenerate" => Self::Retry,
            "exit" | "quit" | "bye" => Self::Exit,
            unknown => {
                let name = terminal::one_line(name);
                let near = nearest(unknown, NAMES).map(|near| format!("did you mean /{near}? "));
                return Err(format!(
                    "there is no /{name}; {}/help lists all",
                    near.unwrap_or_default()
                ));
            }
        };
        Ok(Some(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let parse = |line: &str| Command::parse(line).unwrap();
        assert_eq!(parse("  "), None);
        assert_eq!(parse(" hi /there "), Some(Command::Say(" hi /there ".into())));
        assert_eq!(parse("//etc"), Some(Command::Say("/etc".into())));
        assert_eq!(parse("/System  Be brief. "), Some(Command::System(Some("Be brief.".into()))));
        assert_eq!(parse("/system"), Some(Command::System(None)));
        assert_eq!(parse("/save my talk.jsonl"), Some(Command::Save("my talk.jsonl".into())));
        assert_eq!(
            (parse("/quit"), parse("/regenerate")),
            (Some(Command::Exit), Some(Command::Retry))
        );
    }

    #[test]
    fn a_misspelt_command_is_answered_with_the_near_one() {
        let error = |line: &str| Command::parse(line).unwrap_err();
        assert_eq!(error("/celar"), "there is no /celar; did you mean /clear? /help lists all");
        assert_eq!(error("/dance\u{1b}[2J"), "there is no /dance\\x1b[2J; /help lists all");
        assert!(error("/save").contains("needs a file"));
    }
}
