//! Generation in the window: forward steps in the app that draws, on the pages that are drawn.
//!
//! In: a prompt, by [`Generation::ask`]. Out: tokens with their probabilities and alternatives, and
//! of each what took part: norms of the residual stream, the heads and the feed-forward fields, and
//! the values from which attention and the logit lens are told. The main world says what is asked
//! and how fast; the render world takes as many steps as a frame's budget holds. Both share one
//! `Session`.

mod conversation;
mod drive;
mod engine;
pub mod lens;
mod session;
mod state;
mod trace;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::renderer::{RenderGraph, RenderGraphSystems};
use bevy::render::{GpuResourceAppExt, RenderApp};

use super::WorldSystems;
use super::adapters::{AdapterSystems, LoadedAdapters};
use super::keys::UserAction;
use super::layout::Atlas;
use super::learning::DeskSystems;
use super::settings::Settings;
use super::tour::{self, TourProblem, TourStep, TourSystems};
use crate::batch::{Message, ModelText, Prompt, TextModel};
use crate::forward::Interventions;
use crate::forward::gpu::{
    EditedWeights, ForwardPluginSystems, ForwardState, ForwardStatus, InterventionsSystems,
};
use crate::forward::sampling::SamplingParams;
use crate::model::{ModelConfig, PixelModel};
use conversation::Branches;
use session::{Beginning, ChunkReport, Front, Pace, Session};

pub use engine::{WindowEngine, WindowEngineEnd};
pub use state::ModelState;
pub use trace::{LayerOutputs, SeenColumn, TokenTrace, attention};

/// Positions of the sequence that the world computes.
pub const CONTEXT: u32 = 1024;

/// Bytes of values that are kept of a sequence. Later positions keep their norms only, and
/// attention cannot be told of them.
const MOST_KEPT: usize = 256 << 20;

/// Bytes of what heads and fields gave that are kept of a sequence, to be compared with what they
/// give after a change: 530 positions of SmolLM2-135M, 70 of a model of 7 billion weights.
const MOST_OUTPUTS: usize = 128 << 20;

/// A token of the sequence, and what took part in what comes after it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeneratedToken {
    /// Its number in the vocabulary.
    pub token: u32,
    /// What it adds to the text.
    pub text: String,
    /// How probable it was, where it was made and not given.
    pub probability: Option<f32>,
    /// What else might have stood here, the most probable first.
    pub alternatives: Vec<Alternative>,
    /// Norm of the residual stream after each layer, at this token.
    pub residual_norms: Vec<f32>,
    /// Norm of what each layer added to the residual stream, at this token.
    pub added_norms: Vec<f32>,
    /// Norm of what each head gave, layer by layer, at this token.
    pub head_norms: Vec<f32>,
    /// Norm of each layer's feed-forward activity, at this token.
    pub hidden_norms: Vec<f32>,
    /// The values at this token, as far as they are kept.
    pub trace: Option<Arc<TokenTrace>>,
    /// What heads and fields gave at this token, as far as it is kept.
    pub outputs: Option<Arc<LayerOutputs>>,
    /// What this token's step was computed with.
    pub state: Arc<ModelState>,
}

/// A token that might have stood at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// Its number in the vocabulary.
    pub token: u32,
    /// What it would have added to the text.
    pub text: String,
    /// How probable it was.
    pub probability: f32,
}

/// A prompt, and how it is answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// What is asked, as text.
    pub prompt: String,
    /// Whether it is a message in a chat, where the model brings a chat template.
    pub chat: bool,
    /// The most tokens of an answer.
    pub tokens: u32,
    /// How freely to choose; the same prompt draws with the same random numbers each time.
    pub temperature: f32,
    /// The conversation before it, where it is a message in a chat.
    pub before: Vec<Message>,
    /// What the answer begins with: tokens that are given and not drawn.
    pub opening: Vec<GeneratedToken>,
}

/// An answer as far as it has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Its tokens, without their values.
    pub tokens: Vec<GeneratedToken>,
    /// The token with which the model ended it, and how probable that was.
    pub end: Option<(u32, f32)>,
    /// Whether nothing comes after it.
    pub is_whole: bool,
}

/// What the model is thinking.
#[derive(Resource, Default)]
pub struct Generation {
    /// The sequence so far.
    pub thoughts: Vec<GeneratedToken>,
    /// How many of them were the prompt.
    pub prompt_len: usize,
    /// Whether no further step is taken.
    pub paused: bool,
    /// What went wrong, in words.
    pub problem: Option<String>,
    /// The token with which the model ended its answer, and how probable that was.
    pub end: Option<(u32, f32)>,
    /// How probable the tokens of an answer before are now, the first first: as far as both answers
    /// have the same text before them.
    pub expected: Vec<f32>,
    /// Whether one step is taken though it is paused.
    pub single: bool,
    /// Whether the prompt is to be answered again, as the model is now.
    pub again: bool,
    /// How long the last step took and how many tokens it had.
    pub last_step: Option<(Duration, usize)>,
    /// How far the step under way has come, where it takes longer than a frame.
    front: Option<Front>,
    done: usize,
    generation: u64,
    kept: usize,
    kept_outputs: usize,
    credit: f32,
    text: Option<Arc<ModelText>>,
    asked: Option<Asked>,
    /// What the next step is computed with.
    current: Arc<ModelState>,
    /// Why nothing can be asked now.
    refusal: Option<String>,
    /// The damaged tiles of the model, in words.
    damage: Option<String>,
    /// Whether somebody wants answers that are computed with them.
    uses_damage: bool,
    /// What was refused for them.
    refused: Option<Asked>,
    /// Whether somebody has ended the answer.
    stopped: bool,
    /// Whether the keys and values of the sequence are lost with their device.
    keys_lost: bool,
    branches: Branches,
    /// Whether what is said next begins another conversation.
    is_conversation_over: bool,
    /// Whether the sequence is an engine's, and whether it has a step under way.
    is_engines: bool,
    is_engine_at_work: bool,
    link: Link,
}

impl Generation {
    /// Begins a sequence: a prompt as it is, or in a chat as a user's message where the model
    /// brings a chat template, and so many tokens after it.
    pub fn ask(
        &mut self,
        model: &PixelModel,
        prompt: &str,
        chat: bool,
        tokens: u32,
        temperature: f32,
    ) {
        let prompt = prompt.to_owned();
        let asked = Asked { prompt, chat, tokens, temperature, ..Asked::default() };
        self.branches = Branches::default();
        self.is_conversation_over = false;
        self.begin(model, asked, Vec::new());
    }

    /// Answers a prompt, and sees how probable the tokens of an answer before are meanwhile.
    pub(super) fn begin(&mut self, model: &PixelModel, asked: Asked, expected: Vec<u32>) {
        if let Some(why) = &self.refusal {
            self.problem = Some(format!("{why}: nothing can be asked until there is another"));
            return;
        }
        self.refused = None;
        if let Some(damage) = self.damage.as_ref().filter(|_| !self.uses_damage) {
            self.problem = Some(format!("{damage}. An answer would be computed with what is left"));
            self.refused = Some(asked);
            return;
        }
        self.problem = None;
        self.end = None;
        self.expected.clear();
        let context = model.config().context_length.min(CONTEXT) as usize;
        match self.encode(model, &asked) {
            Ok(ids) if ids.is_empty() => self.problem = Some("the prompt is empty".into()),
            Ok(ids) if ids.len() >= context => {
                let way_out = if asked.before.is_empty() { "" } else { "; begin a new chat" };
                self.problem = Some(format!(
                    "the prompt has {} tokens; there is room for {context}{way_out}",
                    ids.len()
                ));
            }
            Ok(ids) => self.begin_with(ids, asked, context, expected),
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// Begins a sequence of the ids of a prompt and what its answer begins with.
    fn begin_with(&mut self, mut ids: Vec<u32>, asked: Asked, context: usize, expected: Vec<u32>) {
        let prompt_len = ids.len();
        let opening = &asked.opening[..asked.opening.len().min(context - prompt_len - 1)];
        ids.extend(opening.iter().map(|thought| thought.token));
        let wanted = asked.tokens.saturating_sub(opening.len() as u32);
        let wanted = wanted.min((context - ids.len()) as u32);
        // A question is answered from its first token on; what goes on from something keeps it.
        let goes_on = !asked.before.is_empty() || !asked.opening.is_empty();
        let computed = if goes_on { self.computed_of(&ids) } else { 0 };
        let prompt = self.given(&ids[..prompt_len]);
        let given = opening.iter().map(|thought| GeneratedToken {
            token: thought.token,
            text: thought.text.clone(),
            probability: thought.probability,
            alternatives: thought.alternatives.clone(),
            ..GeneratedToken::default()
        });
        self.put(prompt.into_iter().chain(given).collect(), computed);
        self.prompt_len = prompt_len;
        self.is_engines = false;
        let temperature = asked.temperature;
        let params = SamplingParams { temperature, ..SamplingParams::default() };
        let text = Arc::clone(self.text.as_ref().expect("the prompt was encoded with it"));
        let computed_with = Arc::clone(&self.current);
        let beginning = Beginning { tokens: ids, prompt_len, computed, computed_with, wanted };
        self.generation =
            self.link.with(|session| session.begin(beginning, params, text, expected));
        self.asked = Some(asked);
    }

    /// Tokens that are given, of which nothing is known yet.
    fn given(&self, ids: &[u32]) -> Vec<GeneratedToken> {
        let given = |&token| GeneratedToken {
            token,
            text: self.text_of(token),
            ..GeneratedToken::default()
        };
        ids.iter().map(given).collect()
    }

    /// Puts a sequence in the place of the one before, with which it shares the first tokens that
    /// are computed.
    fn put(&mut self, given: Vec<GeneratedToken>, computed: usize) {
        let mut known = std::mem::take(&mut self.thoughts).into_iter().take(computed);
        // What is not known takes its step again, with the model as it is now.
        let with_known = |given: GeneratedToken| match known.next() {
            Some(known) => GeneratedToken {
                probability: given.probability,
                alternatives: given.alternatives,
                ..known
            },
            None => given,
        };
        let thoughts: Vec<GeneratedToken> = given.into_iter().map(with_known).collect();
        let kept = thoughts.iter().filter_map(|thought| thought.trace.as_ref());
        self.kept = kept.map(|trace| trace.size_in_bytes()).sum();
        let kept = thoughts.iter().filter_map(|thought| thought.outputs.as_ref());
        self.kept_outputs = kept.map(|outputs| outputs.size_in_bytes()).sum();
        self.thoughts = thoughts;
        (self.done, self.credit) = (computed, 0.0);
        (self.stopped, self.keys_lost) = (false, false);
        self.front = None;
    }

    /// How many of the first tokens of a sequence are on the device already, as the model would
    /// compute them now: those that it shares with the one before. The last one is computed in any
    /// case, since what comes next is told from it.
    fn computed_of(&self, ids: &[u32]) -> usize {
        if self.keys_lost {
            return 0;
        }
        let done = self.thoughts[..self.done.min(self.thoughts.len())].iter().zip(ids);
        let shared = done.take_while(|(thought, id)| {
            thought.token == **id && state::is_same(&thought.state, &self.current)
        });
        shared.count().min(ids.len() - 1)
    }

    fn open_text(&mut self, model: &PixelModel) -> Result<Arc<ModelText>, String> {
        if let Some(text) = &self.text {
            return Ok(Arc::clone(text));
        }
        let text = ModelText::new(model).map_err(|error| error.to_string())?;
        // They hold for every answer, so once is enough.
        text.warnings().iter().for_each(|warning| warn!("{}", crate::terminal::one_line(warning)));
        Ok(Arc::clone(self.text.insert(Arc::new(text))))
    }

    fn encode(&mut self, model: &PixelModel, asked: &Asked) -> Result<Vec<u32>, String> {
        let text = self.open_text(model)?;
        let prompt = if asked.chat && text.brings_chat_template() {
            let question = Message::new("user", &asked.prompt);
            Prompt::Chat(asked.before.iter().cloned().chain([question]).collect::<Vec<_>>().into())
        } else {
            Prompt::Text(asked.prompt.clone())
        };
        text.encode(&prompt).map_err(|error| error.to_string())
    }

    /// The text of a token; nothing before the first prompt.
    pub fn text_of(&self, id: u32) -> String {
        let bytes = self.text.as_ref().map(|text| text.token_bytes(id)).unwrap_or_default();
        // A token may be some bytes of a character.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes of values that are kept of the sequence.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.min(MOST_KEPT) + self.kept_outputs.min(MOST_OUTPUTS)
    }

    /// Whether there is a step to take.
    pub fn is_busy(&self) -> bool {
        if self.is_engines {
            return self.is_engine_at_work && self.problem.is_none();
        }
        self.done < self.thoughts.len() && self.problem.is_none() && !self.stopped
    }

    /// The number of the sequence; each prompt has another.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The answer so far.
    pub fn answer(&self) -> String {
        self.thoughts.iter().skip(self.prompt_len).map(|thought| thought.text.as_str()).collect()
    }

    /// Whether the model ended its answer before the first token.
    pub fn ended_at_once(&self) -> bool {
        self.end.is_some() && self.thoughts.len() == self.prompt_len
    }

    /// What was asked last, and could be answered.
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// What the next step is computed with.
    pub fn current_state(&self) -> &Arc<ModelState> {
        &self.current
    }

    /// Whether something that was computed of this sequence, and is shown, was computed before the
    /// model was changed.
    pub fn is_before_change(&self) -> bool {
        // A step reads keys and values of all steps before: one of another state is enough.
        let mut done = self.thoughts.iter().take(self.done);
        done.any(|thought| !state::is_same(&thought.state, &self.current))
    }

    /// The answer so far, to be kept beside another one.
    pub fn answer_so_far(&self) -> Answer {
        let tokens = self.thoughts.iter().skip(self.prompt_len);
        // Its values are not shown, and take most of its memory.
        let tokens = tokens
            .map(|thought| GeneratedToken { trace: None, outputs: None, ..thought.clone() })
            .collect();
        Answer { tokens, end: self.end, is_whole: !self.is_busy() && self.problem.is_none() }
    }

    /// Takes in what the next step is computed with.
    fn follow(&mut self, now: ModelState) {
        if *self.current == now {
            return;
        }
        // What is taken back is the state of before: comparing it is then no work.
        let known = self.thoughts.iter().take(self.done).map(|thought| &thought.state);
        let known = known.rev().find(|state| ***state == now).cloned();
        self.current = known.unwrap_or_else(|| Arc::new(now));
        let state = Arc::clone(&self.current);
        self.link.with(|session| session.state = state);
    }

    /// Where the last token is whose step is done.
    pub fn latest_place(&self) -> Option<usize> {
        self.done.checked_sub(1)
    }

    /// The first layers of the step under way, where it takes longer than a frame: how many are
    /// computed, and what took part in them.
    pub fn front(&self) -> Option<(usize, &SeenColumn)> {
        let front = self.front.as_ref().filter(|front| front.place >= self.done)?;
        Some((front.layers as usize, &front.seen))
    }

    /// The last token whose step is done.
    pub fn latest(&self) -> Option<&GeneratedToken> {
        self.thoughts.get(self.latest_place()?)
    }

    /// Where a head looked from a token: a share for each token up to it. `None` where its values
    /// are not there, or no longer.
    pub fn attention(
        &self,
        config: &ModelConfig,
        at: usize,
        layer: u32,
        head: u32,
    ) -> Option<Vec<f32>> {
        let traces = self.thoughts.get(..=at)?.iter().map(|thought| thought.trace.as_ref());
        attention(traces, config, layer, head)
    }

    /// The damaged tiles that an answer is computed with, in words: somebody wanted it anyway.
    pub fn damage_of_answer(&self) -> Option<&str> {
        let is_answered = self.uses_damage && !self.thoughts.is_empty();
        self.damage.as_deref().filter(|_| is_answered)
    }

    /// The prompt that was refused since tiles are damaged.
    pub fn refused(&self) -> Option<&Asked> {
        self.refused.as_ref()
    }

    /// Answers what was refused, and all that is asked later, with tiles that are damaged.
    pub fn answer_anyway(&mut self, model: &PixelModel) {
        self.uses_damage = true;
        if let Some(asked) = self.refused.take() {
            self.begin(model, asked, Vec::new());
        }
    }

    /// Takes in that tiles are damaged. An answer that has begun ends, unless somebody wants it all
    /// the same: some of its steps were computed with them.
    pub(super) fn find_damage(&mut self, damage: Option<String>) {
        self.damage = damage;
        if self.damage.is_none() || self.uses_damage || self.thoughts.is_empty() {
            return;
        }
        self.link.with(Session::end);
        self.thoughts.clear();
        (self.prompt_len, self.done) = (0, 0);
        self.refused = self.asked.take();
        self.problem = self.damage.as_ref().map(|damage| format!("{damage}. The answer was ended"));
    }

    /// Ends the sequence, of whose keys and values nothing is left, and refuses others.
    pub(super) fn lose_device(&mut self, why: &str) {
        let was_under_way = self.is_busy();
        self.refusal = Some(why.to_owned());
        self.keys_lost = true;
        self.link.with(Session::end);
        if was_under_way {
            self.problem = Some(format!("{why}: this answer has ended, ask again"));
        }
    }

    /// Takes prompts again, now that there is another device.
    pub(super) fn find_device(&mut self) {
        self.refusal = None;
    }

    /// Takes in what came of a step.
    fn accept(&mut self, report: ChunkReport) {
        if let Some(problem) = report.problem {
            self.problem = Some(problem);
        }
        self.end = self.end.or(report.end);
        self.expected.extend(report.expected);
        let columns = report.seen.len();
        if self.is_engines {
            self.follow_engine(report.first, &report.tokens);
        }
        for (thought, seen) in self.thoughts.iter_mut().skip(report.first).zip(report.seen) {
            let SeenColumn {
                residual_norms,
                added_norms,
                head_norms,
                hidden_norms,
                trace,
                outputs,
            } = seen;
            // Counted on when nothing is kept any more: attention needs every position before, so
            // that later ones would be of no use.
            self.kept += trace.size_in_bytes();
            thought.trace = (self.kept <= MOST_KEPT).then(|| Arc::new(trace));
            self.kept_outputs += outputs.size_in_bytes();
            thought.outputs = (self.kept_outputs <= MOST_OUTPUTS).then(|| Arc::new(outputs));
            thought.residual_norms = residual_norms;
            thought.added_norms = added_norms;
            thought.head_norms = head_norms;
            thought.hidden_norms = hidden_norms;
            thought.state = Arc::clone(&report.state);
        }
        if columns > 0 {
            self.done = report.first + columns;
            self.last_step = Some((report.took, columns));
        }
        if let Some(drawn) = report.drawn {
            let alternatives = drawn.top.iter().map(|&(token, logprob)| Alternative {
                token,
                text: self.text_of(token),
                probability: logprob.exp(),
            });
            let alternatives = alternatives.collect();
            let (token, text) = (drawn.token, self.text_of(drawn.token));
            let probability = drawn.logprob.map(f32::exp);
            self.thoughts.push(GeneratedToken {
                token,
                text,
                probability,
                alternatives,
                ..GeneratedToken::default()
            });
        }
    }
}

/// What both worlds share; they never run at the same time here.
#[derive(Resource, Clone, Default)]
struct Link(Arc<Mutex<Session>>);

impl Link {
    fn with<R>(&self, act: impl FnOnce(&mut Session) -> R) -> R {
        // What is in it is whole at any time.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds [`Generation`] and [`lens::Lens`]. Comes after `GpuModelPlugin`.
pub(super) struct ThinkPlugin;

impl Plugin for ThinkPlugin {
    fn build(&self, app: &mut App) {
        let mind = Generation::default();
        let link = mind.link.clone();
        app.insert_resource(mind)
            .init_resource::<lens::Lens>()
            .add_systems(
                Update,
                (
                    tour::hold.in_set(TourSystems::Hold).run_if(is_busy),
                    (act, follow_tour, engine::answer).chain().in_set(WorldSystems::Act),
                    think.in_set(WorldSystems::Move),
                ),
            )
            // The last moment before the frame's steps are taken.
            .add_systems(PostUpdate, follow_state.after(InterventionsSystems::Gather));
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.insert_resource(link).init_gpu_resource::<drive::UnderWay>().add_systems(
            RenderGraph,
            drive::drive
                // It says whether the kernels are there.
                .after(ForwardPluginSystems::Compile)
                .after(AdapterSystems)
                .before(DeskSystems)
                .in_set(RenderGraphSystems::Render)
                // What is drawn this frame shows what was computed this frame.
                .before(camera_driver),
        );
    }
}

/// Pauses and goes on as is asked for.
fn act(mut actions: MessageReader<UserAction>, mut mind: ResMut<Generation>) {
    for action in actions.read() {
        match action {
            UserAction::Pause => mind.paused = !mind.paused,
            UserAction::Step => {
                mind.paused = true;
                mind.single = true;
            }
            _ => {}
        }
    }
}

/// Asks what a tour asks.
fn follow_tour(
    mut steps: MessageReader<TourStep>,
    atlas: Res<Atlas>,
    mut mind: ResMut<Generation>,
    mut problems: MessageWriter<TourProblem>,
) {
    for step in steps.read() {
        let TourStep::Prompt { text, tokens } = step else { continue };
        mind.paused = false;
        // Temperature 0: a tour shows the same answer each time.
        mind.ask(atlas.model(), text, false, *tokens, 0.0);
        let problem = mind.problem.as_ref().map(|problem| format!("the tour's prompt: {problem}"));
        problems.write_batch(problem.map(TourProblem::Failed));
    }
}

/// Whether an answer or the lens is under way: a tour waits for them.
fn is_busy(mind: Res<Generation>, lens: Res<lens::Lens>) -> bool {
    mind.is_busy() || lens.is_working()
}

/// Takes in what was thought, and says how fast to go on.
fn think(
    time: Res<Time>,
    settings: Res<Settings>,
    status: Res<ForwardStatus>,
    mut mind: ResMut<Generation>,
) {
    let link = mind.link.clone();
    let (reports, front) =
        link.with(|session| (std::mem::take(&mut session.reports), session.front.clone()));
    let generation = mind.generation;
    mind.front = front.filter(|front| front.generation == generation);
    if mind.is_engines {
        mind.is_engine_at_work = link.with(|session| session.is_engine_at_work());
    }
    for report in reports.into_iter().filter(|report| report.generation == generation) {
        mind.accept(report);
    }
    if let ForwardState::Failed(why) = &status.state {
        mind.problem = Some(why.clone());
    }
    let pace = match (mind.paused, settings.tokens_per_second) {
        (true, _) if std::mem::take(&mut mind.single) => Some(Pace::One),
        (true, _) => None,
        (false, speed) if speed > 0.0 => {
            // What was not used is not saved up for more than a token.
            mind.credit = (mind.credit + time.delta_secs() * speed)
                .min(1.0f32.max(time.delta_secs() * speed));
            let whole = mind.credit.floor();
            mind.credit -= whole;
            Some(Pace::Tokens(whole as u32))
        }
        _ => Some(Pace::Free),
    };
    link.with(|session| {
        let rest = time.delta().saturating_sub(std::mem::take(&mut session.spent));
        session.budget = settings.thinking_budget_beside(rest);
        match pace {
            Some(pace) => session.pace = pace,
            // A single step that the device had no time for yet is still to come.
            None if session.pace == Pace::One => {}
            None => session.pace = Pace::Stopped,
        }
    });
}

/// Tells the render world what the steps of this frame are computed with.
fn follow_state(
    interventions: Res<Interventions>,
    edited: Res<EditedWeights>,
    loaded: Res<LoadedAdapters>,
    mut mind: ResMut<Generation>,
) {
    if interventions.is_changed() || edited.is_changed() || loaded.is_changed() {
        mind.follow(ModelState::now(&interventions, &edited, &loaded));
    }
}
