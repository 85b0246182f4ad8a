//! What is drafted for the next batch: for whom, of what, and how much.

use std::collections::HashMap;

use super::{Scheduler, SequenceSlot};
use crate::batch::draft::{DraftSource, DraftWish, Ground, MOST_DRAFTED, Offer, Pace, drafted};
use crate::engine::{EngineError, LogitsQuery};

/// The drafts of a scheduler: their source, and how they fared so far.
#[derive(Default)]
pub(super) struct Drafting {
    pub source: DraftSource,
    pub pace: Pace,
    /// Why the draft model gave out; told with the next answers.
    pub failed: Option<EngineError>,
}

/// Passes without a draft after which a draft model is tried again: so many, then twice as many
/// each time, up to the last number.
const PAUSES: [usize; 2] = [8, 256];

impl Scheduler<'_> {
    /// Drafts for slots that are ready, by slot.
    pub(super) fn draft(&mut self, ready: &[(bool, u64, usize)]) -> HashMap<usize, Vec<u32>> {
        if matches!(self.drafting.source, DraftSource::Off) || self.drafting.failed.is_some() {
            return HashMap::new();
        }
        let answering: Vec<(usize, usize)> = ready
            .iter()
            .filter(|&&(reads, ..)| !reads)
            .map(|&(.., index)| (index, self.most_drafted(index)))
            .filter(|&(_, most)| most > 0)
            .collect();
        let due: usize = ready.iter().map(|&(.., index)| self.slots[index].due()).sum();
        let room = self.capacity.columns.saturating_sub(due);
        let draws = ready.iter().filter(|&&(reads, ..)| !reads).count();
        let pass = (due, draws);
        let drafts = match &self.drafting.source {
            DraftSource::Off => Vec::new(),
            DraftSource::Ngram => self.look_up(&answering, pass, room),
            DraftSource::Model(_) => self.ask_model(&answering, pass, room),
        };
        answering.into_iter().map(|(index, _)| index).zip(drafts).collect()
    }

    /// How many tokens of a draft could count: of those that the answer may still have all but the
    /// one that is drawn anyway, each at a position of its own.
    fn most_drafted(&self, index: usize) -> usize {
        let slot = &self.slots[index];
        let Some(running) = &slot.running else { return 0 };
        // What may come behind a token of a form is known once it is drawn.
        if running.form.is_some() {
            return 0;
        }
        let wanted = running.request.max_tokens.saturating_sub(running.drawn() + 1) as usize;
        wanted.min(self.capacity.context.saturating_sub(slot.tokens.len())).min(MOST_DRAFTED)
    }

    fn look_up(
        &mut self,
        answering: &[(usize, usize)],
        pass: (usize, usize),
        room: usize,
    ) -> Vec<Vec<u32>> {
        for &(index, most) in answering {
            let SequenceSlot { tokens, running, .. } = &mut self.slots[index];
            let Some(running) = running else { continue };
            let draft = &mut running.draft;
            draft.drawn = 0;
            draft.foreseen.clear();
            let Some(found) = draft.index.find(tokens) else { continue };
            draft.ground = Some(Ground::Matched(found.matched));
            let foreseen = (0..most).map(|ahead| drafted(tokens, &found, ahead));
            // What would end the answer has nothing after it, so it needs no column.
            let goes_on: Vec<u32> =
                foreseen.take_while(|&token| !running.is_end(token, self.text)).collect();
            running.draft.foreseen = goes_on;
        }
        let offers: Vec<Offer<'_>> = answering
            .iter()
            .map(|&(index, _)| self.offer(index, self.foreseen(index).len()))
            .collect();
        let lengths = self.drafting.pace.lengths(pass, &offers, room, 0.0);
        let drafts = answering.iter().zip(lengths);
        drafts.map(|(&(index, _), length)| self.foreseen(index)[..length].to_vec()).collect()
    }

    fn foreseen(&self, index: usize) -> &[u32] {
        self.slots[index].running.as_ref().map_or(&[], |running| &running.draft.foreseen)
    }

    /// What could be drafted for a slot.
    fn offer(&self, index: usize, most: usize) -> Offer<'_> {
        match &self.slots[index].running {
            Some(running) => {
                let ground = running.draft.ground.unwrap_or(Ground::Model);
                Offer { ground, most, chances: &running.draft.chances }
            }
            None => Offer { ground: Ground::Model, most: 0, chances: &self.drafting.pace.chances },
        }
    }

    fn ask_model(
        &mut self,
        answering: &[(usize, usize)],
        pass: (usize, usize),
        room: usize,
    ) -> Vec<Vec<u32>> {
        for &(index, _) in answering {
            if let Some(running) = &mut self.slots[index].running {
                running.draft.ground = Some(Ground::Model);
            }
        }
        let offers: Vec<Offer<'_>> =
            answering.iter().map(|&(index, most)| self.offer(index, most)).collect();
        let DraftSource::Model(model) = &self.drafting.source else { return Vec::new() };
        let mut lengths = self.drafting.pace.lengths(pass, &offers, room, model.pass_seconds());
        // Where drafts do not pay, one token now and then shows whether they would again.
        let mut left = room - lengths.iter().sum::<usize>();
        for (&(index, _), length) in answering.iter().zip(&mut lengths) {
            let Some(running) = &mut self.slots[index].running else { continue };
            let draft = &mut running.draft;
            if *length > 0 {
                (draft.pause, draft.next_pause) = (PAUSES[0], PAUSES[0]);
            } else if draft.pause > 0 {
                draft.pause -= 1;
            } else if left > 0 {
                left -= 1;
                *length = 1;
                draft.pause = draft.next_pause.max(PAUSES[0]);
                draft.next_pause = (draft.pause * 2).min(PAUSES[1]);
            }
        }
        self.propose(answering, &lengths)
    }

    /// What the draft model proposes for the slots. Those whose prompts are still read are given to
    /// it too: both models read them side by side.
    fn propose(&mut self, answering: &[(usize, usize)], lengths: &[usize]) -> Vec<Vec<u32>> {
        let Self { slots, drafting, text, .. } = self;
        let Drafting { source: DraftSource::Model(model), failed, .. } = drafting else {
            return Vec::new();
        };
        let wanted = |index: usize| {
            let answer = answering.iter().position(|&(other, _)| other == index);
            answer.map_or(0, |answer| lengths[answer])
        };
        let mut wishes = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            let Some(running) = &slot.running else { continue };
            let most = wanted(index);
            // In a pause it reads nothing, and then all that was said.
            if most == 0 && running.drawn() > 0 {
                continue;
            }
            let draw = Box::new(move |column: u32, tokens: &[u32], ahead: usize| {
                let ask = running.draw(column, tokens, ahead);
                LogitsQuery { logprob: false, top: 0, ..ask }
            });
            wishes.push(DraftWish { slot: index, tokens: &slot.tokens, most, draw });
        }
        let wished: Vec<usize> = wishes.iter().map(|wish| wish.slot).collect();
        let proposed = match model.propose(&wishes) {
            Ok(proposed) => proposed,
            Err(error) => {
                *failed = Some(error);
                return Vec::new();
            }
        };
        drop(wishes);
        let mut drafts = vec![Vec::new(); answering.len()];
        for (slot, mut draft) in wished.into_iter().zip(proposed) {
            let Some(running) = &mut slots[slot].running else { continue };
            let end = draft.iter().position(|&token| running.is_end(token, *text));
            draft.truncate(end.unwrap_or(draft.len()));
            running.draft.drawn = 0;
            running.draft.foreseen.clone_from(&draft);
            if let Some(at) = answering.iter().position(|&(other, _)| other == slot) {
                drafts[at] = draft;
            }
        }
        drafts
    }
}

impl SequenceSlot<'_> {
    /// Columns that it still needs.
    fn due(&self) -> usize {
        let goal = self.running.as_ref().map_or(0, |running| running.goal(self.tokens.len()));
        goal.saturating_sub(self.computed)
    }
}
