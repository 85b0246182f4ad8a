//! The drawer on the right: one panel at a time, chosen by its name or its key. The map and all
//! that lies on it have the rest of the screen.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Id, Margin, Order, Rect, RichText, ScrollArea, Sense, Ui, pos2, vec2};

use crate::agents::QueueWorkers;
use crate::coach::{Queue, Status};
use crate::panel::charts::activity::Scrubbed;
use crate::panel::controls::{Explained, with_key};
use crate::panel::frame::search_box;
use crate::panel::labels::placement::Taken;
use crate::panel::style::{FADED, accent, card, faint, hairline, ink, solid, tint};
use crate::world::camera::MapCamera;
use crate::world::keys::UserAction;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;

/// Points across the drawer's contents: the rest are its margins and a scroll bar.
pub(crate) const WIDE: f32 = 320.0;
/// Points across a map on which all names stand beside the search box; where there are less, one
/// button opens the drawer, which has the names.
pub(crate) const ALL_NAMES: f32 = 1100.0;

/// The area in which the names of all panels stand while none is open.
pub(super) fn names_id() -> Id {
    Id::new("names")
}

/// What stands above the contents: the names of all panels, and the name of the one that is open.
const HEAD: &str = "drawer head";

/// Shows a panel's contents in the drawer if it is the one that is open. Comes after [`names`].
pub(crate) fn show(
    context: &egui::Context,
    theme: Theme,
    (drawer, tab): (&Drawer, Tab),
    contents: impl FnOnce(&mut Ui),
) {
    if drawer.0 != Some(tab) {
        return;
    }
    let mut place = across(context);
    if let Some(head) = context.memory(|memory| memory.area_rect(HEAD)) {
        place.min.y = head.bottom().min(place.bottom());
    }
    part(context, theme, ("drawer", place), |ui| {
        ui.set_height((place.height() - 10.0).max(0.0));
        // Of each its own: where one was scrolled to is not where another is.
        let scroll = ScrollArea::vertical().id_salt(tab).auto_shrink([false, false]);
        scroll.show(ui, |ui| {
            ui.set_max_width(WIDE);
            contents(ui);
        });
    });
}

/// The names and the heading of an open drawer. Gives what is open from now on.
fn head(context: &egui::Context, theme: Theme, tab: Tab) -> Drawer {
    let mut chosen = Drawer(Some(tab));
    part(context, theme, (HEAD, across(context)), |ui| {
        ui.add_space(10.0);
        ui.horizontal_wrapped(|ui| all_names(ui, theme, &mut chosen, None));
        ui.add_space(4.0);
        heading(ui, &mut chosen);
    });
    chosen
}

/// Where all of the drawer is.
fn across(context: &egui::Context) -> Rect {
    let screen = context.content_rect();
    let left = (screen.right() - Drawer::ACROSS).max(screen.left());
    Rect::from_min_max(pos2(left, screen.top()), screen.right_bottom())
}

/// A part of the drawer, as wide as all of it. Above all else: on a narrow screen it covers the map
/// and what stands there.
fn part(
    context: &egui::Context,
    theme: Theme,
    (name, place): (&str, Rect),
    contents: impl FnOnce(&mut Ui),
) {
    let area = egui::Area::new(Id::new(name)).order(Order::Foreground);
    area.fixed_pos(place.min).constrain(false).show(context, |ui| {
        ui.shrink_clip_rect(place);
        let margin = Margin { left: 14, right: 4, top: 0, bottom: 0 };
        let frame = egui::Frame::new().fill(solid(theme)).inner_margin(margin);
        let shown = frame.show(ui, |ui| {
            ui.set_width((place.width() - 18.0).max(0.0));
            contents(ui);
        });
        let line = hairline(theme);
        let down = shown.response.rect.y_range();
        ui.painter().vline(place.left() + line.width / 2.0, down, line);
    });
}

/// The name of the panel that is open, and the button that closes it.
fn heading(ui: &mut Ui, drawer: &mut Drawer) {
    let Some(tab) = drawer.0 else { return };
    ui.horizontal(|ui| {
        ui.label(RichText::new(tab.name()).size(17.0).strong());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.add_space(10.0);
            let words = with_key(ui.ctx(), "closes the drawer", UserAction::Close);
            if ui.button("Close").explained(words).clicked() {
                drawer.0 = None;
            }
        });
    });
    ui.separator();
}

/// The names of all panels; a click opens one. The coach's says how far the plan is.
fn all_names(ui: &mut Ui, theme: Theme, drawer: &mut Drawer, queue: Option<&Queue>) {
    ui.spacing_mut().item_spacing = vec2(11.0, 4.0);
    for tab in Tab::ALL {
        let is_open = drawer.0 == Some(tab);
        let mut name = tab.name().to_owned();
        let mut colour = if is_open { accent(theme) } else { faint(theme) };
        if let (Tab::Coach, Some(queue)) = (tab, queue) {
            name = format!("{name} {}/{}", done(queue), queue.tasks().len());
            // Somebody waits for a word.
            colour = if queue.for_persons().is_empty() { colour } else { accent(theme) };
        }
        let text = RichText::new(name).size(13.0).color(colour);
        let text = if is_open { text.underline() } else { text };
        let label = egui::Label::new(text).sense(Sense::click()).selectable(false);
        let about = tab.action().map_or_else(
            || tab.about().to_owned(),
            |action| with_key(ui.ctx(), tab.about(), action),
        );
        if ui.add(label.extend()).explained(about).clicked() {
            drawer.0 = Some(tab);
        }
    }
}

/// Tasks that are done.
fn done(queue: &Queue) -> usize {
    queue.tasks().iter().filter(|task| task.status == Status::Completed).count()
}

/// The names of all panels: in the open drawer, or left of the search box, or behind one button.
pub(crate) fn names(
    mut contexts: EguiContexts,
    camera: Res<MapCamera>,
    settings: Res<Settings>,
    workers: Option<Res<QueueWorkers>>,
    mut drawer: ResMut<Drawer>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    if let Some(tab) = drawer.0 {
        drawer.set_if_neq(head(context, theme, tab));
        return Ok(());
    }
    let across = camera.view.size[0] as f32;
    let frame = card(theme).inner_margin(Margin::symmetric(10, 6));
    let place = pos2(across - search_box::ACROSS - 20.0, 10.0);
    let area = egui::Area::new(names_id()).fixed_pos(place).pivot(Align2::RIGHT_TOP);
    let shown = area.show(context, |ui| {
        frame.show(ui, |ui| {
            // What is chosen is a change; being looked at is none.
            let mut chosen = *drawer;
            if across >= ALL_NAMES {
                let queue =
                    workers.as_deref().map(|workers| workers.runner().shared_queue().queue());
                ui.horizontal(|ui| all_names(ui, theme, &mut chosen, queue.as_deref()));
            } else {
                let text = RichText::new("Panels").size(13.0).color(ink(theme));
                let label = egui::Label::new(text).sense(Sense::click()).selectable(false);
                let words = "opens the drawer: what is selected, changes, charts, settings, keys";
                if ui.add(label.extend()).explained(words).clicked() {
                    chosen.0 = Some(Tab::Inspector);
                }
            }
            drawer.set_if_neq(chosen);
        });
    });
    taken.rects.push(shown.response.rect);
    Ok(())
}

/// Looks at the token before or after.
pub(crate) fn scrub(
    mut actions: MessageReader<UserAction>,
    mind: Res<Generation>,
    mut scrubbed: ResMut<Scrubbed>,
) {
    for action in actions.read() {
        let Some(latest) = mind.latest_place() else { continue };
        let at = scrubbed.0.unwrap_or(latest);
        match action {
            UserAction::Earlier => scrubbed.0 = Some(at.saturating_sub(1)),
            // Past the last, what is looked at follows the model again.
            UserAction::Later => scrubbed.0 = (at < latest).then_some(at + 1),
            _ => {}
        }
    }
}

/// Where what is looked at is: the token that was chosen, if its step is done, or the latest.
pub(crate) fn place(mind: &Generation, scrubbed: &Scrubbed) -> Option<usize> {
    let latest = mind.latest_place()?;
    Some(scrubbed.0.filter(|&at| at <= latest).unwrap_or(latest))
}

/// A token as it is written in a list.
pub(crate) fn written(text: &str) -> String {
    format!("\u{201c}{}\u{201d}", text.replace('\n', "\\n").replace('\t', "\\t"))
}

/// What is said of what was computed before the model was changed.
pub(crate) const BEFORE_CHANGE: &str = "before the change";

/// Fades what follows where it was computed before the model was changed, and says so.
pub(crate) fn fade_before_change(ui: &mut Ui, theme: Theme, mind: &Generation) {
    if mind.is_before_change() {
        ui.colored_label(accent(theme), BEFORE_CHANGE);
        ui.multiply_opacity(FADED);
    }
}

/// What is said in a panel as long as nothing was thought.
pub(crate) fn nothing_yet(ui: &mut Ui, theme: Theme) {
    ui.colored_label(faint(theme), "Ask something first: press Enter, type, and Enter again.");
}

/// A number with a bar behind it.
pub(crate) fn bar_cell(
    ui: &mut Ui,
    theme: Theme,
    wide: f32,
    part: f32,
    (text, about): (&str, &str),
) -> egui::Response {
    let (place, response) = ui.allocate_exact_size(vec2(wide, 16.0), Sense::click());
    let full =
        Rect::from_min_size(place.min, vec2(place.width() * part.clamp(0.0, 1.0), place.height()));
    ui.painter().rect_filled(full.shrink2(vec2(0.0, 1.5)), 2.0, tint(theme, 0.8));
    let font = egui::FontId::monospace(11.0);
    ui.painter().text(
        place.left_center() + vec2(4.0, 0.0),
        Align2::LEFT_CENTER,
        text,
        font,
        ink(theme),
    );
    response.explained(about)
}
