//! Continuous batching: many requests over few slots.
//!
//! In: requests, and the answers to batches. Out: batches, and [`RequestEvent`]s. Nothing here runs
//! the model or reads a clock: the caller does both, in a loop or frame by frame. A draft model, if
//! there is one, makes its proposals within [`Scheduler::plan`].
//!
//! 1. [`Scheduler::admit`] gives a request a free slot and finds what of its prompt is computed
//!    already.
//! 2. [`Scheduler::plan`] fills the columns of a batch: first one for every request that is being
//!    answered, then pieces of prompts in the order of admission.
//! 3. [`Scheduler::accept`] takes the answers; requests end and free their slots in the middle of
//!    others.
//!
//! A request's tokens depend on nothing but the request, as long as the engine's columns do not
//! depend on each other beyond their slot: not on the number of slots, nor on how prompts are cut
//! into pieces.

mod drafts;
mod kept;
mod prefix;
mod running;

use std::time::Duration;

use self::drafts::Drafting;
use self::kept::KeptPrefixes;
use self::prefix::{SlotView, place};
pub(super) use self::running::character_offsets;
use self::running::{RunningRequest, Wait};
use super::answer::{Answer, Failure, FinishReason, ScoredToken};
use super::draft::DraftSource;
use super::forms::{FormCompiler, FormState};
use super::prefixes::PrefixStore;
use super::request::Request;
use super::text::TextModel;
use crate::engine::{Batch, Capacity, Column, EngineError, PrefixCopy, Sampled};
use crate::forward::AdapterSet;

/// Something that happened to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestEvent {
    /// Text that no later token can take back.
    Text {
        /// The request, by the order of admission from 0.
        number: u64,
        /// The text that is new.
        text: String,
        /// The log-probability of the token that it came with, where the request asks for them.
        logprob: Option<f32>,
        /// Whether that token was drafted.
        drafted: bool,
        /// The tokens whose text has become certain, with their log-probabilities: only of a
        /// scheduler that [tells scores](Scheduler::telling_scores), and all of them once.
        tokens: Vec<ScoredToken>,
    },
    /// The request is finished.
    Finished {
        /// The request, by the order of admission from 0.
        number: u64,
        /// What was asked. Boxed because it is large.
        request: Box<Request>,
        /// What became of it.
        outcome: Result<Answer, Failure>,
    },
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Prompt tokens of admitted requests whose keys and values are there.
    pub prompt_tokens: u64,
    /// Of them, those that were taken over instead of computed.
    pub shared_tokens: u64,
    /// Of these, those that came from files.
    pub loaded_tokens: u64,
    /// Tokens drawn for answers.
    pub completion_tokens: u64,
    /// Tokens that were drafted for answers and checked.
    pub drafted_tokens: u64,
    /// Of the tokens drawn, those that had been drafted.
    pub accepted_tokens: u64,
    /// Batches whose answers were accepted.
    pub steps: u64,
}

/// The scheduler of one engine.
pub struct Scheduler<'m> {
    text: &'m dyn TextModel,
    capacity: Capacity,
    slots: Vec<SequenceSlot<'m>>,
    admitted: u64,
    copies: Vec<PrefixCopy>,
    /// Slots that have other adapters from the next batch on.
    changed: Vec<(u32, Option<AdapterSet>)>,
    planned: Planned,
    events: Vec<RequestEvent>,
    counts: TokenCounts,
    drafting: Drafting,
    kept: KeptPrefixes,
    tells_scores: bool,
    /// Made when the first form is asked for: it goes over the whole vocabulary.
    forms: Option<Result<FormCompiler, String>>,
}

#[derive(Default)]
struct SequenceSlot<'m> {
    /// The tokens it knows; when nothing runs, those that have keys and values.
    tokens: Vec<u32>,
    computed: usize,
    /// The adapters that its tokens' keys and values were computed with.
    adapters: Option<AdapterSet>,
    /// How many positions are to be kept on disk once they are computed; 0 is none.
    keeps: usize,
    last_used: u64,
    running: Option<RunningRequest<'m>>,
}

/// What the batch that is out was made of.
#[derive(Default)]
struct Planned {
    /// Slots, and how many columns each has, drafts left out.
    pieces: Vec<(usize, usize)>,
    /// The slot of each ask, and what it is.
    asks: Vec<(usize, AskKind)>,
    /// Columns of all slots, drafts included.
    columns: usize,
}

/// What an ask is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskKind {
    /// The log-probability of a token of the prompt.
    Score,
    /// The next token.
    Draw,
    /// The token after this one, which was drafted: it counts where that is what was drawn.
    AfterDraft(u32),
}

impl<'m> Scheduler<'m> {
    /// A scheduler with all slots free.
    ///
    /// # Panics
    /// If the capacity has no slot, no column or no position.
    pub fn new(text: &'m dyn TextModel, capacity: Capacity) -> Self {
        assert!(
            capacity.slots > 0 && capacity.columns > 0 && capacity.context > 0,
            "an engine needs a slot, a column and a position: {capacity:?}"
        );
        Self {
            text,
            capacity,
            slots: (0..capacity.slots).map(|_| SequenceSlot::default()).collect(),
            admitted: 0,
            copies: Vec::new(),
            changed: Vec::new(),
            planned: Planned::default(),
            events: Vec::new(),
            counts: TokenCounts::default(),
            drafting: Drafting::default(),
            kept: KeptPrefixes::default(),
            tells_scores: false,
            forms: None,
        }
    }

    /// The same, and text comes with the log-probabilities of its tokens, where the request asks
    /// for them: for whoever passes answers on while they are made.
    #[must_use]
    pub fn telling_scores(mut self) -> Self {
        self.tells_scores = true;
        self
    }

    /// The same with prompts that are kept on disk, if there is a store.
    /// [`exchange`](Self::exchange) has to be called before each plan.
    #[must_use]
    pub fn keeping(mut self, store: Option<PrefixStore>) -> Self {
        self.kept.store = store;
        self
    }

    /// The same with drafts of a source, whose tokens are checked several at once. Answers are the
    /// same; they come faster where drafts are right.
    #[must_use]
    pub fn drafting(mut self, source: DraftSource) -> Self {
        self.drafting.source = source;
        self
    }

    /// Whether a slot is free.
    pub fn has_room(&self) -> bool {
        self.slots.iter().any(|slot| slot.running.is_none())
    }

    /// Whether no request is running.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.running.is_none())
    }

    /// How many requests were admitted: the number of the next one.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    /// How many slots are taken.
    pub fn running(&self) -> usize {
        self.slots.iter().filter(|slot| slot.running.is_some()).count()
    }

    /// Positions of all slots that have keys and values.
    pub fn positions(&self) -> usize {
        self.slots.iter().map(|slot| slot.computed).sum()
    }

    /// Ends a request without an answer or an event, and frees its slot. What it computed stays
    /// there for prompts that begin alike. Nothing happens where no such request runs. Call it
    /// between a batch's answers and the next plan.
    pub fn cancel(&mut self, number: u64) {
        let is_it = |slot: &&mut SequenceSlot<'_>| {
            slot.running.as_ref().is_some_and(|running| running.number == number)
        };
        let Some(slot) = self.slots.iter_mut().find(is_it) else { return };
        slot.running = None;
        // The last token that was drawn has no keys and values.
        slot.tokens.truncate(slot.computed);
        // Who waited for it goes on by itself.
        self.end_waits();
    }

    /// What was done so far.
    pub fn counts(&self) -> TokenCounts {
        self.counts
    }

    /// What happened since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<RequestEvent> {
        std::mem::take(&mut self.events)
    }

    /// Gives a request a free slot. A request that cannot run is finished at once, with its
    /// failure.
    ///
    /// # Panics
    /// If there is no room.
    pub fn admit(&mut self, request: Request, now: Duration) {
        let number = self.admitted;
        self.admitted += 1;
        let begun = match self.prompt_tokens(&request) {
            Ok(tokens) => self.begin_form(&request).map(|form| (tokens, form)),
            Err(failure) => Err(failure),
        };
        match begun {
            Ok((tokens, form)) => self.start(request, number, tokens, form, now),
            Err(failure) => {
                let (request, outcome) = (Box::new(request), Err(failure));
                self.events.push(RequestEvent::Finished { number, request, outcome });
            }
        }
    }

    fn prompt_tokens(&self, request: &Request) -> Result<Vec<u32>, Failure> {
        let tokens = self
            .text
            .encode(&request.prompt)
            .map_err(|error| Failure::Prompt(error.to_string()))?;
        let Capacity { context, vocab, .. } = self.capacity;
        if tokens.is_empty() {
            return Err(Failure::PromptEmpty);
        }
        if tokens.len() > context {
            return Err(Failure::PromptTooLong { prompt: tokens.len(), context });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab) {
            return Err(Failure::UnknownToken { token, vocab });
        }
        match request.named_tokens().find(|&(_, token)| token as usize >= vocab) {
            Some((field, token)) => Err(Failure::OutsideVocabulary { field, token, vocab }),
            None => Ok(tokens),
        }
    }

    /// The form that a request's answer has to have, before its first token.
    fn begin_form(&mut self, request: &Request) -> Result<Option<FormState>, Failure> {
        let Some(form) = &request.form else { return Ok(None) };
        let (text, vocab) = (self.text, self.capacity.vocab);
        let forms = self.forms.get_or_insert_with(|| FormCompiler::new(text, vocab));
        let begun = forms.as_ref().map_err(String::clone).and_then(|forms| forms.begin(form));
        begun.map(Some).map_err(Failure::Form)
    }

    fn start(
        &mut self,
        request: Request,
        number: u64,
        tokens: Vec<u32>,
        form: Option<FormState>,
        now: Duration,
    ) {
        let views: Vec<SlotView<'_>> =
            self.slots.iter().map(|slot| slot.view(&request.adapters)).collect();
        // A position that is taken over has no logits, so the last one never is, and none where all
        // are asked for.
        let limit = if request.scored_prompt().is_some() { 0 } else { tokens.len() - 1 };
        let placement =
            place(&views, &tokens, limit).expect("admit is only called when there is room");
        // What is kept was computed by the model as it is: with adapters there are other keys.
        let is_plain = request.adapters.as_ref().is_none_or(AdapterSet::is_empty);
        let limit_kept = if is_plain { limit } else { 0 };
        let (placement, loaded) = self.load(placement, &tokens, limit_kept);
        if let Some(from) = placement.copy_from {
            self.copy(from, placement.slot, placement.computed);
        }
        self.set_adapters(placement.slot, &request.adapters);
        let mut running = RunningRequest::new(
            request,
            number,
            &tokens,
            placement.computed,
            self.text,
            self.capacity.vocab,
            now,
        );
        running.form = form;
        running.add_loaded(loaded);
        let keeps = self.kept.worth_keeping(&running.request, &tokens, limit_kept, self.text);
        running.draft.chances = self.drafting.pace.chances.clone();
        running.wait = placement.wait_for.map(|(slot, positions)| Wait { slot, positions });
        self.counts.prompt_tokens += placement.computed as u64;
        self.counts.shared_tokens += placement.computed as u64;
        self.counts.loaded_tokens += loaded as u64;
        let slot = &mut self.slots[placement.slot];
        // 0 is a slot that was never used.
        slot.last_used = number + 1;
        slot.computed = placement.computed;
        slot.keeps = keeps;
        slot.tokens = tokens;
        slot.running = Some(running);
        self.finish_if_only_looking(placement.slot, now);
    }

    /// Notes which adapters a slot has from the next batch on.
    fn set_adapters(&mut self, slot: usize, adapters: &Option<AdapterSet>) {
        if self.slots[slot].adapters != *adapters {
            self.slots[slot].adapters.clone_from(adapters);
            // Only the last counts: a batch copies first, and copies bring their adapters.
            self.changed.retain(|&(changed, _)| changed as usize != slot);
            self.changed.push((slot as u32, adapters.clone()));
        }
    }

    fn copy(&mut self, from: usize, to: usize, positions: usize) {
        self.copies.push(PrefixCopy {
            from: from as u32,
            to: to as u32,
            positions: positions as u32,
        });
    }

    /// Ends a request that wanted no tokens once its prompt is scored.
    fn finish_if_only_looking(&mut self, index: usize, now: Duration) {
        let slot = &self.slots[index];
        let done = slot.running.as_ref().is_some_and(|running| {
            running.request.max_tokens == 0 && slot.computed >= running.goal(slot.tokens.len())
        });
        if done {
            self.finish(index, FinishReason::Length, now);
        }
    }

    /// The next batch, or `None` when nothing is running. Its answers are due before the next plan.
    pub fn plan(&mut self) -> Option<Batch> {
        assert!(self.kept.loads.is_empty(), "what is loaded is there before it is read");
        let mut batch = Batch {
            copies: std::mem::take(&mut self.copies),
            adapters: std::mem::take(&mut self.changed),
            steps: 1,
            ..Batch::default()
        };
        self.planned = Planned::default();
        let mut ready: Vec<(bool, u64, usize)> = Vec::new();
        // Who has no column in a batch waits for all its passes: then it has only one.
        let mut left_out = false;
        for (index, slot) in self.slots.iter().enumerate() {
            match &slot.running {
                Some(running) if running.wait.is_some() => left_out = true,
                // Answers come before prompts; among answers the one whose turn is longest ago,
                // among prompts the oldest.
                Some(running) if running.drawn() > 0 => ready.push((false, running.served, index)),
                Some(running) => ready.push((true, running.number, index)),
                None => {}
            }
        }
        ready.sort_unstable();
        let mut drafts = self.draft(&ready);
        for (_, _, index) in ready {
            // What is drafted has its room already: nothing that must be computed waits for it.
            let room = self.capacity.columns - batch.columns.len();
            left_out |= room == 0;
            self.plan_slot(index, room, &drafts.remove(&index).unwrap_or_default(), &mut batch);
        }
        self.planned.columns = batch.columns.len();
        if batch.columns.is_empty() {
            assert!(self.is_idle(), "a request can only wait for one that runs");
            // They are due before the next batch.
            (self.copies, self.changed) = (batch.copies, batch.adapters);
            return None;
        }
        // A piece of a prompt has its next token already, and feeds none back.
        let answering = self.planned.pieces.iter().all(|&(index, columns)| {
            columns == 1
                && batch.columns.len() == self.planned.pieces.len()
                && self.slots[index].running.as_ref().is_some_and(|running| running.drawn() > 0)
        });
        if answering && !left_out {
            batch.steps = self.steps();
        }
        Some(batch)
    }

    /// Puts up to `room` columns of a slot into the batch, and behind them what is drafted.
    fn plan_slot(&mut self, index: usize, room: usize, drafted: &[u32], batch: &mut Batch) {
        let slot = &mut self.slots[index];
        let Some(running) = &mut slot.running else { return };
        let end = running.goal(slot.tokens.len()).min(slot.computed + room);
        if end <= slot.computed {
            return;
        }
        running.served = self.counts.steps + 1;
        for position in slot.computed..end {
            let column = batch.columns.len() as u32;
            batch.columns.push(Column {
                token: slot.tokens[position],
                slot: index as u32,
                position: position as u32,
            });
            let next = position + 1;
            let ask = if next == slot.tokens.len() {
                Some((running.draw(column, &slot.tokens, 0), AskKind::Draw))
            } else if next < running.prompt_len {
                running.score(column, slot.tokens[next]).map(|ask| (ask, AskKind::Score))
            } else {
                None
            };
            if let Some((ask, kind)) = ask {
                batch.asks.push(ask);
                self.planned.asks.push((index, kind));
            }
        }
        self.planned.pieces.push((index, end - slot.computed));
        let known = slot.tokens.len();
        for (ahead, &token) in drafted.iter().enumerate() {
            let column = batch.columns.len() as u32;
            let position = (known + ahead) as u32;
            batch.columns.push(Column { token, slot: index as u32, position });
            // For as long as the ask is made, it is a token of the sequence.
            slot.tokens.push(token);
            batch.asks.push(running.draw(column, &slot.tokens, ahead + 1));
            self.planned.asks.push((index, AskKind::AfterDraft(token)));
        }
        slot.tokens.truncate(known);
        running.add_drafted(drafted.len());
        self.counts.drafted_tokens += drafted.len() as u64;
    }

    /// How many tokens each of the planned slots can have in one submit: no more than the longest
    /// of them may still want, nor than the fullest has room for.
    fn steps(&self) -> u32 {
        let mut room = self.capacity.steps;
        let mut wanted = 1;
        for &(index, _) in &self.planned.pieces {
            let slot = &self.slots[index];
            if let Some(running) = &slot.running {
                room = room.min(self.capacity.context - slot.computed).min(running.alike());
                wanted = wanted.max(running.request.max_tokens.saturating_sub(running.drawn()));
            }
        }
        // `clamp` panics on an empty range; `wanted` is 1 at least.
        u32::try_from(room).unwrap_or(u32::MAX).clamp(1, wanted)
    }

    /// Tells how long the engine took for the batch that is out, by which drafts get their length.
    /// Optional, and to be called before [`accept`](Self::accept).
    pub fn took(&mut self, time: Duration) {
        // What reads prompts is another kind of pass: of no use, and much longer.
        if self.planned.columns <= 2 * self.planned.asks.len() {
            self.drafting.pace.timed(self.planned.columns, time);
        }
    }

    /// Takes the answers to the batch that was planned last.
    pub fn accept(&mut self, answers: &[Vec<Sampled>], now: Duration) -> Result<(), EngineError> {
        let planned = std::mem::take(&mut self.planned);
        if let Some(error) = self.drafting.failed.take() {
            return Err(error);
        }
        let empty = answers.iter().filter(|answers| answers.is_empty()).count();
        if answers.len() != planned.asks.len() || empty > 0 {
            let found = answers.len() - empty;
            return Err(EngineError::Answers { found, expected: planned.asks.len() });
        }
        self.counts.steps += 1;
        for &(index, columns) in &planned.pieces {
            let slot = &mut self.slots[index];
            let prompt_len = slot.running.as_ref().map_or(0, |running| running.prompt_len);
            let before = slot.computed.min(prompt_len);
            slot.computed += columns;
            self.counts.prompt_tokens += (slot.computed.min(prompt_len) - before) as u64;
        }
        self.accept_answers(&planned.asks, answers, now)?;
        for &(index, _) in &planned.pieces {
            self.finish_if_only_looking(index, now);
        }
        self.end_waits();
        Ok(())
    }

    fn accept_answers(
        &mut self,
        asks: &[(usize, AskKind)],
        answers: &[Vec<Sampled>],
        now: Duration,
    ) -> Result<(), EngineError> {
        // Whether all that was drafted for the slot so far is what was drawn.
        let mut holds = false;
        for (at, (&(index, kind), answers)) in asks.iter().zip(answers).enumerate() {
            let slot = &mut self.slots[index];
            match kind {
                AskKind::Score => {
                    if let Some(running) = &mut slot.running {
                        running.take_score(&answers[0], self.text);
                    }
                    continue;
                }
                AskKind::Draw => holds = true,
                AskKind::AfterDraft(token) => {
                    // One that has ended has no next token, and what follows a wrong one is of
                    // another text: its keys and values are written over.
                    holds &= slot.running.is_some() && slot.tokens.last() == Some(&token);
                    if !holds {
                        continue;
                    }
                    slot.computed += 1;
                }
            }
            let drafted = match asks.get(at + 1) {
                Some(&(next, AskKind::AfterDraft(token))) if next == index => Some(token),
                _ => None,
            };
            self.accept_draws(index, answers, drafted, now)?;
        }
        Ok(())
    }

    /// Takes what was drawn for a slot, where perhaps a token had been drafted.
    fn accept_draws(
        &mut self,
        index: usize,
        answers: &[Sampled],
        drafted: Option<u32>,
        now: Duration,
    ) -> Result<(), EngineError> {
        let Capacity { context, vocab, .. } = self.capacity;
        for (pass, sampled) in answers.iter().enumerate() {
            // What a device gives back is an index from here on.
            if sampled.token as usize >= vocab {
                let message = format!("it drew token {} of a vocabulary of {vocab}", sampled.token);
                return Err(EngineError::Other(message.into()));
            }
            let slot = &mut self.slots[index];
            // It ended in an earlier pass of this batch: what came after does not count.
            let Some(running) = &mut slot.running else { return Ok(()) };
            // Each pass after the first has computed the position of the token before.
            slot.computed += usize::from(pass > 0);
            slot.tokens.push(sampled.token);
            let drafted = drafted == Some(sampled.token);
            self.counts.completion_tokens += 1;
            self.counts.accepted_tokens += u64::from(drafted);
            if let Some((ground, ahead, right)) = running.draft.draw(sampled.token) {
                self.drafting.pace.learn(&mut running.draft.chances, ground, ahead, right);
            }
            let (mut text, number) = (String::new(), running.number);
            let known = slot.tokens.len();
            let token = (sampled, drafted);
            let end = running.take_token(token, self.text, known, context, &mut text, now);
            let tokens = if self.tells_scores { running.fresh_scores() } else { Vec::new() };
            if !text.is_empty() || !tokens.is_empty() {
                let logprob = sampled.logprob;
                self.events.push(RequestEvent::Text { number, text, logprob, drafted, tokens });
            }
            if let Some(reason) = end {
                self.finish(index, reason, now);
            }
        }
        Ok(())
    }

    fn finish(&mut self, index: usize, reason: FinishReason, now: Duration) {
        let slot = &mut self.slots[index];
        let Some(mut running) = slot.running.take() else { return };
        // The last token that was drawn has no keys and values.
        slot.tokens.truncate(slot.computed);
        let number = running.number;
        let told = running.told();
        let problem = running.form_problem.take();
        let (request, answer, text) = running.finish(reason, now);
        if let Some(problem) = problem {
            let (request, outcome) = (Box::new(request), Err(Failure::Form(problem)));
            self.events.push(RequestEvent::Finished { number, request, outcome });
            return;
        }
        let scored = answer.logprobs.as_deref().filter(|_| self.tells_scores);
        let tokens = scored.and_then(|scored| scored.get(told..)).unwrap_or_default().to_vec();
        if !text.is_empty() || !tokens.is_empty() {
            let (logprob, drafted) = (None, false);
            self.events.push(RequestEvent::Text { number, text, logprob, drafted, tokens });
        }
        self.events.push(RequestEvent::Finished {
            number,
            request: Box::new(request),
            outcome: Ok(answer),
        });
    }

    /// Ends every request with what it has so far. Call it between a batch's answers and the next
    /// plan.
    pub fn stop(&mut self, now: Duration) {
        for index in 0..self.slots.len() {
            self.finish(index, FinishReason::Length, now);
        }
    }

    /// Copies to every slot whose wait is over. A slot that ended early still has what it computed,
    /// since no request can have been admitted to it since.
    fn end_waits(&mut self) {
        for index in 0..self.slots.len() {
            let Some(Wait { slot: from, positions }) =
                self.slots[index].running.as_ref().and_then(|r| r.wait)
            else {
                continue;
            };
            let source = &self.slots[from];
            if source.running.is_some() && source.computed < positions {
                continue;
            }
            let positions = positions.min(source.computed);
            let slot = &mut self.slots[index];
            // A source that ended early may have less than this slot.
            let gained = positions.saturating_sub(slot.computed);
            slot.computed += gained;
            if let Some(running) = &mut slot.running {
                running.wait = None;
                running.add_shared(gained);
            }
            self.counts.prompt_tokens += gained as u64;
            self.counts.shared_tokens += gained as u64;
            if gained > 0 {
                self.copy(from, index, positions);
            }
        }
    }
}

impl SequenceSlot<'_> {
    /// What a request with some adapters finds here: nothing, where the slot has others.
    fn view(&self, adapters: &Option<AdapterSet>) -> SlotView<'_> {
        let is_alike = self.adapters == *adapters;
        SlotView {
            tokens: if is_alike { &self.tokens } else { &[] },
            computed: if is_alike { self.computed } else { 0 },
            running: self.running.is_some(),
            last_used: self.last_used,
        }
    }
}
