//! Where a new request goes, and which part of its prompt need not be computed again.
//!
//! Every slot, running or not, still holds the keys and values of the tokens it last saw. A prompt
//! that begins as one of them takes that beginning over: in place, by a copy, or, while another
//! request is only now computing the same beginning, by waiting for it. So a prefix that many
//! requests share is computed once.

/// The shortest beginning worth a copy or a wait: below it, the pass that is due anyway costs less.
pub(super) const LEAST_SHARED: usize = 8;

/// What a slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotView<'a> {
    /// The tokens it knows: of a running request the whole prompt and the answer so far.
    pub tokens: &'a [u32],
    /// How many of them have keys and values.
    pub computed: usize,
    /// Whether a request runs in it.
    pub running: bool,
    /// When it was last given to a request.
    pub last_used: u64,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub slot: usize,
    /// How many positions it can keep, or gets by the copy.
    pub computed: usize,
    /// The slot to copy them from.
    pub copy_from: Option<usize>,
    /// A running slot to wait for, and how many positions it will have computed.
    pub wait_for: Option<(usize, usize)>,
}

/// Places a prompt of which at most `limit` positions may be taken over. `None` where every slot is
/// taken.
pub(super) fn place(slots: &[SlotView<'_>], prompt: &[u32], limit: usize) -> Option<Placement> {
    let common = |slot: &SlotView<'_>| shared_len(slot.tokens, prompt).min(limit);
    let ready = |slot: &SlotView<'_>| common(slot).min(slot.computed);
    let free = || slots.iter().enumerate().filter(|(_, slot)| !slot.running);
    // Of equally good slots, the one that was left alone longest.
    let (keeper, kept) = free()
        .map(|(index, slot)| (index, ready(slot)))
        .max_by_key(|&(index, kept)| (kept, std::cmp::Reverse(slots[index].last_used)))?;
    let (source, copied) = slots
        .iter()
        .enumerate()
        .map(|(index, slot)| (index, ready(slot)))
        .max_by_key(|&(index, ready)| (ready, std::cmp::Reverse(index)))?;
    let placement = if copied >= kept + LEAST_SHARED {
        // The copy overwrites a beginning: that of the slot that was left alone longest.
        let (oldest, _) = free().min_by_key(|(_, slot)| slot.last_used)?;
        Placement { slot: oldest, computed: copied, copy_from: Some(source), wait_for: None }
    } else {
        Placement { slot: keeper, computed: kept, copy_from: None, wait_for: None }
    };
    let promised = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.running)
        .map(|(i, slot)| (i, common(slot)));
    let wait_for = promised
        .max_by_key(|&(index, promised)| (promised, std::cmp::Reverse(index)))
        .filter(|&(_, promised)| promised >= placement.computed + LEAST_SHARED);
    Some(Placement { wait_for, ..placement })
}

/// How many tokens two lists have in common at their beginning.
fn shared_len(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(tokens: &[u32], computed: usize, running: bool, last_used: u64) -> SlotView<'_> {
        SlotView { tokens, computed, running, last_used }
    }

    #[test]
    fn a_free_slot_with_the_beginning_is_kept() {
        let long: Vec<u32> = (0..20).collect();
        let slots = [view(&[], 0, false, 0), view(&long, 20, false, 9), view(&long, 12, true, 8)];
        let placed = place(&slots, &long, 19).unwrap();
        assert_eq!(placed, Placement { slot: 1, computed: 19, copy_from: None, wait_for: None });
    }

    #[test]
    fn a_running_slot_is_copied_from_and_waited_for() {
        let long: Vec<u32> = (0..40).collect();
        let slots = [view(&long, 12, true, 1), view(&[5], 1, false, 3), view(&[6], 1, false, 2)];
        let placed = place(&slots, &long[..32], 31).unwrap();
        assert_eq!(
            placed,
            Placement { slot: 2, computed: 12, copy_from: Some(0), wait_for: Some((0, 31)) }
        );
        let barely = place(&slots, &long[..15], 14).unwrap();
        assert_eq!(barely.wait_for, None, "two more positions are not worth a wait");
    }

    #[test]
    fn nothing_is_shared_past_the_limit_and_nothing_placed_without_room() {
        let long: Vec<u32> = (0..40).collect();
        let placed = place(&[view(&long, 40, false, 0)], &long, 0).unwrap();
        assert_eq!((placed.computed, placed.wait_for), (0, None));
        assert_eq!(place(&[view(&long, 40, true, 0)], &long, 39), None);
    }
}
