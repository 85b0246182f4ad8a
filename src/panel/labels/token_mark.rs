//! The token that was found in the sea of words: its name above its line of cells, and from afar,
//! where that line is thinner than a pixel, a glow around it.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Rect, pos2};

use super::map_text::{minimap, on_screen};
use super::placement::{MapWords, Word, WordRank, map_of, map_painter};
use crate::panel::charts::activity::glow;
use crate::panel::frame::drawer::written;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::accent;
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::layout::{Atlas, Place};
use crate::world::pointer::Selection;
use crate::world::search::Search;
use crate::world::settings::Settings;

/// Points of the glow on either side.
const GLOW: f32 = 12.0;
/// Points of a cell from which on nothing is laid over it.
const SEEN: f64 = 1.0;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    selection: Res<Selection>,
    settings: Res<Settings>,
    search: Res<Search>,
    mut words: ResMut<MapWords>,
    mut lights: ResMut<Lights>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(place @ Place::Token(token)) = &selection.0 else { return Ok(()) };
    let Some(cells) = atlas.rect(place) else { return Ok(()) };
    let painter = map_painter(context, &camera.view);
    let rect = on_screen(&camera.view, cells);
    if camera.view.scale * f64::from(context.pixels_per_point()) < SEEN {
        let (bright, dark) = (glow(settings.theme, 0.7), glow(settings.theme, 0.0));
        let mut light = RectMesh::beside(minimap(&camera.view, &atlas));
        // North and south of it: a token's cells lie from west to east, as the stream's values do.
        let north = Rect::from_x_y_ranges(rect.x_range(), rect.top() - GLOW..=rect.top());
        let south = Rect::from_x_y_ranges(rect.x_range(), rect.bottom()..=rect.bottom() + GLOW);
        light.fall(north, dark, bright);
        light.fall(south, bright, dark);
        light.shine(map_of(&camera.view), &mut lights);
    }
    let text = match search.token_text(*token) {
        Some(text) => format!("{} {token}", written(text)),
        None => atlas.name(place),
    };
    let key = (WordRank::State, [cells.x, cells.y]);
    words.say(Word::new(&painter, key, (text, 13.0), accent(settings.theme), |size| {
        let left = rect.center().x - size.x / 2.0;
        let above = rect.top() - size.y - 8.0;
        vec![pos2(left, above), pos2(left, rect.bottom() + 8.0), pos2(left, above - 30.0)]
    }));
    Ok(())
}
