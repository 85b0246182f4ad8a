//! Requests of clients are answered by the model that is shown, frame by frame, as one watches.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use bevy::prelude::*;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::batch::request::Defaults;
use pixel_llm::batch::{ModelText, OutputError, Progress, Request, RunReport, run};
use pixel_llm::engine::{CpuEngine, Engine};
use pixel_llm::forward::cpu::{CpuModel, CpuOptions};
use pixel_llm::forward::sampling::SamplingParams;
use pixel_llm::model::PixelModel;
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::settings::Settings;
use pixel_llm::world::think::{Generation, WindowEngine};

use crate::common::world::open_world;

fn model() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

fn requests() -> Vec<Request> {
    let defaults =
        Defaults { max_tokens: 12, sampling: SamplingParams::greedy(), ..Defaults::default() };
    [("a", "Once upon a time"), ("b", "Once upon a time there"), ("c", "The cat")]
        .map(|(id, prompt)| defaults.request(id, prompt))
        .into()
}

/// The texts of the requests, by id.
fn texts(engine: &mut dyn Engine, text: &ModelText) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let requests = requests().into_iter().map(Ok);
    let mut progress = Progress::new(0, 0);
    run(engine, text, requests, &mut progress, &AtomicBool::new(false), |report| {
        if let RunReport::Finished { request, outcome, .. } = report {
            texts.insert(request.id.clone(), outcome.as_ref().unwrap().text.clone());
        }
        Ok::<(), OutputError>(())
    })
    .unwrap();
    texts
}

/// The requests on a thread of their own, as a server has it.
fn client(mut engine: WindowEngine) -> JoinHandle<BTreeMap<String, String>> {
    let text = ModelText::new(&model()).unwrap();
    std::thread::spawn(move || texts(&mut engine, &text))
}

fn mind(world: &Offscreen) -> &Generation {
    world.app.world().resource::<Generation>()
}

fn engine(world: &Offscreen, model: &PixelModel) -> WindowEngine {
    mind(world).engine(model.config(), "a window".into())
}

#[test]
fn clients_get_what_the_processor_says_and_a_person_comes_first() {
    let model = model();
    let Some(mut world) = open_world(Arc::clone(&model), [640, 480]) else { return };
    // Or a quick machine has answered before anybody could have seen it.
    world.app.world_mut().resource_mut::<Settings>().tokens_per_second = 20.0;
    world.update(3);
    let clients = client(engine(&world, &model));
    let (mut shown, mut asked, mut person) = (String::new(), 0, None);
    for _ in 0..6000 {
        world.update(1);
        if mind(&world).answers_client() {
            let all: String = mind(&world).thoughts.iter().map(|t| t.text.as_str()).collect();
            if all.contains("The cat") {
                shown = all;
            }
        }
        // In the middle of an answer to a client somebody asks something.
        if mind(&world).answers_client() && asked == 0 && mind(&world).thoughts.len() > 8 {
            world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
                mind.ask(world.resource::<Atlas>().model(), "A dog", false, 4, 0.0);
                asked = mind.generation();
            });
        }
        if asked > 0 && person.is_none() && !mind(&world).is_busy() {
            assert_eq!(mind(&world).generation(), asked, "it is answered to its end");
            person = Some(mind(&world).answer());
        }
        if clients.is_finished() && (asked == 0 || person.is_some()) {
            break;
        }
    }
    assert!(person.is_some_and(|answer| !answer.is_empty()), "a person was answered too");
    let by_window = clients.join().unwrap();
    let cpu = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
    let mut cpu = CpuEngine::new(cpu, 1, 256);
    let by_cpu = texts(&mut cpu, &ModelText::new(&model).unwrap());
    assert_eq!(by_window, by_cpu);
    assert!(shown.starts_with("The cat") && shown.len() > "The cat".len() + 8, "{shown:?}");
    let last = mind(&world).thoughts.last().unwrap();
    assert!(last.probability.is_some_and(|p| p > 0.0) && last.alternatives.len() > 1);
}

#[test]
fn a_window_that_is_closed_ends_who_waits() {
    let model = model();
    let Some(world) = open_world(Arc::clone(&model), [640, 480]) else { return };
    let mut engine = engine(&world, &model);
    let end = engine.ending();
    let waits = std::thread::spawn(move || {
        let batch = pixel_llm::engine::Batch {
            columns: vec![pixel_llm::engine::Column { token: 1, slot: 0, position: 0 }],
            steps: 1,
            ..Default::default()
        };
        engine.step(&batch).unwrap_err().to_string()
    });
    end.end("the window was closed");
    assert_eq!(waits.join().unwrap(), "the window was closed");
}
