//! The islands of the model's family, beside its land.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Color32, ColorImage, Rect, TextureHandle, TextureOptions, pos2};

use crate::model::poster::Picture;
use crate::panel::labels::map_text::on_screen;
use crate::panel::labels::placement::map_painter;
use crate::world::camera::MapCamera;
use crate::world::family::FamilyPicture;
use crate::world::layout::Atlas;

/// The picture on the device, by its number.
#[derive(Default)]
pub(crate) struct FamilyTexture(Option<(u64, TextureHandle)>);

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    family: Res<FamilyPicture>,
    mut shown: Local<FamilyTexture>,
) -> Result {
    let (Some((number, painting)), Some(place)) = (&family.painting, family.place(atlas.bounds()))
    else {
        return Ok(());
    };
    let context = contexts.ctx_mut()?;
    if shown.0.as_ref().is_none_or(|(of, _)| of != number) {
        let texture =
            context.load_texture("family", image(&painting.picture), TextureOptions::LINEAR);
        shown.0 = Some((*number, texture));
    }
    let Some((_, texture)) = &shown.0 else { return Ok(()) };
    let rect = on_screen(&camera.view, place);
    let painter = map_painter(context, &camera.view);
    if rect.intersects(painter.clip_rect()) {
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        painter.image(texture.id(), rect, whole, Color32::WHITE);
    }
    Ok(())
}

fn image(picture: &Picture) -> ColorImage {
    ColorImage::from_rgb([picture.width as usize, picture.height as usize], &picture.rgb)
}
