//! It thinks while one watches: one forward step a frame in the app that draws, on the pages that are drawn.
//!
//! In: a prompt, by [`Mind::ask`]. Out: tokens with their probabilities and alternatives, and of each what took part: the residual stream's norm
//! per layer and every head's output norm, read from the device by hooks. The main world says what the next step is to be; the render world
//! writes its columns before the step and reads what came of it after it, both through one `Link`.

use std::sync::{Arc, Mutex, PoisonError};

use bevy::prelude::*;
use bevy::render::renderer::{RenderDevice, RenderQueue};
use bevy::render::{Render, RenderApp, RenderSystems};

use super::{Map, WorldSystems};
use crate::passes::network::{Hook, Network, Step, StreamFailure, set_hooks, take_watched};
use crate::passes::readback::read_starts;
use crate::passes::reference::{Column, HookPoint};
use crate::passes::{ForwardBudget, ForwardRequest, ForwardState, ForwardStatus};
use crate::tokens::sampling::{Key, Sampler, SamplingParams};
use crate::tokens::{Message, ModelText, Prompt, TextModel};

/// Alternatives that are kept of each token.
const ALTERNATIVES: usize = 6;
/// Columns of a prompt that go through the model in one frame: few, so that a frame stays short.
const COLUMNS_A_FRAME: usize = 16;

/// A token of the sequence, and what took part in what comes after it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thought {
    /// Its id.
    pub token: u32,
    /// Its text.
    pub text: String,
    /// How probable it was, where it was made and not given.
    pub probability: Option<f32>,
    /// What else might have stood here, the most probable first.
    pub alternatives: Vec<(String, f32)>,
    /// Norm of the residual stream after each layer, at this token.
    pub residual_norms: Vec<f32>,
    /// Norm of what each head gave, layer by layer, at this token.
    pub head_norms: Vec<f32>,
}

/// What the model is thinking.
#[derive(Resource, Default)]
pub struct Mind {
    /// The sequence so far.
    pub thoughts: Vec<Thought>,
    /// How many of them were the prompt.
    pub prompt_len: usize,
    /// Whether no further step is taken.
    pub paused: bool,
    /// What went wrong, in words.
    pub problem: Option<String>,
    /// Whether one step is taken though it is paused.
    pub single: bool,
    done: usize,
    wanted: u32,
    waiting: bool,
    params: SamplingParams,
    sampler: Sampler,
    text: Option<Arc<ModelText>>,
}

impl Mind {
    /// Begins a sequence: a prompt as it is, or as a user's message, and so many tokens after it.
    pub fn ask(&mut self, map: &Map, prompt: &str, chat: bool, tokens: u32, temperature: f32) {
        self.problem = None;
        let context = map.atlas.model().config().context_length.min(crate::app::explore::CONTEXT) as usize;
        match self.encode(map, prompt, chat) {
            Ok(ids) if ids.is_empty() => self.problem = Some("the prompt is empty".into()),
            Ok(ids) if ids.len() >= context => {
                self.problem =
                    Some(format!("the prompt has {} tokens; there is room for {context}", ids.len()));
            }
            Ok(ids) => {
                let room = (context - ids.len()) as u32;
                let thought = |id: u32| Thought { token: id, text: self.text_of(id), ..Thought::default() };
                self.thoughts = ids.into_iter().map(thought).collect();
                self.prompt_len = self.thoughts.len();
                self.done = 0;
                self.wanted = tokens.min(room);
                self.params = SamplingParams { temperature, ..SamplingParams::default() };
            }
            Err(problem) => self.problem = Some(problem),
        }
    }

    fn encode(&mut self, map: &Map, prompt: &str, chat: bool) -> Result<Vec<u32>, String> {
        if self.text.is_none() {
            let text = ModelText::new(map.atlas.model()).map_err(|error| error.to_string())?;
            self.text = Some(Arc::new(text));
        }
        let text = self.text.as_ref().expect("it was opened above");
        let message = Message { role: "user".into(), content: prompt.to_owned() };
        let prompt = if chat { Prompt::Chat(vec![message]) } else { Prompt::Text(prompt.to_owned()) };
        text.encode(&prompt).map_err(|error| error.to_string())
    }

    fn text_of(&self, id: u32) -> String {
        let bytes = self.text.as_ref().map(|text| text.token_bytes(id)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether there is a step to take.
    pub fn is_busy(&self) -> bool {
        self.waiting || (self.done < self.thoughts.len() && self.problem.is_none())
    }

    /// The answer so far.
    pub fn answer(&self) -> String {
        self.thoughts.iter().skip(self.prompt_len).map(|thought| thought.text.as_str()).collect()
    }

    /// The last token whose step is done.
    pub fn latest(&self) -> Option<&Thought> {
        self.thoughts.get(self.done.checked_sub(1)?)
    }

    /// Takes in what came of a step.
    fn accept(&mut self, outcome: Outcome) {
        self.waiting = false;
        let Outcome { first, norms, logits, problem } = outcome;
        if let Some(problem) = problem {
            self.problem = Some(problem);
            return;
        }
        let last = first + norms.len();
        for (thought, (residual, heads)) in self.thoughts.iter_mut().skip(first).zip(norms) {
            thought.residual_norms = residual;
            thought.head_norms = heads;
        }
        self.done = last;
        if last < self.thoughts.len() || self.wanted == 0 {
            return;
        }
        let words = self.params.words(Key::new(self.params.seed, 0), (last - self.prompt_len) as u32);
        let drawn = self.sampler.draw(&logits, &words, &[], &[]);
        let scored = drawn.and_then(|token| self.sampler.score(&logits, token, ALTERNATIVES));
        match scored {
            Ok(scored) => {
                let alternatives =
                    scored.top.iter().map(|&(id, logprob)| (self.text_of(id), logprob.exp())).collect();
                self.wanted -= 1;
                let ends = self.text.as_ref().is_some_and(|text| text.is_end(scored.token));
                if ends {
                    self.wanted = 0;
                    return;
                }
                let probability = scored.logprob.map(f32::exp);
                let text = self.text_of(scored.token);
                let token = scored.token;
                self.thoughts.push(Thought { token, text, probability, alternatives, ..Thought::default() });
            }
            Err(error) => self.problem = Some(error.to_string()),
        }
    }
}

/// A step that is to be taken.
#[derive(Debug, Clone)]
struct Order {
    first: usize,
    tokens: Vec<u32>,
    /// The steps that will be done when it is.
    target: u64,
}

/// What came of a step.
#[derive(Debug, Default)]
struct Outcome {
    first: usize,
    /// Of each column: norms of the residual stream per layer, and of the heads.
    norms: Vec<(Vec<f32>, Vec<f32>)>,
    logits: Vec<f32>,
    problem: Option<String>,
}

/// Between the two worlds, which never run at the same time here.
#[derive(Resource, Clone, Default)]
struct Link(Arc<Mutex<(Option<Order>, Option<Outcome>)>>);

impl Link {
    fn with<R>(&self, act: impl FnOnce(&mut (Option<Order>, Option<Outcome>)) -> R) -> R {
        // What is in it is whole at any time.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds [`Mind`]. Comes after `NetworkPlugin`.
pub(super) struct ThinkPlugin;

impl Plugin for ThinkPlugin {
    fn build(&self, app: &mut App) {
        let link = Link::default();
        app.init_resource::<Mind>()
            .insert_resource(link.clone())
            .add_systems(Update, think.in_set(WorldSystems::Move));
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.insert_resource(link).init_resource::<UnderWay>().add_systems(
            Render,
            (
                begin.in_set(RenderSystems::PrepareResources).run_if(resource_exists::<Network>),
                end.in_set(RenderSystems::Cleanup).run_if(resource_exists::<Network>),
            ),
        );
    }
}

/// Takes in the last step and orders the next.
fn think(
    link: Res<Link>,
    status: Res<ForwardStatus>,
    mut mind: ResMut<Mind>,
    mut request: ResMut<ForwardRequest>,
) {
    if let Some(outcome) = link.with(|link| link.1.take()) {
        mind.accept(outcome);
    }
    if let ForwardState::Failed(why) = &status.state {
        mind.problem = Some(why.clone());
    }
    let may = !mind.paused || mind.single;
    if mind.waiting || !mind.is_busy() || !may {
        return;
    }
    mind.single = false;
    mind.waiting = true;
    let first = mind.done;
    let tokens = mind.thoughts[first..].iter().take(COLUMNS_A_FRAME).map(|thought| thought.token).collect();
    request.steps += 1;
    request.budget = ForwardBudget::Unbounded;
    link.with(|link| link.0 = Some(Order { first, tokens, target: request.steps }));
}

/// The step that the render world has begun.
#[derive(Resource, Default)]
struct UnderWay(Option<Order>);

/// Writes the columns of a step that was ordered.
fn begin(world: &mut World) {
    let Some(order) = world.resource::<Link>().with(|link| link.0.take()) else { return };
    let network = world.resource::<Network>();
    let layers = network.config.layer_count;
    let last = order.tokens.len() as u32 - 1;
    let position = order.first as u32;
    let columns: Vec<Column> = (position..)
        .zip(&order.tokens)
        .map(|(position, &token)| Column {
            token,
            slot: 0,
            position,
            wants_logits: position == order.first as u32 + last,
        })
        .collect();
    let words: Vec<[u32; 4]> = columns
        .iter()
        .map(|column| [column.token, column.position, 0, crate::passes::network::NO_LOGITS])
        .collect();
    let queue = world.resource::<RenderQueue>();
    queue.write_buffer(&network.buffers.columns, 0, bytemuck::cast_slice(&words));
    queue.write_buffer(&network.buffers.wanted, 0, bytemuck::bytes_of(&last));
    let all = 0..last + 1;
    let hooks: Vec<Hook> = (0..layers)
        .flat_map(|layer| [HookPoint::HeadOutput(layer), HookPoint::Residual(layer)])
        .map(|point| Hook::watch(point, all.clone()))
        .collect();
    let count = columns.len() as u32;
    if let Err(error) = set_hooks(world, &columns, &hooks) {
        let problem = Some(error.to_string());
        world.resource::<Link>().with(|link| link.1 = Some(Outcome { problem, ..Outcome::default() }));
        return;
    }
    let tokens = order.tokens.clone();
    world.insert_resource(Step { columns: count, wanted: 1, tokens, ..Step::default() });
    world.resource_mut::<UnderWay>().0 = Some(order);
}

/// Reads what came of the step, once it is done.
fn end(world: &mut World) {
    let done = world.resource::<ForwardStatus>().steps_done;
    let Some(order) = world.resource_mut::<UnderWay>().0.take_if(|order| done >= order.target) else {
        return;
    };
    let mut outcome = Outcome { first: order.first, ..Outcome::default() };
    let network = world.resource::<Network>();
    let (vocab, head_size) = (network.config.vocab_size as usize, network.config.head_size as usize);
    let size = (network.logits_stride() * 4) as u64;
    let (device, queue) = (world.resource::<RenderDevice>(), world.resource::<RenderQueue>());
    let logits = read_starts(device, queue, [(&network.buffers.logits, size)]);
    let watched = take_watched(world);
    match (logits, watched) {
        (Ok([bytes]), Ok(watched)) => {
            outcome.logits = bytemuck::pod_collect_to_vec(&bytes);
            outcome.logits.truncate(vocab);
            for column in 0..order.tokens.len() {
                let (mut residual, mut heads) = (Vec::new(), Vec::new());
                for seen in &watched {
                    match seen.point {
                        HookPoint::HeadOutput(_) => {
                            heads.extend(seen.column(column).chunks(head_size.max(1)).map(norm));
                        }
                        _ => residual.push(norm(seen.column(column))),
                    }
                }
                outcome.norms.push((residual, heads));
            }
        }
        (Err(error), _) | (_, Err(error)) => outcome.problem = Some(error.to_string()),
    }
    if let Some(error) = world.resource_mut::<StreamFailure>().0.take() {
        outcome.problem = Some(error.to_string());
    }
    world.resource::<Link>().with(|link| link.1 = Some(outcome));
}

/// Euclidean length.
fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}
