//! What somebody may have meant who has misspelt a command or a file.
//!
//! Comes in: the arguments as they were typed. Goes out: the command or the file of a near name, in
//! words.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::names::nearest;
use crate::terminal::one_line;

/// How many names of a folder are compared; a folder of more is not one that a person looks
/// through.
const MOST_NAMES: usize = 10_000;

/// The problem with a first argument that is neither a command nor a file, where something has a
/// near name. `arguments` are those behind the program's name.
pub(crate) fn mistyped_command(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let first = first_positional(command, arguments)?.to_str()?;
    if command.find_subcommand(first).is_some() || first == "help" || Path::new(first).exists() {
        return None;
    }
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let names = commands.map(clap::Command::get_name).chain(["help"]);
    // What has a folder or an ending is a file to whoever typed it.
    let is_word = Path::new(first).components().count() == 1 && !first.contains('.');
    let near = nearest(first, names).filter(|_| is_word);
    let near = near.map(str::to_owned).or_else(|| near_file(Path::new(first)));
    near.map(|near| {
        format!("no file or command \"{}\"; did you mean `{}`?", one_line(first), one_line(&near))
    })
}

/// The first argument that is neither an option nor an option's value.
fn first_positional<'a>(
    command: &clap::Command,
    arguments: &'a [OsString],
) -> Option<&'a OsString> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_str()?;
        let Some(option) = text.strip_prefix('-').filter(|option| !option.is_empty()) else {
            return Some(argument);
        };
        // What follows `--` is no command, whatever it is called.
        if option == "-" {
            return None;
        }
        // `--name=value` is no known name, and has its value with it. No short option has one.
        let known = match option.strip_prefix('-') {
            Some(long) => command.get_arguments().find(|known| known.get_long() == Some(long)),
            None => None,
        };
        if known.is_some_and(|known| known.get_action().takes_values()) {
            arguments.next();
        }
    }
    None
}

/// The name in the folder of a file that is not there that is nearest to its own, with the folder
/// before it.
pub(crate) fn near_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent()?;
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = here.read_dir().ok()?.take(MOST_NAMES);
    let names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let near = nearest(name, names.iter().map(String::as_str))?;
    Some(folder.join(near).display().to_string())
}

/// The near name of the file that an error is about: of an argument that the error names and that
/// is not there.
pub(crate) fn for_error(error: &anyhow::Error, arguments: &[OsString]) -> Option<String> {
    let is_missing = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    if !error.chain().any(is_missing) {
        return None;
    }
    let message = format!("{error:#}");
    // Errors hold no paths that could be asked for, only words that name them.
    let missing = arguments.iter().map(Path::new).filter(|path| {
        let named = path.to_str().is_some_and(|text| !text.is_empty() && message.contains(text));
        named && !path.exists()
    });
    missing.filter_map(near_file).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    fn command() -> Command {
        let option = Arg::new("prompt").long("prompt").num_args(1);
        Command::new("x").arg(option).arg(Arg::new("model")).subcommand(Command::new("convert"))
    }

    fn mistyped(arguments: &[&str]) -> Option<String> {
        let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
        mistyped_command(&command(), &arguments)
    }

    #[test]
    fn a_misspelt_command_is_found_behind_options_and_their_values() {
        let expected = Some("no file or command \"covnert\"; did you mean `convert`?".to_owned());
        assert_eq!(mistyped(&["covnert", "a", "b"]), expected);
        assert_eq!(mistyped(&["--prompt", "convret", "covnert"]), expected);
        assert_eq!(mistyped(&["--prompt", "covnert"]), None);
        assert_eq!(mistyped(&["convert"]), None);
        assert_eq!(mistyped(&["--", "covnert"]), None);
        assert_eq!(mistyped(&["covnert.gguf"]), None);
    }

    #[test]
    fn a_file_that_is_not_there_has_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.gguf"), "").unwrap();
        let near = near_file(&folder.path().join("modle.gguf"));
        assert_eq!(near, Some(folder.path().join("model.gguf").display().to_string()));
        assert_eq!(near_file(&folder.path().join("story.txt")), None);
        assert_eq!(near_file(&folder.path().join("none/model.gguf")), None);
    }
}
