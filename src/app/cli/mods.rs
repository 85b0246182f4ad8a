//! `pixel-llm mods`: what mods there are, what is wrong with them, and how a new one begins.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Exit, Output};
use super::table::{Align, Table};
use crate::content::registry::check_id;
use crate::content::settings::{Consent, command_id};
use crate::content::source::Source;
use crate::content::{
    Change, Loaded, ModReport, Problem, Registry, Settings, State, What, load, load_sources, model,
    pack, user_folder,
};
use crate::outputs;
use crate::outputs::Format;
use crate::terminal::{self, one_line};
use crate::words::counted;

/// Arguments of `mods`: what to do, and with which mod.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm mods new my-mod
  pixel-llm mods check my-mod
  pixel-llm mods list
  pixel-llm --mods DIR mods show my-mod

The user's mods lie in a folder that `pixel-llm mods list` names; --mods DIR or the variable \
PIXEL_LLM_MODS names another.
The format is explained in specs/mods.md.")]
pub struct ModsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What mods there are, in the order in which they are loaded.
    List,
    /// Find everything that is wrong with mods, and start nothing.
    Check {
        /// Folders or .zip files of mods, which are checked together; all mods of the mods folder
        /// if left out.
        paths: Vec<PathBuf>,
    },
    /// Write a new mod with comments.
    New {
        /// The new folder; its name becomes the mod's id.
        folder: PathBuf,
        /// A kind of content to begin with; may be given several times.
        #[arg(long, value_name = "KIND", default_value = "experiment")]
        kind: Vec<String>,
    },
    /// Use a mod again.
    Enable {
        /// The mod's id.
        id: String,
    },
    /// Do not use a mod; it stays where it is.
    Disable {
        /// The mod's id.
        id: String,
    },
    /// What a mod is and does, or who has set what.
    Show {
        /// The mod's id, or a content such as experiment/layers.
        id: String,
    },
    /// Make a .zip file of a mod that has nothing wrong.
    Pack {
        /// The mod's folder.
        folder: PathBuf,
        /// The file; by default the id and the version.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Let the commands of a mod run, each as it stands now; or forget what was allowed.
    Allow {
        /// The mod's id.
        id: String,
        /// A command by its id, as `mods show` gives it; may be given several times. Without one,
        /// each is shown and asked for.
        #[arg(long = "command-id", value_name = "ID")]
        command_id: Vec<String>,
        /// A command, letter by letter as `mods show` gives it; may be given several times.
        #[arg(long, value_name = "COMMAND")]
        command: Vec<String>,
        /// Forget everything that was allowed to the mod.
        #[arg(long, conflicts_with_all = ["command", "command_id"])]
        forget: bool,
    },
}

/// Does what `mods` is asked for.
///
/// # Errors
/// A folder cannot be read or written, or a mod is named that is not there.
pub fn run(args: &ModsArgs, folder: Option<&Path>, out: &mut Output) -> anyhow::Result<Exit> {
    let registry = crate::app::kinds::registry();
    let folder = folder.map(Path::to_owned).or_else(user_folder);
    let loaded = || load(&registry, folder.as_deref());
    match &args.command {
        Command::List => list(&loaded(), folder.as_deref(), out),
        Command::Check { paths } if paths.is_empty() => {
            // What nobody has is nothing wrong, but what was named and is not there is.
            check(&with_models_checked(loaded()), out)
        }
        Command::Check { paths } => check(&with_models_checked(load_paths(&registry, paths)?), out),
        Command::New { folder, kind } => new(&registry, folder, kind, out),
        Command::Enable { id } => switch(&loaded(), folder.as_deref(), id, true, out),
        Command::Disable { id } => switch(&loaded(), folder.as_deref(), id, false, out),
        Command::Show { id } => show(&loaded(), id, out),
        Command::Pack { folder, output } => pack_mod(&registry, folder, output.as_deref(), out),
        Command::Allow { id, command_id, command, forget } => {
            let wanted = CommandsToAllow { ids: command_id, texts: command, forget: *forget };
            allow(&loaded(), folder.as_deref(), id, &wanted, out)
        }
    }
}

fn load_paths(registry: &Registry, paths: &[PathBuf]) -> anyhow::Result<Loaded> {
    let mut sources = Vec::new();
    for path in paths {
        anyhow::ensure!(path.exists(), "{}: there is no such folder or file", path.display());
        // Through a path such as `.` the folder has no name.
        let path =
            path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
        sources.push((path.clone(), Source::read(&path)));
    }
    // Not the user's settings: a mod that is disabled is checked all the same.
    Ok(load_sources(registry, sources, &Settings::default()))
}

/// The same after the files that models name have been looked at, which takes too long for every
/// start.
fn with_models_checked(mut loaded: Loaded) -> Loaded {
    for report in &mut loaded.mods {
        let Some(path) = report.path.as_deref().filter(|_| report.state == State::Loaded) else {
            continue;
        };
        let problems = model::check_files(&loaded.contents, report.id(), path);
        if !problems.is_empty() {
            (report.state, report.problems) = (State::Broken, problems);
        }
    }
    loaded
}

#[derive(Serialize)]
struct Listing<'a> {
    folder: Option<&'a Path>,
    mods: &'a [ModReport],
    problems: &'a [Problem],
}

fn word(state: State) -> &'static str {
    match state {
        State::Loaded => "loaded",
        State::Disabled => "disabled",
        State::Incompatible => "incompatible",
        State::Broken => "broken",
    }
}

fn list(loaded: &Loaded, folder: Option<&Path>, out: &mut Output) -> anyhow::Result<Exit> {
    let listing = Listing { folder, mods: &loaded.mods, problems: &loaded.problems };
    out.print(&listing, |_| {
        let mut table = Table::new([
            ("MOD", Align::Left),
            ("VERSION", Align::Left),
            ("STATE", Align::Left),
            ("NAME", Align::Left),
        ]);
        for report in &loaded.mods {
            let of = |text: fn(&crate::content::About) -> &String| {
                report.about.as_ref().map_or_else(String::new, |about| text(about).clone())
            };
            table.row([
                report.id().into(),
                of(|about| &about.version),
                word(report.state).into(),
                of(|about| &about.name),
            ]);
        }
        let folder = folder.map_or_else(|| "none".into(), |folder| folder.display().to_string());
        format!("{}folder: {folder}\n{}", table.render(), problems_text(loaded))
    })?;
    Ok(Exit::Ok)
}

/// All problems and hints, a line each.
fn problems_text(loaded: &Loaded) -> String {
    let of_mods = loaded.mods.iter().flat_map(|report| report.problems.iter().chain(&report.hints));
    let all = loaded.problems.iter().chain(of_mods);
    all.fold(String::new(), |mut text, problem| {
        writeln!(text, "{problem}").expect("writing to a String cannot fail");
        text
    })
}

fn check(loaded: &Loaded, out: &mut Output) -> anyhow::Result<Exit> {
    let listing = Listing { folder: None, mods: &loaded.mods, problems: &loaded.problems };
    out.print(&listing, |_| {
        let bad = loaded.mods.iter().filter(|report| !report.problems.is_empty()).count();
        // The built-in mod is no finding.
        let count = loaded.mods.len().saturating_sub(1);
        let checked = counted(count as u64, "mod");
        format!("{}{checked} checked, {bad} with something wrong\n", problems_text(loaded))
    })?;
    Ok(if loaded.is_sound() { Exit::Ok } else { Exit::FoundBad })
}

fn new(
    registry: &Registry,
    folder: &Path,
    kinds: &[String],
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let id = folder.file_name().unwrap_or_default().to_string_lossy();
    check_id(&id).map_err(|why| anyhow::anyhow!("the mod's id {why}"))?;
    let known: Vec<_> = registry.kinds().iter().map(crate::content::Kind::name).collect();
    for kind in kinds {
        anyhow::ensure!(
            known.contains(&kind.as_str()),
            "unknown kind {kind}; expected one of {}",
            known.join(", ")
        );
    }
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    let written = pack::write_template(registry, folder, &id, &kinds)?;
    out.print(&written, |written| {
        let lines: Vec<_> =
            written.iter().map(|path| format!("wrote {}", path.display())).collect();
        format!("{}\ncheck it with: pixel-llm mods check {}\n", lines.join("\n"), folder.display())
    })?;
    Ok(Exit::Ok)
}

fn find<'a>(loaded: &'a Loaded, id: &str) -> anyhow::Result<&'a ModReport> {
    loaded.find(id).ok_or_else(|| {
        let near = crate::names::nearest(id, loaded.mods.iter().map(ModReport::id));
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        anyhow::anyhow!("there is no mod {id}{near}")
    })
}

fn settings_of(folder: Option<&Path>) -> anyhow::Result<(&Path, Settings)> {
    let folder =
        folder.context("this platform has no folder for mods; name one with --mods DIR")?;
    let settings = Settings::read(folder).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("correct the order file first: {}", lines.join("; "))
    })?;
    Ok((folder, settings))
}

fn switch(
    loaded: &Loaded,
    folder: Option<&Path>,
    id: &str,
    on: bool,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let report = find(loaded, id)?;
    anyhow::ensure!(report.path.is_some(), "{id} is built in and always there");
    let (folder, mut settings) = settings_of(folder)?;
    let changed =
        if on { settings.disabled.remove(id) } else { settings.disabled.insert(id.into()) };
    if changed {
        settings.write(folder)?;
    }
    out.print(&serde_json::json!({"mod": id, "enabled": on, "changed": changed}), |_| {
        format!(
            "{id} is {}{}\n",
            if changed { "now " } else { "already " },
            if on { "enabled" } else { "disabled" }
        )
    })?;
    Ok(Exit::Ok)
}

fn allow(
    loaded: &Loaded,
    folder: Option<&Path>,
    id: &str,
    wanted: &CommandsToAllow<'_>,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let (folder, mut settings) = settings_of(folder)?;
    if wanted.forget {
        // Not looked for: a mod that is gone can be forgotten too.
        settings.forget(id);
    } else {
        let report = find(loaded, id)?;
        for command in chosen(report, &settings, wanted)? {
            settings.allow(id, &command);
        }
    }
    settings.write(folder)?;
    out.print(&settings.consents, |consents| {
        let line = |consent: &Consent| {
            format!("{} may run: {}\n", one_line(&consent.mod_id), one_line(&consent.command))
        };
        consents.iter().map(line).collect::<String>()
    })?;
    Ok(Exit::Ok)
}

/// What leave is given for.
struct CommandsToAllow<'a> {
    ids: &'a [String],
    texts: &'a [String],
    forget: bool,
}

/// The commands that were named, or that the user says yes to.
fn chosen(
    report: &ModReport,
    settings: &Settings,
    wanted: &CommandsToAllow<'_>,
) -> anyhow::Result<Vec<String>> {
    let id = report.id();
    let find = |wanted: &String, is_it: &dyn Fn(&String) -> bool| {
        let found = report.commands.iter().find(|command| is_it(command)).cloned();
        found.with_context(|| {
            format!("{id} has no command {wanted:?}; `mods show {id}` lists those it has")
        })
    };
    let by_id =
        wanted.ids.iter().map(|wanted| find(wanted, &|command| command_id(id, command) == *wanted));
    let by_text = wanted.texts.iter().map(|wanted| find(wanted, &|command| command == wanted));
    let named: Vec<_> = by_id.chain(by_text).collect::<anyhow::Result<_>>()?;
    if !named.is_empty() {
        return Ok(named);
    }
    let waiting = || report.commands.iter().filter(|command| !settings.allows(id, command));
    anyhow::ensure!(waiting().next().is_some(), "{id} has no command that waits for leave");
    // Questions go there, since standard output has the result.
    let mut terminal = terminal::stderr();
    if !terminal.is_terminal() || !std::io::stdin().is_terminal() {
        let lines = waiting()
            .map(|command| format!("{command} is --command-id {}", command_id(id, command)));
        anyhow::bail!(
            "nobody is there to be asked; say which of its commands may run: {}",
            lines.collect::<Vec<_>>().join("; ")
        );
    }
    let mut allowed = Vec::new();
    for command in waiting() {
        write!(terminal, "{id} would run {}\nAllow it? [y/N] ", one_line(command))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            allowed.push(command.clone());
        }
    }
    Ok(allowed)
}

#[derive(Serialize)]
struct ModDetails<'a> {
    #[serde(flatten)]
    report: &'a ModReport,
    changes: Vec<ShownChange<'a>>,
}

#[derive(Serialize)]
struct ShownChange<'a> {
    content: String,
    #[serde(flatten)]
    change: &'a Change,
}

fn change_line(content: &str, change: &Change) -> String {
    match &change.what {
        What::Brought => format!("{content}: brought by {}", change.mod_id),
        What::Overrode => format!("{content}: overridden by {}", change.mod_id),
        What::Patched { fields } => {
            format!("{content}: {} patched by {}", fields.join(", "), change.mod_id)
        }
    }
}

fn show(loaded: &Loaded, id: &str, out: &mut Output) -> anyhow::Result<Exit> {
    let all = loaded.contents.iter().flat_map(|(kind, name, content)| {
        content
            .history
            .iter()
            .map(move |change| ShownChange { content: format!("{kind}/{name}"), change })
    });
    if id.contains('/') {
        let changes: Vec<_> = all.filter(|shown| shown.content == id).collect();
        anyhow::ensure!(!changes.is_empty(), "there is no content {id}");
        out.print(&changes, |changes| {
            let line = |shown: &ShownChange<'_>| change_line(&shown.content, shown.change);
            changes.iter().map(|shown| format!("{}\n", one_line(&line(shown)))).collect()
        })?;
        return Ok(Exit::Ok);
    }
    let report = find(loaded, id)?;
    let shown =
        ModDetails { report, changes: all.filter(|shown| shown.change.mod_id == id).collect() };
    out.print(&shown, |shown| {
        let mut text = String::new();
        if let Some(about) = &report.about {
            let [id, version, name, words, author, licence] = [
                &about.id,
                &about.version,
                &about.name,
                &about.about,
                &about.author,
                &about.licence,
            ]
            .map(|text| one_line(text));
            text = format!("{id} {version}: {name}\n{words}\nby {author}, {licence}\n");
        }
        text.push_str(&format!("state: {}\n", word(report.state)));
        for shown in &shown.changes {
            text.push_str(&format!("{}\n", one_line(&change_line(&shown.content, shown.change))));
        }
        for command in &report.commands {
            let allowed =
                if loaded.settings.allows(id, command) { "allowed" } else { "not allowed" };
            let (command, command_id) = (one_line(command), command_id(id, command));
            text.push_str(&format!("has a command: {command}  ({command_id}, {allowed})\n"));
        }
        for problem in &report.problems {
            text.push_str(&format!("{problem}\n"));
        }
        text
    })?;
    Ok(Exit::Ok)
}

fn pack_mod(
    registry: &Registry,
    folder: &Path,
    output: Option<&Path>,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let loaded = with_models_checked(load_paths(registry, &[folder.to_owned()])?);
    let report =
        loaded.mods.iter().find(|report| report.path.is_some()).context("the mod was not read")?;
    // That another mod is needed says nothing against the archive.
    if report.state == State::Broken {
        return check(&loaded, out);
    }
    let about = report.about.as_ref().context("the mod has no manifest")?;
    let path = output.map_or_else(
        || PathBuf::from(format!("{}-{}.zip", about.id, about.version)),
        Path::to_owned,
    );
    let from = folder.canonicalize()?;
    anyhow::ensure!(
        from.is_dir(),
        "{} is no folder: an archive is packed already",
        folder.display()
    );
    let changed = |_| anyhow::anyhow!("the mod has changed meanwhile");
    let source = Source::read(&from).map_err(changed)?;
    let others = Source::list_others(&from).map_err(changed)?;
    let inputs: Vec<_> = source.files.iter().map(|file| &file.path).chain(&others.files).collect();
    let inputs: Vec<_> = inputs.into_iter().map(|name| from.join(name)).collect();
    outputs::refuse_input(&path, inputs)?;
    outputs::refuse_ending(&path, Format::Zip)?;
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the archive, since no rename crosses file systems.
    let mut file = tempfile::Builder::new().prefix(".pixel-llm-").tempfile_in(parent)?;
    pack::write_archive(&source, &from, &others.files, file.as_file_mut())?;
    file.persist_noclobber(&path)
        .map_err(|error| error.error)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let count = source.files.len() + others.files.len();
    let report = serde_json::json!({
        "mod": about.id, "file": path, "files": count, "left_out": others.left_out,
    });
    out.print(&report, |_| {
        let left_out = others.left_out.iter().map(|name| format!("left out {}\n", one_line(name)));
        let path = path.display().to_string();
        format!("wrote {}: {count} files\n{}", one_line(&path), left_out.collect::<String>())
    })?;
    Ok(Exit::Ok)
}
