//! What is on the device of a model that does not fit it: the room, and what streaming has done, of
//! the forward pass and of the picture.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_egui::egui;

use crate::panel::style::{accent, faint};
use crate::residency::{ResidencyFigures, ResidencyMetrics, ViewAtlas};
use crate::size::MemorySize;
use crate::world::palette::Theme;

/// Over how long rates are told.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// A line of the table: what it is, of the forward pass, of the picture.
pub(crate) type StreamingRow = [String; 3];

/// What streaming does now: what it did in the last whole second.
#[derive(Debug, Default)]
pub struct Recent {
    since: Option<(Instant, [ResidencyMetrics; 2])>,
    /// Bytes a second that were handed to the device: for the forward pass and for the picture.
    pub uploaded: [f64; 2],
    /// The part of the time that the forward pass waited for tiles.
    pub waiting: f64,
}

impl Recent {
    /// Takes in what was done so far.
    pub fn follow(&mut self, now: Instant, figures: &ResidencyFigures) {
        let both = [figures.compute, figures.view].map(Option::unwrap_or_default);
        let (since, before) = *self.since.get_or_insert((now, both));
        let seconds = (now - since).as_secs_f64();
        if now - since >= RATE_WINDOW {
            // Another device begins to count anew: then nothing is told of the time before.
            let uploaded =
                |set: usize| both[set].bytes_uploaded.saturating_sub(before[set].bytes_uploaded);
            self.uploaded = [0, 1].map(|set| uploaded(set) as f64 / seconds);
            self.waiting = ((both[0].stall_seconds - before[0].stall_seconds) / seconds).max(0.0);
            self.since = Some((now, both));
        }
    }
}

/// The table: none where nothing is streamed.
pub fn rows(
    figures: &ResidencyFigures,
    view_slots: Option<u32>,
    recent: &Recent,
) -> Vec<StreamingRow> {
    let Some(compute) = figures.compute else { return Vec::new() };
    let view = figures.view.unwrap_or_default();
    let size = |bytes: u64| MemorySize(bytes).to_string();
    let rate = |bytes: f64| format!("{}/s", size(bytes as u64));
    let both = |name: &str, of: fn(&ResidencyMetrics) -> u64| {
        [name.to_owned(), grouped(of(&compute)), grouped(of(&view))]
    };
    let both_sizes = |name: &str, of: fn(&ResidencyMetrics) -> u64| {
        [name.to_owned(), size(of(&compute)), size(of(&view))]
    };
    let none = || "-".to_owned();
    let room = figures.pool.map_or_else(none, |pool| size(pool.in_bytes));
    let parts = figures.pool.map_or_else(none, |pool| format!("{} slots", pool.slots));
    let stays = figures.pool.map_or_else(none, |pool| size(pool.stays_in_bytes));
    let view_room =
        view_slots.map_or_else(none, |slots| size(u64::from(slots) * crate::residency::SLOT_BYTES));
    let view_parts = view_slots.map_or_else(none, |slots| format!("{slots} tiles"));
    let read_rate = |figures: &ResidencyMetrics| figures.read_rate().map_or_else(none, rate);
    vec![
        ["room".into(), room, view_room],
        ["in".into(), parts, view_parts],
        ["of it stays".into(), stays, none()],
        both("tiles there", |figures| figures.hits),
        both("tiles brought", |figures| figures.misses),
        both("made room", |figures| figures.evictions),
        both("damaged", |figures| figures.bad_tiles),
        both_sizes("in flight", |figures| figures.bytes_in_flight),
        both_sizes("read", |figures| figures.bytes_read),
        ["reading".into(), read_rate(&compute), read_rate(&view)],
        both_sizes("uploaded", |figures| figures.bytes_uploaded),
        ["uploading now".into(), rate(recent.uploaded[0]), rate(recent.uploaded[1])],
        [
            "waits".into(),
            format!("{}, {:.1} s", grouped(compute.stalls), compute.stall_seconds),
            none(),
        ],
        ["waiting now".into(), format!("{:.0} %", recent.waiting * 100.0), none()],
    ]
}

/// A count with a thin space between its thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    // Digits are one byte each: every cut is between two.
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let parts: Vec<String> =
        (!head.is_empty()).then(|| head.to_owned()).into_iter().chain(groups).collect();
    parts.join("\u{202f}")
}

/// Draws the table, where there is one.
pub(crate) fn table(
    ui: &mut egui::Ui,
    theme: Theme,
    figures: &ResidencyFigures,
    atlas: Option<&ViewAtlas>,
    recent: &mut Recent,
) {
    recent.follow(Instant::now(), figures);
    let rows = rows(figures, atlas.map(ViewAtlas::slots), recent);
    if rows.is_empty() {
        return;
    }
    ui.separator();
    egui::Grid::new("streaming").spacing([14.0, 2.0]).min_col_width(88.0).show(ui, |ui| {
        for title in ["streaming", "forward pass", "picture"] {
            ui.colored_label(accent(theme), title);
        }
        ui.end_row();
        for [name, compute, view] in rows {
            ui.colored_label(faint(theme), name);
            for value in [compute, view] {
                ui.label(egui::RichText::new(value).monospace().size(12.0));
            }
            ui.end_row();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        let found = [0, 12, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(found, ["0", "12", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn rates_are_of_the_last_second_and_begin_anew_with_another_device() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let mut at = |seconds: u64, uploaded: u64, stalled: f64| {
            let compute = ResidencyMetrics {
                bytes_uploaded: uploaded,
                stall_seconds: stalled,
                ..ResidencyMetrics::default()
            };
            let figures =
                ResidencyFigures { compute: Some(compute), ..ResidencyFigures::default() };
            recent.follow(start + Duration::from_secs(seconds), &figures);
            (recent.uploaded[0], recent.waiting)
        };
        assert_eq!(at(0, 1000, 0.0), (0.0, 0.0));
        assert_eq!(at(2, 5000, 0.5), (2000.0, 0.25));
        assert_eq!(at(3, 5000, 0.5), (0.0, 0.0));
        assert_eq!(at(4, 100, 0.1), (0.0, 0.0), "less than before");
        assert_eq!(at(5, 400, 0.2).0, 300.0);
    }

    #[test]
    fn nothing_is_told_where_nothing_is_streamed() {
        assert!(rows(&ResidencyFigures::default(), None, &Recent::default()).is_empty());
    }
}
