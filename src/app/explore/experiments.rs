//! Experiments from the window: a list, a button, and what they find. The cells go to the same file
//! as those of a run without a window would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context;
use bevy::prelude::*;
use bevy_egui::{EguiContexts, EguiPrimaryContextPass, egui};

use crate::app::cli::engine::{Device, GpuMemory, open_engine};
use crate::app::cli::experiment::CellFile;
use crate::batch::RunOutcome;
use crate::batch::output::Existing;
use crate::content::assets::Assets;
use crate::experiment::{Experiment, ExperimentJob, SLOTS};
use crate::folders;
use crate::model::PixelModel;
use crate::model::plan::Rules;
use crate::panel::{self, DrawerSystems};
use crate::world::WorldSystems;
use crate::world::layout::Atlas;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

/// The most conditions whose figures are shown.
const MOST_SHOWN: usize = 8;

/// Adds the list of experiments. Comes after `WorldPlugin`, and needs [`Assets`].
pub(super) struct ExperimentsPlugin;

impl Plugin for ExperimentsPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Experiments>()
            .add_systems(Update, listen.in_set(WorldSystems::Act))
            .add_systems(EguiPrimaryContextPass, draw.in_set(DrawerSystems));
    }
}

/// What is shown of experiments.
#[derive(Resource, Default)]
struct Experiments {
    run: Option<ExperimentRun>,
}

/// An experiment that runs or has run.
struct ExperimentRun {
    name: String,
    total: usize,
    done: usize,
    /// Of each condition, the sum of the differences and their count.
    found: BTreeMap<String, (f32, u32)>,
    state: String,
    is_over: bool,
    cancel: Arc<AtomicBool>,
    // A resource is shared between threads, which a receiver by itself cannot be.
    reports: Mutex<Receiver<ExperimentNews>>,
}

/// What the thread tells.
enum ExperimentNews {
    Begun(usize),
    Cell(String, Option<f32>),
    Over(String),
}

impl Drop for ExperimentRun {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

fn listen(mut experiments: ResMut<Experiments>) {
    let Some(run) = experiments.bypass_change_detection().run.as_mut() else { return };
    let reports: Vec<ExperimentNews> =
        run.reports.lock().map(|reports| reports.try_iter().collect()).unwrap_or_default();
    for report in reports {
        match report {
            ExperimentNews::Begun(total) => run.total = total,
            ExperimentNews::Cell(condition, difference) => {
                run.done += 1;
                if let Some(difference) = difference {
                    let sum = run.found.entry(condition).or_default();
                    *sum = (sum.0 + difference, sum.1 + 1);
                }
            }
            ExperimentNews::Over(text) => {
                run.state = text;
                run.is_over = true;
            }
        }
    }
}

fn draw(
    mut contexts: EguiContexts,
    assets: Res<Assets>,
    atlas: Res<Atlas>,
    settings: Res<Settings>,
    drawer: Res<Drawer>,
    mut experiments: ResMut<Experiments>,
) -> Result {
    let place = (&*drawer, Tab::Experiments);
    panel::show(contexts.ctx_mut()?, settings.theme, place, |ui| {
        let running = experiments.run.as_ref().is_some_and(|run| !run.is_over);
        match assets.all::<Experiment>("experiment") {
            Err(error) => {
                ui.label(error.to_string());
            }
            Ok(all) => {
                for (name, experiment) in all {
                    ui.horizontal_wrapped(|ui| {
                        let words = "measure all of it on the processor, into a file";
                        if panel::clicked(ui, !running, egui::Button::new("run"), words) {
                            experiments.run =
                                Some(begin(name.clone(), experiment.clone(), atlas.model()));
                        }
                        ui.label(egui::RichText::new(&experiment.title).strong())
                            .on_hover_text(&experiment.description);
                        ui.weak(format!("experiment/{name}"));
                    });
                }
            }
        }
        if let Some(run) = &experiments.run {
            ui.separator();
            show(ui, run);
        }
    });
    Ok(())
}

fn show(ui: &mut egui::Ui, run: &ExperimentRun) {
    ui.horizontal_wrapped(|ui| {
        ui.label(format!("{}: {} of {} cells", run.name, run.done, run.total));
        let words = "end it here; what was measured stays in the file";
        if !run.is_over && panel::clicked(ui, true, egui::Button::new("stop"), words) {
            run.cancel.store(true, Ordering::Relaxed);
        }
    });
    ui.weak(&run.state);
    let mut means: Vec<(&str, f32)> =
        run.found.iter().map(|(name, (sum, count))| (name.as_str(), sum / *count as f32)).collect();
    means.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    means.truncate(MOST_SHOWN);
    if !means.is_empty() {
        ui.label("What changes most, in nats against the model as it is:");
        egui::Grid::new("found").spacing([18.0, 2.0]).show(ui, |ui| {
            for (name, mean) in means {
                ui.monospace(name);
                ui.monospace(format!("{mean:+.2}"));
                ui.end_row();
            }
        });
    }
}

/// Runs an experiment on a thread, on the processor: the device is busy with the picture and the
/// prompt.
fn begin(name: String, experiment: Experiment, model: &PixelModel) -> ExperimentRun {
    let (tell, reports) = channel();
    let cancel = Arc::new(AtomicBool::new(false));
    // The same bytes; the layout of the land is nothing to the forward pass.
    let model = model.laid_out(&Rules::default());
    let (job, stop) = (name.clone(), Arc::clone(&cancel));
    let thread = std::thread::Builder::new().name("experiment".into()).spawn(move || {
        let end = match work(&job, &experiment, model, &stop, &tell) {
            Ok(text) => text,
            Err(error) => format!("{error:#}"),
        };
        // Whoever has closed the window does not listen any more.
        let _ = tell.send(ExperimentNews::Over(end));
    });
    let is_over = thread.is_err();
    let state =
        thread.err().map_or_else(|| "running on the processor".into(), |error| error.to_string());
    let reports = Mutex::new(reports);
    ExperimentRun {
        name,
        total: 0,
        done: 0,
        found: BTreeMap::new(),
        state,
        is_over,
        cancel,
        reports,
    }
}

/// Measures all cells and says where they are.
fn work(
    name: &str,
    experiment: &Experiment,
    model: PixelModel,
    cancel: &AtomicBool,
    tell: &Sender<ExperimentNews>,
) -> anyhow::Result<String> {
    let stem = model
        .path()
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let path = results_folder()?.join(format!("{name}-{stem}.jsonl"));
    let job = ExperimentJob::new(name, experiment, &model)?;
    let _ = tell.send(ExperimentNews::Begun(job.cells()));
    // Nothing is lost by it: the same experiment gives the same lines.
    let mut file = CellFile::open(Some(&path), Existing::Overwrite)?;
    let memory = GpuMemory::default();
    let mut engine =
        open_engine(Device::Cpu, model, job.slots(SLOTS), Some(job.context()), memory)?;
    let (outcome, failed) = job.run(&mut *engine, &mut file, cancel, &mut |cell| {
        let _ = tell.send(ExperimentNews::Cell(cell.condition.to_owned(), cell.difference));
    })?;
    file.sync()?;
    let end = if outcome == RunOutcome::Cancelled { "stopped" } else { "done" };
    Ok(format!("{end}, {failed} failed; the cells are in {}", path.display()))
}

/// Where the lines of experiments go that the window runs.
fn results_folder() -> anyhow::Result<PathBuf> {
    let folder =
        folders::data().context("there is no home folder for results")?.join("experiments");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
