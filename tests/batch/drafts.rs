//! Drafts change how many passes an answer takes, and nothing that is said.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use proptest::prelude::*;

use crate::common::toy_engine::{Bytes, END, Toy};
use pixel_llm::batch::*;
use pixel_llm::engine::*;
use pixel_llm::forward::sampling::SamplingParams;

/// What of an answer has to be the same: all but how it was made.
fn said(answer: &Result<Answer, Failure>) -> Result<Answer, Failure> {
    answer.clone().map(|mut answer| {
        let scores = answer.logprobs.iter_mut().flatten();
        scores.for_each(|token| token.drafted = false);
        Answer { shared_tokens: 0, drafted_tokens: 0, accepted_tokens: 0, ..answer }
    })
}

struct Ran {
    answers: Vec<Result<Answer, Failure>>,
    shown: Vec<String>,
    counts: schedule::TokenCounts,
    passes: usize,
}

/// Runs requests; a pass of the engine takes `time` for its first column and for each more.
fn run_all(requests: &[Request], mut toy: Toy, drafts: DraftSource, time: [u64; 2]) -> Ran {
    let mut scheduler = Scheduler::new(&Bytes, toy.capacity()).drafting(drafts);
    let mut waiting = requests.iter().cloned().fuse();
    let mut answers = vec![None; requests.len()];
    let mut shown = vec![String::new(); requests.len()];
    loop {
        let mut exhausted = false;
        while scheduler.has_room() && !exhausted {
            match waiting.next() {
                Some(request) => scheduler.admit(request, Duration::ZERO),
                None => exhausted = true,
            }
        }
        let batch = scheduler.plan();
        if let Some(batch) = &batch {
            let results = toy.step(batch).unwrap();
            let micros = time[0] + time[1] * (batch.columns.len() as u64 - 1);
            scheduler.took(Duration::from_micros(micros));
            scheduler.accept(&results, Duration::ZERO).unwrap();
        }
        for event in scheduler.take_events() {
            match event {
                RequestEvent::Text { number, text, .. } => shown[number as usize].push_str(&text),
                RequestEvent::Finished { number, outcome, .. } => {
                    assert!(answers[number as usize].replace(outcome).is_none(), "finished twice");
                }
            }
        }
        if batch.is_none() && exhausted {
            break;
        }
    }
    let answers = answers.into_iter().map(|answer| answer.unwrap()).collect();
    Ran { answers, shown, counts: scheduler.counts(), passes: toy.steps }
}

/// The toy drafting for itself: right wherever it has room.
fn toy_drafts(slots: usize) -> DraftSource {
    DraftSource::Model(Box::new(DraftModel::new(Box::new(Toy::new(slots, 16, 1)))))
}

/// A toy whose every third token is another one, so that its drafts are often wrong.
struct Wrong(Toy, u32);

impl Engine for Wrong {
    fn capacity(&self) -> Capacity {
        self.0.capacity()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
        let mut answers = self.0.step(batch)?;
        for sampled in answers.iter_mut().flatten() {
            self.1 += 1;
            if self.1.is_multiple_of(3) {
                sampled.token = (sampled.token + 1) % 256;
            }
        }
        Ok(answers)
    }
}

fn wrong_drafts(slots: usize) -> DraftSource {
    DraftSource::Model(Box::new(DraftModel::new(Box::new(Wrong(Toy::new(slots, 16, 1), 0)))))
}

/// A request of any kind.
fn request() -> impl Strategy<Value = Request> {
    let prompt = "(abcabc|hello |say it again say it again |x){1,5}";
    let sampling = (
        prop::sample::select(vec![0.0f32, 0.3, 1.0, 2.0]),
        prop::sample::select(vec![0u32, 1, 3]),
        prop::sample::select(vec![1.0f32, 1.4]),
        prop::sample::select(vec![0.0f32, 1.5, -1.0]),
        prop::sample::select(vec![0u32, 4, 64]),
        0u64..4,
    );
    let limits = (0u32..60, 0u32..12, prop::option::of(0u32..3), prop::option::of(0u32..2));
    let ends = (
        prop::sample::select(vec![vec![], vec!["ab"], vec!["c", "la"]]),
        prop::sample::select(vec![vec![], vec![0x61u32], vec![0x65, 0x20]]),
        any::<[bool; 3]>(),
        // Without its end the toy goes on; with these letters it repeats itself.
        prop::sample::select(vec![vec![], vec![(END, -100.0f32)], vec![(0x61, 9.0), (0x62, 8.0)]]),
    );
    (prompt, sampling, limits, ends).prop_map(|(prompt, sampling, limits, ends)| {
        let (temperature, top_k, repeat_penalty, frequency_penalty, repeat_last_n, seed) = sampling;
        let (max_tokens, min_tokens, logprobs, prompt_logprobs) = limits;
        let (stop, stop_tokens, [ignore_end, keep_stop, show_special], logit_bias) = ends;
        let sampling = SamplingParams {
            temperature,
            top_k,
            repeat_penalty,
            frequency_penalty,
            repeat_last_n,
            seed,
            logit_bias,
            ..SamplingParams::default()
        };
        let defaults = Defaults { sampling, ..Defaults::default() };
        Request {
            max_tokens,
            min_tokens: min_tokens.min(max_tokens),
            logprobs,
            prompt_logprobs,
            stop: stop.into_iter().map(String::from).collect(),
            stop_tokens,
            ignore_end,
            keep_stop,
            show_special,
            ..defaults.request("r", prompt)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn whatever_is_asked_the_answer_is_the_one_without_drafts(
        requests in prop::collection::vec(request(), 1..6),
        slots in 1usize..5,
        columns in prop::sample::select(vec![5usize, 16, 64, 128]),
        steps in prop::sample::select(vec![1usize, 1, 4]),
        // A column more costs nothing, something, or as much as the first.
        more in prop::sample::select(vec![0u64, 100, 1000]),
    ) {
        let toy = || Toy::new(slots, columns, steps);
        let plain = run_all(&requests, toy(), DraftSource::Off, [1000, more]);
        prop_assert_eq!((plain.counts.drafted_tokens, plain.counts.accepted_tokens), (0, 0));
        let sources = [DraftSource::Ngram, toy_drafts(slots), wrong_drafts(slots)];
        for (index, source) in sources.into_iter().enumerate() {
            let drafted = run_all(&requests, toy(), source, [1000, more]);
            for (plain, drafted) in plain.answers.iter().zip(&drafted.answers) {
                prop_assert_eq!(said(plain), said(drafted), "source {}", index);
            }
            prop_assert_eq!(&plain.shown, &drafted.shown);
            let counts = drafted.counts;
            prop_assert!(counts.accepted_tokens <= counts.drafted_tokens);
            let of = |count: fn(&Answer) -> u32| -> u64 {
                let answers = drafted.answers.iter().map(|answer| answer.as_ref().unwrap());
                answers.map(|answer| u64::from(count(answer))).sum()
            };
            prop_assert_eq!(counts.drafted_tokens, of(|answer| answer.drafted_tokens));
            prop_assert_eq!(counts.accepted_tokens, of(|answer| answer.accepted_tokens));
            prop_assert_eq!(counts.completion_tokens, plain.counts.completion_tokens);
        }
    }
}

fn long(id: &str, prompt: &str) -> Request {
    let sampling = SamplingParams {
        logit_bias: vec![(END, -100.0)],
        top_p: 1.0,
        min_p: 0.0,
        ..SamplingParams::default()
    };
    let defaults = Defaults { sampling, max_tokens: 100, ..Defaults::default() };
    defaults.request(id, prompt)
}

#[test]
fn right_drafts_take_far_fewer_passes() {
    let requests = [long("a", "abc"), long("b", "say")];
    let toy = || Toy::new(2, 64, 1);
    let plain = run_all(&requests, toy(), DraftSource::Off, [1000, 50]);
    let drafted = run_all(&requests, toy(), toy_drafts(2), [1000, 50]);
    assert_eq!(plain.passes, 100);
    assert!(drafted.passes < 25, "{} passes", drafted.passes);
    assert!(drafted.counts.accepted_tokens > 150, "{:?}", drafted.counts);
    let scored = Request { logprobs: Some(0), ..long("a", "abc") };
    let scored = run_all(&[scored], toy(), toy_drafts(2), [1000, 50]);
    let answer = scored.answers[0].as_ref().unwrap();
    let marked = answer.logprobs.as_ref().unwrap().iter().filter(|token| token.drafted).count();
    assert_eq!(marked, answer.accepted_tokens as usize);
    assert!(marked > 50);
}

#[test]
fn text_that_repeats_is_drafted_from_itself_and_noise_is_not() {
    // At temperature 0 with these biases the toy says one letter for ever.
    let mut same = long("same", "aaaaaaaa");
    same.sampling.temperature = 0.0;
    same.sampling.logit_bias = vec![(0x61, 100.0)];
    let ran = run_all(&[same], Toy::new(1, 64, 1), DraftSource::Ngram, [1000, 100]);
    assert!(ran.passes < 15, "{} passes", ran.passes);
    // What is drawn by chance is hardly ever foreseen: drafting gives up.
    let mut noise = long("noise", "abc");
    noise.sampling.temperature = 5.0;
    noise.sampling.top_k = 0;
    let ran = run_all(&[noise], Toy::new(1, 64, 1), DraftSource::Ngram, [1000, 400]);
    assert!(ran.counts.drafted_tokens < 12, "{:?}", ran.counts);
}

#[test]
fn a_draft_model_that_gives_out_ends_the_run_with_its_reason() {
    struct Broken(Toy);
    impl Engine for Broken {
        fn capacity(&self) -> Capacity {
            self.0.capacity()
        }
        fn step(&mut self, _: &Batch) -> Result<Vec<Vec<Sampled>>, EngineError> {
            Err(EngineError::Other("the draft model is damaged".into()))
        }
    }
    let broken = DraftModel::new(Box::new(Broken(Toy::new(1, 8, 1))));
    let mut toy = Toy::new(1, 8, 1);
    let mut scheduler =
        Scheduler::new(&Bytes, toy.capacity()).drafting(DraftSource::Model(Box::new(broken)));
    scheduler.admit(long("a", "abc"), Duration::ZERO);
    let failed = (0..200).find_map(|_| {
        let batch = scheduler.plan()?;
        let answers = toy.step(&batch).unwrap();
        scheduler.accept(&answers, Duration::ZERO).err()
    });
    assert_eq!(failed.unwrap().to_string(), "the draft model is damaged");
}
