//! Three pinned questions, answered before the first step and again as the model learns. Answers
//! are computed on the processor, beside the frames: the window's own answer stays as it is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};

use bevy::platform::cell::SyncCell;

use crate::batch::{ModelText, TextModel};
use crate::engine::CpuEngine;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::model::{Adapter, PixelModel};
use crate::training::data::{DataQuestion, Dataset};
use crate::training::evaluate::{AskedLine, SLOTS, ask, engine_with, positions};

/// How many questions are pinned.
const PINNED: usize = 3;

/// An answer, and after how many steps it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedAnswer {
    /// Steps made.
    pub step: u64,
    /// What the model said.
    pub text: String,
    /// Whether it is right.
    pub is_right: bool,
}

/// A held-out question, and its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedQuestion {
    /// What the model is given, as text.
    pub prompt: String,
    /// What is right.
    pub expected: String,
    /// The answer before the first step.
    pub before: Option<PinnedAnswer>,
    /// The last answer since.
    pub now: Option<PinnedAnswer>,
}

/// Answers after so many steps, or why there are none.
type Answered = (u64, Result<Vec<AskedLine>, String>);

/// Who answers, on a thread of its own until this is dropped.
pub(super) struct Answering {
    orders: Sender<(u64, Option<Adapter>)>,
    answers: SyncCell<Receiver<Answered>>,
    /// Orders that have no answers yet.
    pending: u32,
}

impl Answering {
    /// Pins the first questions of some data.
    pub fn new(
        model: &Arc<PixelModel>,
        text: &Arc<ModelText>,
        data: &Dataset,
    ) -> (Self, Vec<PinnedQuestion>) {
        let mut pinned = data.clone();
        pinned.examples.retain(|example| example.question.is_some());
        pinned.examples.truncate(PINNED);
        let questions = pinned.examples.iter().filter_map(|example| example.question.as_ref());
        let questions = questions.map(|question| pinned_question(text, question)).collect();
        let (orders, to_do) = channel::<(u64, Option<Adapter>)>();
        let (done, answers) = channel();
        let (model, text) = (Arc::clone(model), Arc::clone(text));
        std::thread::spawn(move || {
            for (step, adapter) in to_do {
                let answers = answered(&model, &text, &pinned, adapter.as_ref());
                if done.send((step, answers)).is_err() {
                    return;
                }
            }
        });
        (Self { orders, answers: SyncCell::new(answers), pending: 0 }, questions)
    }

    /// Asks with what was learnt in so many steps, or the model alone.
    pub fn ask(&mut self, step: u64, adapter: Option<Adapter>) {
        self.pending += u32::from(self.orders.send((step, adapter)).is_ok());
    }

    /// Whether answers are still to come.
    pub fn is_busy(&self) -> bool {
        self.pending > 0
    }

    /// Takes in answers that have come; why there are none, in words.
    pub fn take(&mut self, questions: &mut [PinnedQuestion]) -> Option<String> {
        let (step, answers) = self.answers.get().try_recv().ok()?;
        self.pending -= 1;
        let answers = match answers {
            Ok(answers) => answers,
            Err(why) => return Some(why),
        };
        for (question, answer) in questions.iter_mut().zip(answers) {
            let AskedLine { answer: text, is_right, .. } = answer;
            let answer = PinnedAnswer { step, text: text.trim().to_owned(), is_right };
            let place = if step == 0 { &mut question.before } else { &mut question.now };
            *place = Some(answer);
        }
        None
    }
}

fn pinned_question(text: &ModelText, question: &DataQuestion) -> PinnedQuestion {
    let bytes: Vec<u8> = question.prompt.iter().flat_map(|&id| text.token_bytes(id)).collect();
    PinnedQuestion {
        prompt: String::from_utf8_lossy(&bytes).trim().to_owned(),
        expected: question.answer.trim().to_owned(),
        before: None,
        now: None,
    }
}

fn answered(
    model: &Arc<PixelModel>,
    text: &ModelText,
    pinned: &Dataset,
    adapter: Option<&Adapter>,
) -> Result<Vec<AskedLine>, String> {
    let context = positions(pinned, model.config().context_length) as usize;
    let engine = match adapter {
        Some(adapter) => engine_with(Arc::clone(model), adapter, context),
        None => CpuModel::new(Arc::clone(model), CpuOptions::default())
            .map(|model| CpuEngine::new(model, SLOTS, context)),
    };
    let mut engine = engine.map_err(|error| error.to_string())?;
    let never = AtomicBool::new(false);
    let answers = ask(&mut engine, text, pinned, &never, &mut || ());
    answers.map(Option::unwrap_or_default).map_err(|error| error.to_string())
}
