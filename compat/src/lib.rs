//! Lets [big-brain](https://crates.io/crates/big-brain) 0.22, written for Bevy 0.15, compile
//! unmodified on the Bevy that this workspace uses.
//!
//! The crate is named `bevy` and calls itself 0.15.99, so that `[patch.crates-io]` in the workspace
//! gives it to big-brain in the place of Bevy 0.15. It is today's Bevy under its own name, with the
//! few things put back that big-brain uses and that have since been renamed, moved or given another
//! return type. Both sides therefore share one `World`, one `App` and one set of components.
//!
//! It also gives the rest of the workspace the one type it must name to implement big-brain's
//! builder traits by hand: [`Commands`].
//!
//! This crate may go when a big-brain on crates.io depends on today's Bevy.

use std::ops::{Deref, DerefMut};

use bevy_ecs::{
    entity::Entity,
    system::{EntityCommands, SystemParam},
};

pub use today::*;

/// Today's prelude, with [`Commands`] as it was and the removed
/// [`DespawnRecursiveExt`].
pub mod prelude {
    pub use today::prelude::*;

    // An explicit re-export wins over the glob above.
    pub use crate::{Commands, DespawnRecursiveExt};
}

/// What `bevy::utils` re-exported in 0.15 and no longer does.
pub mod utils {
    pub use std::time::Duration;

    pub use today::log::tracing;
    pub use today::platform::time::Instant;
    pub use today::utils::*;
}

/// Today's `Commands`, except that [`get_entity`](Self::get_entity) answers with an `Option`.
#[derive(SystemParam)]
pub struct Commands<'w, 's> {
    inner: bevy_ecs::system::Commands<'w, 's>,
}

impl Commands<'_, '_> {
    /// The commands of an entity, or `None` where it no longer exists.
    pub fn get_entity(&mut self, entity: Entity) -> Option<EntityCommands<'_>> {
        self.inner.get_entity(entity).ok()
    }
}

impl<'w, 's> Deref for Commands<'w, 's> {
    type Target = bevy_ecs::system::Commands<'w, 's>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Commands<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

/// Despawning with descendants, which is what a plain `despawn` does since Bevy 0.16.
pub trait DespawnRecursiveExt {
    /// Despawns the entity and its descendants.
    fn despawn_recursive(self);
}

impl DespawnRecursiveExt for EntityCommands<'_> {
    // big-brain may ask for a parent and for its child in one frame; the second request finds
    // nothing to do, and that is not worth the warning that a plain `despawn` would log.
    fn despawn_recursive(mut self) {
        self.try_despawn();
    }
}
