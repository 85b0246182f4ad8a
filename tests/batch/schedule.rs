//! Continuous batching: whatever runs beside a request, its answer is the one it has alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::Duration;

use crate::common::toy_engine::{Bytes, Toy, logits, mix};
use pixel_llm::batch::request::Endpoint;
use pixel_llm::batch::*;
use pixel_llm::engine::answer;
use pixel_llm::engine::*;
use pixel_llm::forward::sampling::Sampler;
use pixel_llm::forward::sampling::SamplingParams;

const SYSTEM: &str = "You are a careful assistant who answers in one short line. ";

fn defaults() -> Defaults {
    let sampling =
        SamplingParams { temperature: 1.0, top_p: 1.0, min_p: 0.0, ..SamplingParams::default() };
    Defaults { sampling, max_tokens: 30, ..Defaults::default() }
}

/// Requests of many kinds, most of which share a beginning with others.
fn requests() -> Vec<Request> {
    (0..24u32)
        .map(|i| {
            let prompt = match i % 4 {
                0 => format!("{SYSTEM}Question {i}"),
                1 => format!("{SYSTEM}Question {}", i / 8),
                2 => format!("{i}"),
                _ => SYSTEM[..20 + i as usize].to_owned(),
            };
            let mut request = defaults().request(format!("r{i}"), prompt);
            match i % 7 {
                0 => request.sampling.temperature = 0.0,
                1 => request.stop = vec!["ab".into(), "c".into()],
                2 => {
                    request.sampling.frequency_penalty = 1.5;
                    request.sampling.repeat_penalty = 1.3;
                    request.sampling.repeat_last_n = 5;
                }
                3 => request.logprobs = Some(3),
                4 => {
                    request.prompt_logprobs = Some(1);
                    request.max_tokens = i % 3;
                }
                5 => request.max_tokens = 400,
                _ => {
                    request.sampling.logit_bias =
                        vec![(0x7a, 6.0), (crate::common::toy_engine::END, -100.0)]
                }
            }
            request
        })
        .collect()
}

/// The answer by its definition: one token at a time, each from the whole text before it.
fn alone(request: &Request) -> (String, u32, FinishReason) {
    let mut sampler = Sampler::default();
    let mut tokens = Bytes.encode(&request.prompt).unwrap();
    let prompt_len = tokens.len();
    let mut bytes = Vec::new();
    for made in 1..=request.max_tokens {
        let entry = |(at, &token): (usize, &u32)| mix(u64::from(token) + 1, at as u64);
        let state = tokens.iter().enumerate().map(entry).fold(1, mix);
        let from = tokens.len().saturating_sub(request.sampling.window_len());
        let ask = LogitsQuery {
            column: 0,
            kind: QueryKind::Draw {
                words: request.sampling.words(request.key(), (tokens.len() - prompt_len) as u32),
                window: tokens[from..].to_vec(),
                window_limit: 0,
                bias: request.sampling.logit_bias.clone(),
            },
            logprob: false,
            top: 0,
        };
        let token = answer(&mut sampler, &logits(state), &ask).unwrap().token;
        if Bytes.is_end(token) {
            return (String::from_utf8_lossy(&bytes).into_owned(), made, FinishReason::Stop);
        }
        tokens.push(token);
        bytes.push(token as u8);
        if let Some(stop) = request.stop.iter().find(|stop| bytes.ends_with(stop.as_bytes())) {
            bytes.truncate(bytes.len() - stop.len());
            return (String::from_utf8_lossy(&bytes).into_owned(), made, FinishReason::Stop);
        }
        if tokens.len() > 160 {
            return (String::from_utf8_lossy(&bytes).into_owned(), made, FinishReason::Length);
        }
    }
    (String::from_utf8_lossy(&bytes).into_owned(), request.max_tokens, FinishReason::Length)
}

struct Ran {
    answers: Vec<Result<Answer, Failure>>,
    shown: Vec<String>,
    toy: Toy,
    counts: schedule::TokenCounts,
}

fn run_all(requests: &[Request], mut toy: Toy) -> Ran {
    let mut scheduler = Scheduler::new(&Bytes, toy.capacity());
    let mut waiting = requests.iter().cloned();
    let mut answers = vec![None; requests.len()];
    let mut shown = vec![String::new(); requests.len()];
    let mut exhausted = false;
    loop {
        while scheduler.has_room() && !exhausted {
            match waiting.next() {
                Some(request) => scheduler.admit(request, Duration::ZERO),
                None => exhausted = true,
            }
        }
        for event in scheduler.take_events() {
            match event {
                RequestEvent::Text { number, text, .. } => shown[number as usize].push_str(&text),
                RequestEvent::Finished { number, request, outcome } => {
                    assert_eq!(request.id, requests[number as usize].id);
                    assert!(answers[number as usize].replace(outcome).is_none(), "finished twice");
                }
            }
        }
        let Some(batch) = scheduler.plan() else {
            if exhausted {
                break;
            }
            continue;
        };
        let results = toy.step(&batch).unwrap();
        scheduler.accept(&results, Duration::ZERO).unwrap();
    }
    let counts = scheduler.counts();
    Ran { answers: answers.into_iter().map(|answer| answer.unwrap()).collect(), shown, toy, counts }
}

fn without_sharing(answer: &Result<Answer, Failure>) -> Result<Answer, Failure> {
    answer.clone().map(|answer| Answer { shared_tokens: 0, ..answer })
}

#[test]
fn answers_do_not_depend_on_what_runs_beside_them() {
    let requests = requests();
    let reference = run_all(&requests, Toy::new(1, 1, 1));
    let mut ends = [0; 2];
    for (request, answer) in requests.iter().zip(&reference.answers) {
        let answer = answer.as_ref().unwrap();
        assert_eq!(
            (answer.text.clone(), answer.completion_tokens, answer.finish),
            alone(request),
            "{request:?}"
        );
        ends[usize::from(answer.finish == FinishReason::Stop)] += 1;
    }
    assert!(ends[0] > 3 && ends[1] > 3, "the requests should end in both ways: {ends:?}");
    for slots in [1, 2, 3, 8] {
        for columns in [1, 2, 3, 5, 16, 64, 1000] {
            for steps in [1, 4, 50] {
                let ran = run_all(&requests, Toy::new(slots, columns, steps));
                for (index, request) in requests.iter().enumerate() {
                    let what = format!(
                        "{} at {slots} slots, {columns} columns, {steps} steps",
                        request.id
                    );
                    let answer = &ran.answers[index];
                    assert_eq!(
                        without_sharing(answer),
                        without_sharing(&reference.answers[index]),
                        "{what}"
                    );
                    assert_eq!(ran.shown[index], answer.as_ref().unwrap().text, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_shared_prefix_is_computed_once() {
    let requests: Vec<Request> = (0..12)
        .map(|i| Request {
            max_tokens: 1,
            ..defaults().request(format!("{i}"), format!("{SYSTEM}{i:02}"))
        })
        .collect();
    let prefix = SYSTEM.len();
    let ran = run_all(&requests, Toy::new(4, 16, 1));
    // The first digit is part of what many share, so the suffix is one column where it was seen
    // before.
    assert!(ran.toy.columns <= prefix + 2 * requests.len(), "{} columns", ran.toy.columns);
    assert!(ran.toy.columns >= prefix + requests.len());
    // Three copies while four run at once; later requests find the prefix in their own slots.
    assert!(
        ran.toy.copied <= 3 * (prefix + 1) && ran.toy.copied >= 3 * prefix,
        "{} copied",
        ran.toy.copied
    );
    let counts = ran.counts;
    assert_eq!(counts.prompt_tokens as usize, requests.len() * (prefix + 2));
    assert_eq!((counts.prompt_tokens - counts.shared_tokens) as usize, ran.toy.columns);
    let shared: u64 =
        ran.answers.iter().map(|a| u64::from(a.as_ref().unwrap().shared_tokens)).sum();
    assert_eq!(shared, counts.shared_tokens);
}

#[test]
fn several_tokens_a_submit_take_fewer_submits() {
    let bias = vec![(crate::common::toy_engine::END, -100.0)];
    let mut request = Request { max_tokens: 60, ..defaults().request("long", "abc") };
    request.sampling.logit_bias = bias;
    let single = run_all(std::slice::from_ref(&request), Toy::new(1, 64, 1));
    let many = run_all(std::slice::from_ref(&request), Toy::new(1, 64, 16));
    assert_eq!(single.answers, many.answers);
    assert_eq!(single.toy.steps, 60);
    // One for the prompt and the first token, then 59 tokens by 16.
    assert_eq!(many.toy.steps, 1 + 4);
}

#[test]
fn a_prompt_that_cannot_run_fails_alone() {
    let requests = vec![
        defaults().request("empty", ""),
        defaults().request("long", "x".repeat(161)),
        Request { prompt: Prompt::Tokens(vec![1, 999]), ..defaults().request("token", "") },
        Request { max_tokens: 9, ..defaults().request("full", "y".repeat(160)) },
        defaults().request("good", "abc"),
    ];
    let ran = run_all(&requests, Toy::new(2, 8, 1));
    let messages: Vec<String> =
        ran.answers[..3].iter().map(|a| a.as_ref().unwrap_err().to_string()).collect();
    assert_eq!(messages[0], "the prompt has no tokens");
    assert_eq!(messages[1], "the prompt has 161 tokens, and the context holds 160");
    assert_eq!(messages[2], "the prompt has token 999, and the vocabulary has 260");
    let full = ran.answers[3].as_ref().unwrap();
    assert_eq!((full.completion_tokens, full.finish), (1, FinishReason::Length));
    assert!(ran.answers[4].is_ok());
}

#[test]
fn log_probabilities_are_of_the_raw_distribution_and_of_the_text_alone() {
    let mut request = Request {
        stop: vec!["bc".into(), "d".into(), "e".into()],
        ..defaults().request("x", "hello")
    };
    request.logprobs = Some(4);
    request.prompt_logprobs = Some(2);
    request.sampling.temperature = 3.0;
    request.sampling.top_k = 3;
    let ran = run_all(&[request.clone()], Toy::new(1, 3, 1));
    let answer = ran.answers[0].as_ref().unwrap();
    assert_eq!(request.endpoint, Endpoint::Completions);
    let tokens = answer.logprobs.as_ref().unwrap();
    let text: Vec<u8> = tokens.iter().flat_map(|token| token.bytes.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&text), answer.text);
    assert_eq!(answer.finish, FinishReason::Stop, "a stop string cuts off what is behind it");
    let prompt = answer.prompt_logprobs.as_ref().unwrap();
    assert_eq!(prompt.len(), 5);
    assert!(prompt[0].is_none());
    let mut seen = b"hello".to_vec();
    for (index, token) in prompt[1..].iter().flatten().chain(tokens).enumerate() {
        let before = if index < 4 { &seen[..index + 1] } else { &seen[..] };
        let entries =
            before.iter().enumerate().map(|(at, &byte)| mix(u64::from(byte) + 1, at as u64));
        let raw = logits(entries.fold(1, mix));
        let total: f64 = raw.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = f64::from(raw[token.bytes[0] as usize]) - total.ln();
        assert!((f64::from(token.logprob) - expected).abs() < 1e-4, "{token:?} {expected}");
        assert!(token.top.is_sorted_by(|a, b| a.1 >= b.1) && token.top[0].1 >= token.logprob);
        assert_eq!(token.top.len(), if index < 4 { 2 } else { 4 });
        if index >= 4 {
            seen.extend(&token.bytes);
        }
    }
}

#[test]
fn an_engine_that_answers_too_little_is_refused() {
    let toy = Toy::new(1, 8, 1);
    let mut scheduler = Scheduler::new(&Bytes, toy.capacity());
    scheduler.admit(defaults().request("a", "abc"), Duration::ZERO);
    let batch = scheduler.plan().unwrap();
    assert_eq!(batch.asks.len(), 1);
    let error = scheduler.accept(&[], Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "the engine gave 0 answers for 1 asks");
}

/// Runs requests of which some are cancelled after so many steps, and tells what the others came to
/// and what was told of scored tokens while answers were made.
fn run_cancelling(
    requests: &[Request],
    mut toy: Toy,
    cancelled: &[(u64, usize)],
) -> (Vec<Option<Answer>>, Vec<Vec<ScoredToken>>) {
    let mut scheduler = Scheduler::new(&Bytes, toy.capacity()).telling_scores();
    let mut waiting = requests.iter().cloned();
    let mut answers = vec![None; requests.len()];
    let mut told = vec![Vec::new(); requests.len()];
    let mut steps = 0;
    loop {
        for &(number, _) in cancelled.iter().filter(|&&(_, step)| step == steps) {
            scheduler.cancel(number);
        }
        while scheduler.has_room()
            && let Some(request) = waiting.next()
        {
            scheduler.admit(request, Duration::ZERO);
        }
        for event in scheduler.take_events() {
            match event {
                RequestEvent::Text { number, tokens, .. } => told[number as usize].extend(tokens),
                RequestEvent::Finished { number, outcome, .. } => {
                    answers[number as usize] = Some(outcome.unwrap());
                }
            }
        }
        let Some(batch) = scheduler.plan() else { return (answers, told) };
        let results = toy.step(&batch).unwrap();
        scheduler.accept(&results, Duration::ZERO).unwrap();
        steps += 1;
    }
}

#[test]
fn a_cancelled_request_frees_its_slot_and_changes_no_other() {
    let requests = requests();
    let reference = run_all(&requests, Toy::new(1, 1, 1));
    for (slots, columns) in [(2, 3), (3, 64), (8, 16), (8, 5)] {
        // Some while others wait for what they compute, some in their answers, some never run.
        let cancelled = [(0, 1), (1, 2), (5, 3), (4, 6), (9, 9), (23, 0), (12, 20)];
        let (answers, told) = run_cancelling(&requests, Toy::new(slots, columns, 1), &cancelled);
        let mut ended = 0;
        for (index, answer) in answers.into_iter().enumerate() {
            let Some(answer) = answer else {
                ended += 1;
                assert!(cancelled.iter().any(|&(number, _)| number == index as u64), "{index}");
                continue;
            };
            let expected = without_sharing(&reference.answers[index]).unwrap();
            assert_eq!(Answer { shared_tokens: 0, ..answer }, expected, "{index}");
            let scored = expected.logprobs.unwrap_or_default();
            assert_eq!(told[index], scored, "{index}: told while it was made");
        }
        assert!((2..=6).contains(&ended), "{ended} at {slots} slots, {columns} columns");
    }
}
