//! Several choices of one result: each runs as a request of its own, and the result waits for all
//! of them.

use std::collections::{BTreeMap, VecDeque};

use super::answer::{Answer, Failure};
use super::request::Request;

/// The requests of a run, and which of the scheduler's are parts of which.
#[derive(Default)]
pub(super) struct Choices {
    /// How many requests were taken in.
    taken: u64,
    /// What has no slot yet.
    waiting: VecDeque<ChoicePart>,
    /// The parts that run, by the scheduler's number.
    running: BTreeMap<u64, PartOf>,
    /// The requests of several choices that are not finished.
    several: BTreeMap<u64, Several>,
}

struct ChoicePart {
    of: PartOf,
    request: Request,
}

/// Which choice of which request a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartOf {
    /// The request, from 0.
    pub request: u64,
    /// The choice, from 0.
    pub choice: usize,
}

struct Several {
    request: Request,
    answers: Vec<Option<Answer>>,
}

/// A request of which every choice is made, or one of them failed.
pub(super) struct FinishedRequest {
    pub number: u64,
    pub request: Request,
    /// What became of the first choice; a failure is that of all.
    pub outcome: Result<Answer, Failure>,
    /// The other choices.
    pub more: Vec<Answer>,
}

impl Choices {
    /// Takes a request in.
    pub fn push(&mut self, request: Request) {
        let number = self.taken;
        self.taken += 1;
        let of = |choice| PartOf { request: number, choice };
        if !request.has_several() {
            self.waiting.push_back(ChoicePart { of: of(0), request });
            return;
        }
        let parts = request.split();
        let answers = vec![None; parts.len()];
        self.several.insert(number, Several { request, answers });
        let parts = parts.into_iter().enumerate();
        self.waiting.extend(parts.map(|(choice, request)| ChoicePart { of: of(choice), request }));
    }

    /// What is to be admitted next, under the number that the scheduler will give it.
    pub fn next_part(&mut self, number: u64) -> Option<Request> {
        let part = self.waiting.pop_front()?;
        self.running.insert(number, part.of);
        Some(part.request)
    }

    /// Whether nothing waits for a slot.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Which part the scheduler's request is.
    pub fn part(&self, number: u64) -> Option<PartOf> {
        self.running.get(&number).copied()
    }

    /// Forgets a request; gives the scheduler's numbers of what runs of it.
    pub fn forget(&mut self, request: u64) -> Vec<u64> {
        self.several.remove(&request);
        self.waiting.retain(|part| part.of.request != request);
        let runs = self.running.iter().filter(|(_, of)| of.request == request);
        let numbers: Vec<u64> = runs.map(|(&number, _)| number).collect();
        for number in &numbers {
            self.running.remove(number);
        }
        numbers
    }

    /// Takes what became of a part; gives the request where it is finished by that. What still runs
    /// of one that failed is for [`forget`](Self::forget).
    pub fn finish(
        &mut self,
        number: u64,
        request: Request,
        outcome: Result<Answer, Failure>,
    ) -> Option<FinishedRequest> {
        let PartOf { request: number, choice } = self.running.remove(&number)?;
        let Some(several) = self.several.get_mut(&number) else {
            return Some(FinishedRequest { number, request, outcome, more: Vec::new() });
        };
        match outcome {
            Ok(answer) => {
                several.answers[choice] = Some(answer);
                if several.answers.iter().any(Option::is_none) {
                    return None;
                }
                let Several { request, answers } = self.several.remove(&number)?;
                let mut answers = answers.into_iter().flatten();
                let outcome = Ok(answers.next()?);
                Some(FinishedRequest { number, request, outcome, more: answers.collect() })
            }
            Err(failure) => {
                let Several { request, .. } = self.several.remove(&number)?;
                Some(FinishedRequest { number, request, outcome: Err(failure), more: Vec::new() })
            }
        }
    }
}
