//! Heads and layers that are heard alone, and all of them again.

use bevy::prelude::*;

use crate::tiles::{ModelIndex, Muted, Scale};
use crate::world::layout::{Atlas, Place};
use crate::world::notices::Notices;
use crate::world::pointer::Selection;

/// Every entity with a mark.
pub type Marked<'w, 's> = Query<'w, 's, Entity, Or<(With<Muted>, With<Scale>)>>;

/// The entity of a head or layer.
pub fn entity_of(place: &Place, index: &ModelIndex) -> Option<Entity> {
    match place {
        Place::Layer(layer) | Place::Attention(layer) | Place::FeedForward(layer) => {
            index.layer(*layer)
        }
        Place::Head(layer, head) => index.head(*layer, *head),
        _ => None,
    }
}

/// Mutes the selected head or layer, or lets it speak again.
pub fn mute_selection(
    (atlas, selection): (&Atlas, &Selection),
    index: Option<&ModelIndex>,
    is_muted: impl Fn(Entity) -> bool,
    notices: &mut Notices,
    commands: &mut Commands,
) {
    let found = selection
        .0
        .as_ref()
        .zip(index)
        .and_then(|(place, index)| Some((atlas.name(place), entity_of(place, index)?)));
    let Some((name, entity)) = found else {
        notices.tell("select a head or a layer first: click one");
        return;
    };
    if is_muted(entity) {
        commands.entity(entity).remove::<Muted>();
        notices.tell(format!("{name} speaks again"));
    } else {
        commands.entity(entity).insert(Muted);
        notices.tell(format!("{name} is muted"));
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
pub fn is_solo(place: &Place, index: &ModelIndex, is_muted: impl Fn(Entity) -> bool) -> bool {
    with_others(place, index).is_some_and(|(own, others)| {
        !is_muted(own) && !others.is_empty() && others.into_iter().all(is_muted)
    })
}

/// Mutes the other heads of the selected head's layer, or the other layers; where they are muted
/// already, lets them speak again.
pub fn solo_selection(
    (atlas, selection): (&Atlas, &Selection),
    index: Option<&ModelIndex>,
    is_muted: impl Fn(Entity) -> bool,
    notices: &mut Notices,
    commands: &mut Commands,
) {
    let found = selection.0.clone().zip(index).and_then(|(place, index)| {
        let (own, others) = with_others(&place, index)?;
        Some((is_solo(&place, index, &is_muted), place, own, others))
    });
    let Some((was_solo, place, own, others)) = found else {
        notices.tell("select a head or a layer first: click one");
        return;
    };
    let name = atlas.name(&place);
    for other in others {
        if was_solo {
            commands.entity(other).remove::<Muted>();
        } else {
            commands.entity(other).insert(Muted);
        }
    }
    commands.entity(own).remove::<Muted>();
    let what = if matches!(place, Place::Head(..)) { "heads of its layer" } else { "layers" };
    notices.tell(if was_solo {
        format!("the other {what} speak again")
    } else {
        format!("{name} is heard alone: the other {what} are muted")
    });
}

/// Takes every mark away.
pub fn clear(marked: &Marked, commands: &mut Commands) {
    for entity in marked {
        commands.entity(entity).remove::<(Muted, Scale)>();
    }
}
