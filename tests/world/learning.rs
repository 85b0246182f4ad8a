//! A model that learns in the window: the losses are those of a run without one, what it learnt
//! acts on its answers, and a switch takes that back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::sync::Arc;

use crate::common::world::open_world;
use bevy::prelude::Mut;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::batch::ModelText;
use pixel_llm::content::assets::Assets;
use pixel_llm::forward::AdapterSet;
use pixel_llm::forward::Interventions;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::model::{Adapter, PixelModel};
use pixel_llm::training::corpus::{Corpus, generate};
use pixel_llm::training::data::{DataOptions, Dataset, TargetChoice};
use pixel_llm::training::gpu::{GpuTrainer, GpuTraining};
use pixel_llm::training::run::{LogLine, Run, RunProgress};
use pixel_llm::world::adapters::{AdapterSwitch, LoadedAdapters};
use pixel_llm::world::lab::Comparison;
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::learning::{Lesson, LessonSettings, LessonStage};
use pixel_llm::world::think::Generation;

const SIZE: [u32; 2] = [320, 240];
const PROMPT: &str = "Mila the fox has a red kite.\nRecord:";

fn lesson(world: &Offscreen) -> &Lesson {
    world.app.world().resource::<Lesson>()
}

fn until(world: &mut Offscreen, what: &str, done: impl Fn(&Offscreen) -> bool) {
    for _ in 0..20_000 {
        if done(world) {
            return;
        }
        world.update(1);
    }
    panic!("{what} does not come: {:?}", lesson(world).problem);
}

fn ask(world: &mut Offscreen) -> String {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), PROMPT, false, 16, 0.0);
        assert_eq!(mind.problem, None);
    });
    answer(world)
}

/// The answer, once nothing is computed any more.
fn answer(world: &mut Offscreen) -> String {
    world.update(20);
    until(world, "the answer", |world| {
        let world = world.app.world();
        let mind = world.resource::<Generation>();
        !mind.is_busy() && !mind.is_before_change() && !world.resource::<Comparison>().is_running()
    });
    world.app.world().resource::<Generation>().answer()
}

/// A short lesson: a step of 128 tokens takes a fraction of a second.
fn settings() -> LessonSettings {
    LessonSettings { lines: 24, epochs: 2, batch_tokens: 128, rate: 3e-3, ..Default::default() }
}

fn dataset(model: &PixelModel, assets: &Assets) -> [Dataset; 2] {
    let LessonSettings { lines, seed, .. } = settings();
    let corpus: Corpus = assets.content("corpus", "record").unwrap();
    let made = generate(&corpus, None, seed, (lines, lines.div_ceil(4))).unwrap();
    let text = ModelText::new(model).unwrap();
    let (targets, context) = (TargetChoice::Auto, model.config().context_length as usize);
    let options = DataOptions { targets, end: true, context, truncate: false };
    [made.train, made.valid].map(|lines| {
        let lines: Vec<String> =
            lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        Dataset::parse("lines".into(), lines.join("\n").as_bytes(), &text, &options).unwrap()
    })
}

/// Steps and losses of a log.
fn losses(log: &[LogLine]) -> Vec<(u64, f64)> {
    let loss = |line: &LogLine| match line {
        LogLine::Step(step) => (step.step, step.loss),
        LogLine::Evaluation(look) => (look.step, look.valid_loss),
    };
    log.iter().map(loss).collect()
}

/// The losses of the same run without a window.
fn headless(model: &Arc<PixelModel>, assets: &Assets) -> Vec<(u64, f64)> {
    let [data, valid] = dataset(model, assets);
    let settings = settings().run(data.columns());
    let longest = data.columns().into_iter().chain(valid.columns()).max().unwrap();
    let columns = longest.max(settings.batch_tokens) as u32;
    let training = GpuTraining { columns, ..GpuTraining::default() };
    let mut trainer =
        GpuTrainer::new(Arc::clone(model), &settings.training, None, &training).unwrap();
    let mut run = Run {
        trainer: &mut trainer,
        data: &data,
        valid: Some(&valid),
        ask: None,
        settings: &settings,
        keeping: None,
        progress: RunProgress::default(),
    };
    run.go(&|| false, &mut |_| ()).unwrap();
    losses(&run.progress.log)
}

/// The most probable tokens after a prompt, on the processor, with an adapter.
fn on_processor(model: &Arc<PixelModel>, adapter: &Adapter, tokens: &[u32]) -> Vec<u32> {
    let mut twin = CpuModel::new(Arc::clone(model), CpuOptions::default()).unwrap();
    twin.add_adapter(adapter).unwrap();
    let mut cache = KvCache::new(model.config(), 1, tokens.len());
    cache.set_adapters(0, &AdapterSet::new([(0, 1.0)]));
    let column = |(&token, position)| Column { token, slot: 0, position, wants_logits: true };
    let columns: Vec<Column> = tokens.iter().zip(0..).map(column).collect();
    let logits = twin.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    logits.iter().map(|(_, row)| best(row) as u32).collect()
}

#[test]
fn a_lesson_in_the_window_has_the_losses_of_one_without_and_what_it_learnt_acts() {
    let assets = pixel_llm::app::kinds::assets();
    let model = Arc::new(assets.default_model().unwrap());
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    let before = ask(&mut world);
    {
        let mut lesson = world.app.world_mut().resource_mut::<Lesson>();
        lesson.settings = settings();
        lesson.begin();
    }
    until(&mut world, "a gradient", |world| lesson(world).gradient.is_some());
    let norms = lesson(&world).gradient.clone().unwrap();
    let config = model.config();
    assert_eq!(norms.heads.len(), (config.layer_count * config.head_count) as usize);
    assert!(norms.heads.iter().chain(&norms.fields).all(|norm| *norm > 0.0), "{norms:?}");
    // One walks about, asks and pauses meanwhile.
    world.app.world_mut().resource_mut::<Lesson>().pause();
    until(&mut world, "a rest", |world| {
        !world.app.world().resource::<LoadedAdapters>().all.is_empty()
    });
    assert_eq!(lesson(&world).stage, LessonStage::Paused);
    answer(&mut world);
    world.app.world_mut().resource_mut::<Lesson>().pause();
    until(&mut world, "the end", |world| !lesson(world).is_under_way());
    assert_eq!((lesson(&world).stage, &lesson(&world).problem), (LessonStage::Done, &None));
    let found = losses(&lesson(&world).log);
    assert_eq!(found, headless(&model, &assets), "loss for loss, to the last bit");
    assert!(found.len() > 8 && found.last().unwrap().1 < found[0].1, "{found:?}");
    let questions = &lesson(&world).questions;
    assert!(questions.len() == 3 && questions.iter().all(|it| it.before.is_some()));
    assert!(questions.iter().all(|it| it.now.is_some()), "{questions:?}");

    // The prompt was answered again by itself, as the processor answers with what was learnt.
    let after = answer(&mut world);
    assert_ne!(before, after);
    let mind = world.app.world().resource::<Generation>();
    let tokens: Vec<u32> = mind.thoughts.iter().map(|thought| thought.token).collect();
    let learnt = world.app.world().resource::<LoadedAdapters>().named("record").unwrap();
    let expected = on_processor(&model, &learnt.adapter, &tokens[..tokens.len() - 1]);
    assert_eq!(tokens[mind.prompt_len..], expected[mind.prompt_len - 1..]);
    let story = world.app.world().resource::<Comparison>().story(&model);
    assert!(story.contains("learnt of record"), "{story}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.gguf");
    let loaded = world.app.world().resource::<LoadedAdapters>();
    lesson(&world).save(&path, loaded).unwrap();
    assert!(lesson(&world).save(&path, loaded).unwrap_err().contains("already"));
    assert_eq!(Adapter::open(&path, &model).unwrap().updates.len(), learnt_matrices(&model));

    world.app.world_mut().resource_mut::<LoadedAdapters>().switch("record", AdapterSwitch::Off);
    assert_eq!(answer(&mut world), before, "switched off, it is the model of before");
    let mut loaded = world.app.world_mut().resource_mut::<LoadedAdapters>();
    loaded.switch("record", AdapterSwitch::On);
    loaded.all[0].strength = 0.0;
    assert_eq!(answer(&mut world), before, "without strength too");
}

fn learnt_matrices(model: &PixelModel) -> usize {
    7 * model.config().layer_count as usize
}
