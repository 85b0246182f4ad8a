//! `pixel-llm coach`: tasks in phases that do useful things to a model, each accepted by a check.
//!
//! Comes in: what to do with the queue. Goes out: the queue's state as a table or as JSON.

mod show;
#[cfg(feature = "world")]
mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Zoned;

use super::output::{Exit, Output, print_note};
use crate::coach::plan::{self, DEFAULT_PLAN};
use crate::coach::reviewer::Reviewer;
use crate::coach::work::{ModelContext, PauseToken, of_promotion};
use crate::coach::{
    AgentKind, AllowedCommands, ModelMark, PlanCommand, Queue, QueueStore, SharedQueue, Status,
    Task, TaskAction, TaskId, TaskRunner, command_id, working_folder,
};
use crate::content::assets::Assets;
use crate::folders;
use crate::lineage::LineageStore;
use crate::model::PixelModel;

/// Arguments of `coach`: what to do, and with whose queue.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm coach demo                         phases 1 to 3 of the default plan on the built-in \
  model
  pixel-llm coach init --plan default
  pixel-llm coach run --max-tasks 3
  pixel-llm coach status --phase 1
  pixel-llm coach status --model model.gguf      of another model, which has a queue of its own
  pixel-llm coach show head-importance --json
  pixel-llm coach run --phase 4                  agents make a corpus and teach it to the model
  pixel-llm coach add ablate-0-1 --title \"Without head 0.1\" --action 'ablate(layer: 0, head: 1)'

Exit codes: 0 done, 1 a task is failed, 2 cannot run.")]
pub struct CoachArgs {
    #[command(subcommand)]
    command: CoachCommand,
    /// The queue's file [default: coach.json in the user's data folder].
    #[arg(long, global = true, value_name = "FILE")]
    queue: Option<PathBuf>,
    /// The model whose queue is meant, where several models have one [default: the first model's].
    #[arg(id = "of_model", long = "model", global = true, value_name = "MODEL")]
    of_model: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum CoachCommand {
    /// Begin a queue from a plan.
    Init {
        /// A plan by name, or a .plan.ron file.
        #[arg(long, default_value = DEFAULT_PLAN)]
        plan: String,
        /// Begin anew where there is a queue.
        #[arg(long)]
        force: bool,
    },
    /// Tell where every task stands.
    Status {
        /// Only this phase.
        #[arg(long)]
        phase: Option<u32>,
    },
    /// Tell which task is next.
    Next {
        /// Only this phase, instead of the current one.
        #[arg(long)]
        phase: Option<u32>,
    },
    /// Do tasks until nothing is left that a program can do.
    Run(RunArgs),
    /// Tell all about a task.
    Show {
        /// Its name.
        id: String,
    },
    /// Add a task.
    Add(AddArgs),
    /// Say that a task is done.
    Done {
        /// Its name.
        id: String,
        /// What came of it.
        #[arg(long, default_value = "done")]
        word: String,
    },
    /// Say that a task has failed, or decline it.
    Fail {
        /// Its name.
        id: String,
        /// Why.
        #[arg(long, default_value = "declined")]
        why: String,
    },
    /// Try a task anew.
    Retry {
        /// Its name.
        id: String,
    },
    /// Allow a command that the plan declares, or no longer.
    Allow {
        /// The command's name, or the id of its words; without one, the commands are listed.
        name: Option<String>,
        /// Take the leave back.
        #[arg(long)]
        no: bool,
    },
    /// Tell which agents there are.
    Agents,
    /// Do phases 1 to 3 of the default plan in a queue of their own.
    Demo {
        /// A PXI-LLM or GGUF file; the built-in model when left out.
        model: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// A plan to begin with where there is no queue.
    #[arg(long, default_value = DEFAULT_PLAN)]
    plan: String,
    /// Only this phase.
    #[arg(long)]
    phase: Option<u32>,
    /// Stop after so many tasks.
    #[arg(long, value_name = "N")]
    max_tasks: Option<u32>,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Its name: small letters, digits, -, _ and dots.
    id: String,
    /// What it is called.
    #[arg(long)]
    title: String,
    /// What is done, as a plan writes it.
    #[arg(long)]
    action: String,
    /// From 1 to 10; 10 is the most urgent.
    #[arg(long, default_value_t = 5)]
    priority: u8,
    /// The phase that it belongs to.
    #[arg(long, default_value_t = 1)]
    phase: u32,
    /// What must be completed before; may be given several times.
    #[arg(long)]
    after: Vec<String>,
    /// Who should do it: local_llm, gemini, human or auto.
    #[arg(long, default_value = "auto")]
    agent: String,
    /// Who judges it: local_llm, gemini or human.
    #[arg(long)]
    reviewer: Option<String>,
}

/// Runs `coach`.
///
/// # Errors
/// The queue, the plan or the model cannot be used, or a task cannot be changed so.
pub fn run(args: CoachArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    if let CoachCommand::Demo { model } = &args.command {
        return demo(one_model(model.as_ref(), args.of_model.as_ref())?, assets, out);
    }
    if let CoachCommand::Run(run) = &args.command {
        let model = one_model(run.model.as_ref(), args.of_model.as_ref())?;
        return run_tasks(args.queue, run, model, assets, out);
    }
    let tells_of_others = !matches!(args.command, CoachCommand::Agents);
    let store = store_of(args.queue, args.of_model.as_deref(), tells_of_others, assets)?;
    let now = Zoned::now();
    match args.command {
        CoachCommand::Init { plan, force } => {
            let queue = plan::load(&plan, assets, &now)?;
            store.create(&queue, force)?;
            out.print(&queue, |queue| {
                format!("{}\n{}", store.path().display(), show::status(queue, None))
            })?;
        }
        CoachCommand::Status { phase } => {
            out.print(&store.read()?, |queue| show::status(queue, phase))?;
        }
        CoachCommand::Next { phase } => {
            let queue = store.read()?;
            let ready = phase.map_or_else(|| queue.ready(), |phase| queue.ready_in(phase));
            out.print(&ready.first(), |next| match next {
                Some(task) => show::line(task),
                None => "nothing is ready".into(),
            })?;
        }
        CoachCommand::Show { id } => {
            let queue = store.read()?;
            out.print(queue.task(&id.parse()?)?, show::task)?;
        }
        CoachCommand::Add(add) => {
            let task = task_of(add, &now)?;
            let id = task.id.clone();
            store.change(|queue| queue.add(task, &now))?;
            print_task(&store, &id, out)?;
        }
        CoachCommand::Done { id, word } => {
            change(&store, &id, out, |q, id| q.accept(id, "a person", &word, &now))?
        }
        CoachCommand::Fail { id, why } => change(&store, &id, out, |q, id| q.fail(id, why, &now))?,
        CoachCommand::Retry { id } => change(&store, &id, out, |q, id| q.retry(id, &now))?,
        CoachCommand::Allow { name, no } => {
            match name.as_deref().and_then(|name| name.strip_prefix(PROMOTION)) {
                Some(digest) => allow_promotion(store.folder(), digest, !no, out)?,
                None => allow(&store.read()?, name.as_deref(), !no, out)?,
            }
        }
        CoachCommand::Agents => {
            let reviewer = Reviewer::load(AgentKind::Gemini.name(), assets)?;
            let kinds = crate::agents::load_profiles(assets)?;
            out.print(&show::Agents { reviewer, kinds }, show::agents)?;
        }
        CoachCommand::Run(_) | CoachCommand::Demo { .. } => unreachable!("they were done above"),
    }
    Ok(Exit::Ok)
}

/// The queue that is meant. Where none is named, `tells_of_others` says whether those of other
/// models are named.
fn store_of(
    queue: Option<PathBuf>,
    model: Option<&Path>,
    tells_of_others: bool,
    assets: &Assets,
) -> anyhow::Result<QueueStore> {
    match (queue, model) {
        (Some(_), Some(_)) => {
            anyhow::bail!("--queue and --model both name a queue: give one of them")
        }
        (Some(queue), None) => Ok(QueueStore::new(queue)),
        // It is asked for its root hash alone.
        (None, Some(model)) => {
            Ok(QueueStore::new(queue_of(&super::open_model_quickly(Some(model), assets)?)?))
        }
        (None, None) => {
            let store = QueueStore::new(default_queue()?);
            if tells_of_others {
                tell_of_others(&store);
            }
            Ok(store)
        }
    }
}

/// What the name of leave to promote a child begins with.
const PROMOTION: &str = "promote-";

/// Allows a child of the lineage beside a queue to be promoted, or no longer. It is given for its
/// digest in this folder, as leave for a command is given for its words.
fn allow_promotion(
    folder: &Path,
    digest: &str,
    is_allowed: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let consents =
        AllowedCommands::of_user().context("there is no home folder: set PIXEL_LLM_CONFIG")?;
    let lineage = LineageStore::in_folder(folder).read()?;
    let child = lineage.find(digest)?;
    consents.allow(&folder.canonicalize()?, &of_promotion(child), is_allowed)?;
    let told = serde_json::json!({"promote": child, "allowed": is_allowed});
    let may = if is_allowed { "may" } else { "may not" };
    Ok(out.print(&told, |_| format!("{child} {may} be promoted, if its gate passes it\n"))?)
}

/// Allows a command of the plan, or no longer, and lists all of them.
fn allow(
    queue: &Queue,
    name: Option<&str>,
    is_allowed: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let consents =
        AllowedCommands::of_user().context("there is no home folder: set PIXEL_LLM_CONFIG")?;
    let folder = &working_folder()?;
    if let Some(name) = name {
        let is_meant =
            |command: &&PlanCommand| command.name == name || command_id(&command.line) == name;
        let command = queue.commands().iter().find(is_meant);
        let command =
            command.with_context(|| format!("the plan declares no command \"{name}\""))?;
        consents.allow(folder, &command.line, is_allowed)?;
    }
    let mut commands = Vec::new();
    for command in queue.commands() {
        let allowed = consents.allows(folder, &command.line)?;
        commands.push(show::Leave { command, id: command_id(&command.line), folder, allowed });
    }
    Ok(out.print(&commands, |commands| show::commands(commands))?)
}

/// Where the user's queue is kept.
///
/// # Errors
/// There is no home folder.
pub(crate) fn default_queue() -> anyhow::Result<PathBuf> {
    let folder =
        folders::data().context("there is no home folder: name the queue with --queue FILE")?;
    Ok(folder.join("coach").join(FILE_NAME))
}

/// The model that was named in one of two ways.
fn one_model<'a>(
    argument: Option<&'a PathBuf>,
    option: Option<&'a PathBuf>,
) -> anyhow::Result<Option<&'a Path>> {
    if let (Some(argument), Some(option)) = (argument, option)
        && argument != option
    {
        let (argument, option) = (argument.display(), option.display());
        anyhow::bail!("two models are named, {argument} and {option}; name one");
    }
    Ok(argument.or(option).map(PathBuf::as_path))
}

fn queue_of(model: &PixelModel) -> anyhow::Result<PathBuf> {
    default_queue_of(&ModelMark::of(model))
}

/// Says whose queue the usual one is, where other models have queues of their own.
fn tell_of_others(usual: &QueueStore) {
    let others = other_queues(usual);
    if others.is_empty() {
        return;
    }
    let owner = |store: &QueueStore| store.read().ok().and_then(|queue| queue.model().cloned());
    let named = |store: &QueueStore| match owner(store) {
        Some(model) => format!("{model}: {}", store.path().display()),
        None => store.path().display().to_string(),
    };
    let own =
        owner(usual).map_or_else(|| "of no model yet".to_owned(), |model| format!("of {model}"));
    let others = others.iter().map(named).collect::<Vec<_>>().join(", ");
    print_note(&format!(
        "this is the queue {own}; others have their own ({others}), which --model MODEL or \
         --queue FILE names"
    ));
}

/// The queues of models that came after the first one.
fn other_queues(usual: &QueueStore) -> Vec<QueueStore> {
    let is_short =
        |name: &str| name.len() == SHORT_ROOT && name.bytes().all(|b| b.is_ascii_hexdigit());
    let folders = std::fs::read_dir(usual.folder()).into_iter().flatten().flatten();
    let mut paths: Vec<_> = folders
        .filter(|entry| entry.file_name().to_str().is_some_and(is_short))
        .map(|entry| entry.path().join(FILE_NAME))
        .filter(|path| path.is_file())
        .collect();
    // A folder gives its entries in any order.
    paths.sort();
    paths.into_iter().map(QueueStore::new).collect()
}

/// The name of a queue's file in the user's data folder.
const FILE_NAME: &str = "coach.json";
/// Digits of a root hash in the name of a model's folder.
const SHORT_ROOT: usize = 12;

/// Where the user's queue for a model is kept: the first model has the usual file, every other one
/// a folder beside it.
///
/// # Errors
/// There is no home folder, or the usual queue cannot be read.
pub(crate) fn default_queue_of(model: &ModelMark) -> anyhow::Result<PathBuf> {
    let usual = default_queue()?;
    let store = QueueStore::new(&usual);
    let Some(queue) = store.exists().then(|| store.read()).transpose()? else { return Ok(usual) };
    let whose = match queue.model() {
        Some(own) if own.root == model.root => return Ok(usual),
        Some(own) => own.to_string(),
        None if !queue.is_begun() => return Ok(usual),
        // What another model may have done is not shown as done by this one.
        None => "a model that it does not name".into(),
    };
    let short: String = model.root.chars().take(SHORT_ROOT).collect();
    let path = store.folder().join(short).join(FILE_NAME);
    let path_shown = path.display();
    print_note(&format!("the usual queue is that of {whose}; that of {model} is {path_shown}"));
    Ok(path)
}

/// Makes a queue that of a model, or finds that it is. A queue of an earlier version has none and
/// is taken for this one's.
///
/// # Errors
/// It is that of another model, or cannot be read or written.
pub(crate) fn belong_to(store: &QueueStore, model: &ModelMark) -> anyhow::Result<()> {
    let was_begun = store.change(|queue| {
        let is_begun = queue.is_begun();
        Ok(queue.belong_to(model)? && is_begun)
    })?;
    if was_begun {
        let path = store.path().display();
        print_note(&format!(
            "{path} does not say whose work it is: from now on it is that of {model}"
        ));
    }
    Ok(())
}

fn change(
    store: &QueueStore,
    id: &str,
    out: &mut Output,
    change: impl FnOnce(&mut Queue, &TaskId) -> Result<(), crate::coach::CoachError>,
) -> anyhow::Result<()> {
    let id: TaskId = id.parse()?;
    store.change(|queue| change(queue, &id))?;
    print_task(store, &id, out)
}

fn print_task(store: &QueueStore, id: &TaskId, out: &mut Output) -> anyhow::Result<()> {
    Ok(out.print(store.read()?.task(id)?, show::line)?)
}

fn task_of(add: AddArgs, now: &Zoned) -> anyhow::Result<Task> {
    let agent = |name: &str| {
        let found = AgentKind::ALL.into_iter().find(|agent| agent.name() == name);
        found.with_context(|| {
            format!("no agent is called \"{name}\": use local_llm, gemini, human or auto")
        })
    };
    let action: TaskAction = plan::parse_action(&add.action)?;
    let dependencies = add.after.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    Ok(Task {
        priority: add.priority,
        phase: add.phase,
        dependencies,
        preferred_agent: agent(&add.agent)?,
        reviewer: add.reviewer.as_deref().map(agent).transpose()?,
        ..Task::new(add.id.parse()?, add.title, action, now)
    })
}

fn run_tasks(
    queue: Option<PathBuf>,
    run: &RunArgs,
    model: Option<&Path>,
    assets: &Assets,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    // First, since the model says whose queue it is.
    let model = super::open_model(model, assets)?;
    let store = QueueStore::new(queue.map_or_else(|| queue_of(&model), Ok)?);
    if !store.exists() {
        store.create(&plan::load(&run.plan, assets, &Zoned::now())?, false)?;
    }
    let phases = run.phase.map_or_else(Vec::new, |phase| vec![phase]);
    let queue = drive(store, model, phases, run.max_tasks, assets)?;
    out.print(&*queue, |queue| show::status(queue, run.phase))?;
    Ok(exit_of(&queue))
}

fn exit_of(queue: &Queue) -> Exit {
    let failed = queue.tasks().iter().any(|task| task.status == Status::Failed);
    if failed { Exit::FoundBad } else { Exit::Ok }
}

/// Does tasks and shows them as they are done; of the named phases in order, or of the current one
/// as it moves on. The queue as it is then.
fn drive(
    store: QueueStore,
    model: PixelModel,
    phases: Vec<u32>,
    max_tasks: Option<u32>,
    assets: &Assets,
) -> anyhow::Result<Arc<Queue>> {
    let folder = store.folder().to_owned();
    belong_to(&store, &ModelMark::of(&model))?;
    let context = ModelContext::new(model, &folder, Arc::new(PauseToken::default()))?
        .with_assets(assets.clone());
    #[cfg(feature = "world")]
    let context = context.with_devices(Box::new(crate::coach::work::GpuDevices));
    let reviewer = Reviewer::load(AgentKind::Gemini.name(), assets)?;
    let shared_queue = Arc::new(SharedQueue::new(store)?);
    let runner =
        TaskRunner::new(Arc::clone(&shared_queue), context, reviewer, AllowedCommands::of_user());
    let mut live = show::Live::new();
    #[cfg(feature = "world")]
    workers::drive(runner, phases, max_tasks, assets, &mut |step| live.tell(&step))?;
    #[cfg(not(feature = "world"))]
    alone(&runner, phases, max_tasks, &mut |step| live.tell(&step))?;
    live.finish();
    // Other processes may have changed the file since it was last read.
    shared_queue.refresh()?;
    Ok(shared_queue.queue())
}

/// Without a world there are no agents, and one worker does the tasks.
#[cfg(not(feature = "world"))]
fn alone(
    runner: &TaskRunner,
    phases: Vec<u32>,
    max_tasks: Option<u32>,
    tell: &mut (dyn FnMut(crate::coach::TaskStep) + Send),
) -> anyhow::Result<()> {
    let mut left = max_tasks.unwrap_or(u32::MAX);
    let phases: Vec<Option<u32>> =
        if phases.is_empty() { vec![None] } else { phases.into_iter().map(Some).collect() };
    for phase in phases {
        let mut tasks = crate::coach::Runner::new(runner, phase);
        while left > 0 && tasks.step(tell)? {
            left -= 1;
        }
    }
    Ok(())
}

/// The phases that the demonstration does.
const DEMO_PHASES: [u32; 3] = [1, 2, 3];

fn demo(model: Option<&Path>, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    // It goes at the end, with the files of reports, which are written beside the queue.
    let folder = tempfile::tempdir().context("cannot make a folder for the demonstration")?;
    let store = QueueStore::new(folder.path().join("coach.json"));
    store.create(&plan::load(DEFAULT_PLAN, assets, &Zoned::now())?, false)?;
    let queue =
        drive(store, super::open_model(model, assets)?, DEMO_PHASES.to_vec(), None, assets)?;
    out.print(&*queue, |queue| show::status(queue, None))?;
    let finished = queue.progress().iter().take(DEMO_PHASES.len()).all(|phase| phase.is_over());
    Ok(if finished { Exit::Ok } else { Exit::FoundBad })
}
