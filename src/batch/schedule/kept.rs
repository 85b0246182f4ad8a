//! Prompts that are kept on disk, as the scheduler uses them: which request begins with one, and
//! what of a prompt becomes one.

use super::prefix::{LEAST_SHARED, Placement};
use super::{Scheduler, SequenceSlot};
use crate::batch::prefixes::{KeptPrefix, PrefixStore};
use crate::batch::request::Request;
use crate::batch::text::TextModel;
use crate::engine::{Engine, EngineError};

/// The store, and what is to be read of it.
#[derive(Default)]
pub(super) struct KeptPrefixes {
    pub store: Option<PrefixStore>,
    /// Slots, and what they begin with.
    pub loads: Vec<(usize, KeptPrefix)>,
}

impl KeptPrefixes {
    /// How many positions of a request are worth keeping; 0 where its prompt is not to be used
    /// (`limit` is 0) or nothing is.
    pub fn worth_keeping(
        &mut self,
        request: &Request,
        tokens: &[u32],
        limit: usize,
        text: &dyn TextModel,
    ) -> usize {
        match &mut self.store {
            Some(store) if limit > 0 => store.worth_keeping(request, tokens, text),
            _ => 0,
        }
    }
}

impl Scheduler<'_> {
    /// A placement that begins with a file, where one has more of the prompt than the slots have;
    /// and how many positions are loaded.
    pub(super) fn load(
        &mut self,
        placement: Placement,
        tokens: &[u32],
        limit: usize,
    ) -> (Placement, usize) {
        // A copy that is due would copy what is loaded over it.
        let is_read = self.copies.iter().any(|copy| copy.from as usize == placement.slot);
        let Some(store) = self.kept.store.as_mut().filter(|_| limit > 0 && !is_read) else {
            return (placement, 0);
        };
        let least = placement.computed + LEAST_SHARED;
        let Some(found) = store.find(tokens, limit, least) else { return (placement, 0) };
        let positions = found.positions;
        self.kept.loads.push((placement.slot, found));
        let wait_for =
            placement.wait_for.filter(|&(_, promised)| promised >= positions + LEAST_SHARED);
        let placement = Placement { computed: positions, copy_from: None, wait_for, ..placement };
        (placement, positions)
    }

    /// Gives slots what they begin with, and keeps what is to be kept. To be called before a plan,
    /// and after answers before the next request is admitted.
    ///
    /// # Errors
    /// The engine cannot take keys and values.
    pub fn exchange(&mut self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        for (slot, prefix) in std::mem::take(&mut self.kept.loads) {
            if !prefix.load(engine, slot) {
                let message = "it takes no keys and values that were kept";
                return Err(EngineError::Other(message.into()));
            }
        }
        let Some(store) = &mut self.kept.store else { return Ok(()) };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let SequenceSlot { tokens, computed, keeps, .. } = slot;
            if *keeps > 0 && *computed >= *keeps {
                store.keep(engine, index, &tokens[..*keeps]);
                *keeps = 0;
            }
        }
        Ok(())
    }

    /// What a person should hear of kept prompts, since this was last asked.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.kept.store.as_mut().map(PrefixStore::take_notes).unwrap_or_default()
    }
}
