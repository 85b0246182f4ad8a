//! Agents and the coach's queue for a window's world.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bevy::prelude::App;
use jiff::Zoned;

use super::WorldSetup;
use crate::agents::load_profiles;
use crate::agents::simulation::WorldSnapshot;
use crate::app::cli::coach::belong_to;
use crate::app::cli::output::print_warning;
use crate::coach::plan::{self, DEFAULT_PLAN};
use crate::coach::reviewer::Reviewer;
use crate::coach::work::{ModelContext, PauseToken};
use crate::coach::{AgentKind, AllowedCommands, ModelMark, QueueStore, SharedQueue, TaskRunner};
use crate::world::agents::{InhabitedPlugin, WorldFile, inhabit};

/// Who lives in the world, and where their state is kept.
#[derive(Debug)]
pub struct Inhabitants {
    /// The coach's queue; it begins with the default plan where there is none.
    pub queue: PathBuf,
    /// Where the state of the world is kept, if anywhere.
    pub world: Option<PathBuf>,
    /// The user's leave for commands.
    pub consents: Option<AllowedCommands>,
}

impl Inhabitants {
    /// The user's queue, and a file of the user's for each model.
    ///
    /// # Errors
    /// There is no home folder.
    pub(crate) fn of_user(setup: &WorldSetup, world: Option<PathBuf>) -> anyhow::Result<Self> {
        let queue = crate::app::cli::coach::default_queue_of(&ModelMark::of(&setup.model))?;
        // Beside the model's queue: two models may have files of one name.
        let usual = || {
            let stem =
                setup.model.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
            queue.with_file_name(format!("{stem}.world.ron"))
        };
        let world = Some(world.unwrap_or_else(usual));
        Ok(Self { queue, world, consents: AllowedCommands::of_user() })
    }

    /// Puts them into an app that has the world already.
    ///
    /// # Errors
    /// The queue, the kinds of agents or the saved world cannot be used.
    pub fn move_in(self, app: &mut App, setup: &WorldSetup) -> anyhow::Result<()> {
        let store = QueueStore::new(self.queue);
        if !store.exists() {
            store.create(&plan::load(DEFAULT_PLAN, &setup.assets, &Zoned::now())?, false)?;
        }
        // Before anybody works: tasks of another model's queue are not done with this one.
        belong_to(&store, &ModelMark::of(&setup.model))?;
        let folder = store.folder().to_owned();
        let shared_queue = Arc::new(SharedQueue::new(store)?);
        shared_queue.watch();
        // Half of the processor's threads: the others draw and answer.
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() / 2);
        let context =
            ModelContext::new(Arc::clone(&setup.model), &folder, Arc::new(PauseToken::default()))?
                .with_threads(threads)?
                .with_assets(setup.assets.clone());
        let reviewer = Reviewer::load(AgentKind::Gemini.name(), &setup.assets)?;
        let runner = Arc::new(TaskRunner::new(shared_queue, context, reviewer, self.consents));
        let saved = match self.world.as_deref().filter(|path| path.exists()) {
            Some(path) => {
                Some(WorldSnapshot::load(path).context("the saved world is left as it is")?)
            }
            None => None,
        };
        app.add_plugins(InhabitedPlugin);
        inhabit(app.world_mut(), runner, load_profiles(&setup.assets)?, saved.as_ref())?;
        app.insert_resource(WorldFile(self.world));
        Ok(())
    }

    /// As [`Self::move_in`]; where they cannot, the world is opened without them and says why.
    pub(crate) fn move_in_or_stay_away(self, app: &mut App, setup: &WorldSetup) {
        if let Err(error) = self.move_in(app, setup) {
            print_warning(&format!("the world is without agents: {error:#}"));
        }
    }
}
