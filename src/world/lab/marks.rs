//! Marks of heads and layers: they are muted, heard alone, and speak again.

use bevy::prelude::*;

use crate::tiles::{ModelIndex, Muted, Scale};
use crate::world::keys::UserAction;
use crate::world::layout::{Atlas, Place};
use crate::world::notices::Notices;
use crate::world::pointer::Selection;
use crate::world::tour::{TourProblem, TourStep};

/// Every entity with a mark.
pub(crate) type MarkedEntities<'w, 's> = Query<'w, 's, Entity, Or<(With<Muted>, With<Scale>)>>;

/// The entity of a head or layer.
pub(crate) fn entity_of(place: &Place, index: &ModelIndex) -> Option<Entity> {
    match place {
        // Factors are of layers and heads; half a layer has none of its own.
        Place::Layer(layer) | Place::Attention(layer) | Place::FeedForward(layer) => {
            index.layer(*layer)
        }
        Place::Head(layer, head) => index.head(*layer, *head),
        _ => None,
    }
}

/// A head or layer and the others of its kind: the heads of its layer, or all layers.
fn with_others(place: &Place, index: &ModelIndex) -> Option<(Entity, Vec<Entity>)> {
    let (own, all): (Entity, Vec<Entity>) = match place {
        Place::Head(layer, head) => {
            let heads = 0..index.heads_per_layer();
            (
                index.head(*layer, *head)?,
                heads.filter_map(|head| index.head(*layer, head)).collect(),
            )
        }
        Place::Layer(layer) | Place::Attention(layer) | Place::FeedForward(layer) => {
            let layers = 0..index.layer_count();
            (index.layer(*layer)?, layers.filter_map(|layer| index.layer(layer)).collect())
        }
        _ => return None,
    };
    Some((own, all.into_iter().filter(|&entity| entity != own).collect()))
}

/// Whether the others of a place's kind are muted, and it is not.
pub(crate) fn is_solo(
    place: &Place,
    index: &ModelIndex,
    is_muted: impl Fn(Entity) -> bool,
) -> bool {
    with_others(place, index).is_some_and(|(own, others)| {
        !is_muted(own) && !others.is_empty() && others.into_iter().all(is_muted)
    })
}

/// Mutes the selected head or layer or lets it speak again, or does so to all others of its kind.
pub(super) fn act(
    mut actions: MessageReader<UserAction>,
    atlas: Res<Atlas>,
    selection: Res<Selection>,
    index: Option<Res<ModelIndex>>,
    muted: Query<(), With<Muted>>,
    mut notices: ResMut<Notices>,
    mut commands: Commands,
) {
    for action in actions.read() {
        let change = match action {
            UserAction::Mute => mute,
            UserAction::Solo => solo,
            _ => continue,
        };
        let selected = selection.0.as_ref().zip(index.as_deref());
        let done = selected.and_then(|(place, index)| {
            change(place, &atlas.name(place), index, &muted, &mut commands)
        });
        notices.tell(done.unwrap_or_else(|| "select a head or a layer first: click one".into()));
    }
}

/// Mutes a head or layer, or lets it speak again, and says so.
fn mute(
    place: &Place,
    name: &str,
    index: &ModelIndex,
    muted: &Query<(), With<Muted>>,
    commands: &mut Commands,
) -> Option<String> {
    let entity = entity_of(place, index)?;
    Some(if muted.contains(entity) {
        commands.entity(entity).remove::<Muted>();
        format!("{name} speaks again")
    } else {
        commands.entity(entity).insert(Muted);
        format!("{name} is muted")
    })
}

/// Mutes the other heads of a head's layer, or the other layers; where they are muted already, lets
/// them speak again. Says so.
fn solo(
    place: &Place,
    name: &str,
    index: &ModelIndex,
    muted: &Query<(), With<Muted>>,
    commands: &mut Commands,
) -> Option<String> {
    let (own, others) = with_others(place, index)?;
    let was_solo = is_solo(place, index, |entity| muted.contains(entity));
    for other in others {
        if was_solo {
            commands.entity(other).remove::<Muted>();
        } else {
            commands.entity(other).insert(Muted);
        }
    }
    // It may have been muted before, and nothing would be heard.
    commands.entity(own).remove::<Muted>();
    let what = if matches!(place, Place::Head(..)) { "heads of its layer" } else { "layers" };
    Some(if was_solo {
        format!("the other {what} speak again")
    } else {
        format!("{name} is heard alone: the other {what} are muted")
    })
}

/// Mutes what a tour mutes, and lets it speak again.
pub(super) fn follow_tour(
    mut steps: MessageReader<TourStep>,
    index: Option<Res<ModelIndex>>,
    mut problems: MessageWriter<TourProblem>,
    mut commands: Commands,
) {
    for step in steps.read() {
        let (place, is_muted) = match step {
            TourStep::Mute(place) => (place, true),
            TourStep::Unmute(place) => (place, false),
            _ => continue,
        };
        let Some(entity) = index.as_ref().and_then(|index| entity_of(place, index)) else {
            problems.write(TourProblem::NoPlace(place.clone()));
            continue;
        };
        if is_muted {
            commands.entity(entity).insert(Muted);
        } else {
            commands.entity(entity).remove::<Muted>();
        }
    }
}

/// Takes every mark away.
pub(crate) fn clear(marked: &MarkedEntities, commands: &mut Commands) {
    for entity in marked {
        commands.entity(entity).remove::<(Muted, Scale)>();
    }
}
