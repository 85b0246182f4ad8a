//! The world off-screen: what is drawn is what the file says, cell by cell and byte by byte, for
//! every encoding; a muted head is seen to be muted; a tour leaves its pictures and tells what it
//! cannot find.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::forward::open;
use crate::common::tiny::Tiny;
use crate::common::world::{Picture, go_to, open_world};
use bevy::prelude::Mut;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::{HookPoint, Hooks, Interventions};
use pixel_llm::model::relief::Point;
use pixel_llm::model::weights::tile_weights;
use pixel_llm::model::{Encoding, plan::Orientation};
use pixel_llm::tiles::{ModelIndex, Muted};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::draw::MapFrame;
use pixel_llm::world::layout::{Atlas, Place, Quad};
use pixel_llm::world::palette::{Colouring, Palettes, Theme};
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::settings::Settings;
use pixel_llm::world::think::Generation;
use pixel_llm::world::tour::{Tour, TourRun};

/// Points per cell: large enough for a middle that no hairline reaches, too small for a number to
/// be written into it.
const SCALE: f64 = 16.0;
/// Of the picture.
const SIZE: [u32; 2] = [640, 480];

fn shoot(world: &mut Offscreen, folder: &Path, name: &str) -> Picture {
    // Words are wholly there after 150 ms, which are ten frames.
    world.update(11);
    let path: PathBuf = folder.join(name);
    world.shoot(path.clone()).unwrap();
    Picture::read(&path)
}

fn is_near(a: [u8; 3], b: [u8; 3], budget: u8) -> bool {
    a.iter().zip(b).all(|(&a, b)| a.abs_diff(b) <= budget)
}

/// Goes to a tensor's first plot and compares the cells in the middle of the screen with the file,
/// in colours of weights and of bytes.
fn compare(world: &mut Offscreen, folder: &Path, name: &str) {
    let model = Arc::clone(world.app.world().resource::<Atlas>().model());
    let tensor = model.tensor_index(name).unwrap();
    let plot = model.plan().plots_of(tensor)[0].clone();
    let middle =
        ((plot.rows.start + plot.rows.end) / 2, (plot.columns.start + plot.columns.end) / 2);
    assert!(go_to(world, &Place::Weight(name.into(), middle.0, middle.1)), "{name}");
    let app = world.app.world_mut();
    app.resource_mut::<MapCamera>().view.scale = SCALE;
    app.resource_mut::<Selection>().0 = None;
    let view = app.resource::<MapCamera>().view;
    let spread = app.resource::<Atlas>().spread(tensor);
    let palette = app.resource::<Palettes>().0[0].clone();

    for colouring in [Colouring::Weights, Colouring::Bytes] {
        world.app.world_mut().resource_mut::<Settings>().colouring = colouring;
        let picture = shoot(world, folder, "compare.png");
        let (mut compared, mut distinct) = (0, std::collections::HashSet::new());
        for row in middle.0.saturating_sub(6)..(middle.0 + 7).min(plot.rows.end) {
            for column in middle.1.saturating_sub(6)..(middle.1 + 7).min(plot.columns.end) {
                let (x, y) = plot.cell(row, column);
                let point = view.to_screen([x as f64 + 0.5, y as f64 + 0.5]);
                if point[0] < 2.0 || point[1] < 100.0 || point[0] > 630.0 || point[1] > 300.0 {
                    continue;
                }
                let tile = model.tensors()[tensor].first_tile
                    + model.tensors()[tensor].tiling.tile_of(row, column) as u32;
                let (_, shape) = model.tile_shape(tile);
                let found = picture.at(point);
                let stride = shape.columns.end - shape.columns.start;
                let weights = tile_weights(
                    &model.tensors()[tensor].tiling,
                    &shape,
                    model.tile(tile).unwrap(),
                );
                let weight = weights
                    [((row - shape.rows.start) * stride + column - shape.columns.start) as usize];
                match colouring {
                    Colouring::Weights => {
                        let wanted = palette
                            .weight(Theme::Dark, weight / spread)
                            .map(|part| (part * 255.0).round() as u8);
                        // The table has 127 steps to a side.
                        assert!(
                            is_near(found, wanted, 6),
                            "{name} [{row}, {column}] = {weight}: {found:?}, expected {wanted:?}"
                        );
                        compared += 1;
                        distinct.insert(found);
                    }
                    _ => {
                        // The three bytes are somewhere in the tile, together and at a pixel's
                        // place.
                        let range = model.tile_range(tile);
                        let mut bytes = model.tile(tile).unwrap().to_vec();
                        // Bytes of the tile before stay dark in the first pixel; the last one may
                        // have bytes of the next tile.
                        bytes.splice(0..0, vec![0; range.start % 3]);
                        let next = tile + 1;
                        if next < model.tile_count() && model.tile_range(next).start == range.end {
                            bytes.extend(&model.tile(next).unwrap()[..2]);
                        }
                        let is_pixel = bytes
                            .chunks_exact(3)
                            .any(|pixel| is_near([pixel[0], pixel[1], pixel[2]], found, 1));
                        assert!(
                            is_pixel,
                            "{name} [{row}, {column}]: {found:?} is no pixel of tile {tile}"
                        );
                        compared += 1;
                        distinct.insert(found);
                    }
                }
            }
        }
        assert!(compared >= 7, "{name}: only {compared} cells were compared");
        assert!(distinct.len() >= 2, "{name}: every cell has one colour");
    }
    world.app.world_mut().resource_mut::<Settings>().colouring = Colouring::Weights;
}

#[test]
fn every_encoding_is_drawn_as_the_file_has_it() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in Encoding::ALL {
        let path = folder.path().join(format!("{encoding}.gguf"));
        Tiny::new("llama", encoding, 5).write(&path);
        let model = open(&path);
        let Some(mut world) = open_world(Arc::new(model), SIZE) else { return };
        for tensor in [
            "blk.0.attn_q.weight",
            "blk.0.ffn_down.weight",
            "token_embd.weight",
            "blk.0.attn_norm.weight",
        ] {
            compare(&mut world, folder.path(), tensor);
        }
    }
}

#[test]
fn a_muted_head_is_drained_of_colour_and_its_neighbour_is_not() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    go_to(&mut world, &Place::Layer(0));
    world.app.world_mut().resource_mut::<Selection>().0 = None;
    let colourful = |world: &mut Offscreen, picture: &Picture, head: u32| {
        let view = world.app.world().resource::<MapCamera>().view;
        let plot = model.plan().plots_of(model.tensor_index("blk.0.attn_q.weight").unwrap())
            [head as usize]
            .clone();
        assert_eq!(plot.orientation, Orientation::ColumnsAlongX);
        let mut sum = 0u64;
        for part in 0..400u32 {
            // In the west stands the head's name.
            let x =
                plot.rect.x as f64 + plot.rect.width as f64 * (f64::from(part % 20) * 0.02 + 0.55);
            let y =
                plot.rect.y as f64 + plot.rect.height as f64 * (f64::from(part / 20) + 0.5) / 20.0;
            let [r, _, b] = picture.at(view.to_screen([x, y]));
            sum += u64::from(r.abs_diff(b));
        }
        sum
    };
    let before = shoot(&mut world, folder.path(), "before.png");
    let [first, second] = [0, 1].map(|head| colourful(&mut world, &before, head));
    let entity = world.app.world().resource::<ModelIndex>().head(0, 0).unwrap();
    world.app.world_mut().entity_mut(entity).insert(Muted);
    let muted = shoot(&mut world, folder.path(), "muted.png");
    assert!(colourful(&mut world, &muted, 0) * 3 < first, "the muted head has lost its colour");
    assert_eq!(colourful(&mut world, &muted, 1), second, "its neighbour has not");
    world.app.world_mut().entity_mut(entity).remove::<Muted>();
    let after = shoot(&mut world, folder.path(), "after.png");
    assert_eq!(colourful(&mut world, &after, 0), first, "it speaks again");
}

/// The part of a row or column of so many cells in which a cell is, as specs/pxi_llm.md has it.
fn part_of(cell: u32, cells: u32, parts: u32) -> u32 {
    ((cell + 1) * parts).div_ceil(cells) - 1
}

/// What the coarse table says of a pixel: the mean of four points of it, and the brightest glint.
fn point_of(quad: &Quad, place: [f64; 2], wide: f64, coarse: &[u32]) -> Point {
    let mut all = Point::default();
    for turn in [[-0.25, -0.25], [-0.25, 0.25], [0.25, -0.25], [0.25, 0.25]] {
        let side = |along: usize, cells: u32| {
            (place[along] + turn[along] * wide).clamp(0.0, f64::from(cells) - 0.5) as u32
        };
        let (x, y) = (side(0, quad.width), side(1, quad.height));
        let (row, column) = match quad.kind >> 8 & 0xFF {
            0 => (quad.row as u32 + x, quad.column + y),
            _ => (quad.row as u32 + y, quad.column + x),
        };
        let across = 1 << (quad.kind >> 16);
        let block =
            part_of(row, quad.rows, 256 / across) * across + part_of(column, quad.columns, across);
        let point = Point::of_word(coarse[(quad.tile * 256 + block) as usize]);
        all.height += point.height / 4.0;
        all.light += point.light / 4.0;
        all.sea += point.sea / 4.0;
        all.glint = all.glint.max(point.glint);
    }
    all
}

#[test]
fn relief_equals_the_coarse_table() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    go_to(&mut world, &Place::Model);
    let app = world.app.world_mut();
    app.resource_mut::<Selection>().0 = None;
    let wide = 12.0;
    app.resource_mut::<MapCamera>().view.scale = 1.0 / wide;
    let picture = shoot(&mut world, folder.path(), "relief.png");
    let frame = world.app.world().resource::<MapFrame>().clone();
    let ramps = world.app.world().resource::<Palettes>().0[0].ramps(Theme::Dark);
    let (mut same, mut all, mut colours) = ([0; 2], [0; 2], std::collections::HashSet::new());
    for (y, x) in (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| (y, x))) {
        let on_screen = [f64::from(x) + 0.5, f64::from(y) + 0.5];
        let cell: [f64; 2] = std::array::from_fn(|i| {
            (on_screen[i] - frame.view.size[i] / 2.0) / frame.view.scale + frame.view.centre[i]
        });
        let Some((quad, place)) = frame.quads.iter().find_map(|quad| {
            let place = [cell[0] - f64::from(quad.x), cell[1] - f64::from(quad.y)];
            let inside = place[0] > 0.0 && place[1] > 0.0;
            let inside = inside && place[0] < f64::from(quad.width);
            let is_matrix = quad.encoding().is_some() && quad.kind >> 8 & 0xFF < 2;
            (is_matrix && inside && place[1] < f64::from(quad.height)).then_some((quad, place))
        }) else {
            continue;
        };
        let point = point_of(quad, place, wide, &frame.coarse);
        let wanted = ramps.colour(point).map(|light| {
            let steep = 1.055 * light.max(0.0).powf(1.0 / 2.4) - 0.055;
            let channel = if light <= 0.003_130_8 { light * 12.92 } else { steep };
            (channel.clamp(0.0, 1.0) * 255.0).round() as u8
        });
        let found = picture.at(on_screen);
        let sea = usize::from(point.sea > 0.5);
        all[sea] += 1;
        same[sea] += u32::from(is_near(found, wanted, 2));
        colours.insert(found);
    }
    println!("{same:?} of {all:?} pixels of land and sea are as the table says");
    // Names stand on some. A point at the edge of two blocks may be read as either.
    assert!(all[0] > 2000 && same[0] * 100 > all[0] * 97, "{same:?} of {all:?}");
    assert!(all[1] > 200 && same[1] * 100 > all[1] * 70, "{same:?} of {all:?}");
    assert!(colours.len() > 200, "{} colours", colours.len());
}

#[test]
fn a_tour_leaves_its_pictures_and_complains_of_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(model, SIZE) else { return };
    let text = "(title: \"t\", steps: [Look(at: Layer(999)), Mute(Head(0, 999)), \
                Look(at: Model, seconds: Some(0.2)), \
                Caption(\"here\"), Screenshot(\"one\"), Theme(Light), Screenshot(\"two\")])";
    let tour: Tour = ron::from_str(text).unwrap();
    world.app.insert_resource(TourRun::new(tour, Some(folder.path().to_owned()), false));
    let complaints = world.take_tour().unwrap();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(
        complaints[0].contains("layer 999") && complaints[1].contains("head 999"),
        "{complaints:?}"
    );
    let [one, two] = ["one.png", "two.png"].map(|name| Picture::read(&folder.path().join(name)));
    // The corner that neither text nor map reaches is the ground.
    assert!(
        is_near(one.at([630.0, 240.0]), Theme::Dark.ground(), 1),
        "{:?}",
        one.at([630.0, 240.0])
    );
    assert!(
        is_near(two.at([630.0, 240.0]), Theme::Light.ground(), 1),
        "{:?}",
        two.at([630.0, 240.0])
    );
}

/// Norms of one kind of place, layer by layer, in parts of so many values.
fn norms(
    hooks: &Hooks,
    points: impl Iterator<Item = HookPoint>,
    column: usize,
    size: usize,
) -> Vec<f32> {
    let norm = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    let row = |point| hooks.seen(point).unwrap().column(column);
    points.flat_map(|point| row(point).chunks(size).map(norm)).collect()
}

#[test]
fn what_is_thought_in_the_world_is_what_the_twin_computes() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), "Once upon a time", false, 8, 0.0);
        assert_eq!(mind.problem, None);
    });
    for _ in 0..200 {
        world.update(1);
        if !world.app.world().resource::<Generation>().is_busy() {
            break;
        }
    }
    let mind = world.app.world().resource::<Generation>();
    assert!(!mind.is_busy() && mind.problem.is_none(), "{:?}", mind.problem);
    let count = mind.thoughts.len();
    assert_eq!(count, mind.prompt_len + 8, "{}", mind.answer());

    let twin = CpuModel::new(Arc::clone(&model), CpuOptions::default()).unwrap();
    let mut cache = KvCache::new(model.config(), 1, count);
    let columns: Vec<Column> = (0..)
        .zip(&mind.thoughts)
        .map(|(position, thought)| Column {
            token: thought.token,
            slot: 0,
            position,
            wants_logits: true,
        })
        .collect();
    let config = model.config();
    let residuals = || (0..config.layer_count).map(HookPoint::Residual);
    let heads = || (0..config.layer_count).map(HookPoint::HeadOutput);
    let mut hooks = Hooks::watching(residuals().chain(heads()), columns.len());
    let logits =
        twin.forward(&mut cache, &columns, &Interventions::default(), Some(&mut hooks)).unwrap();
    for (at, thought) in mind.thoughts.iter().enumerate() {
        let (width, size) = (config.embedding_size as usize, config.head_size as usize);
        for (found, expected) in [
            (&thought.residual_norms, &norms(&hooks, residuals(), at, width)),
            (&thought.head_norms, &norms(&hooks, heads(), at, size)),
        ] {
            assert_eq!(found.len(), expected.len(), "token {at}");
            for (found, expected) in found.iter().zip(expected) {
                // The kernels' budget is a thousandth for products of weights of 16 bits.
                assert!(
                    (found - expected).abs() <= 2e-3 * expected.abs().max(1.0),
                    "token {at}: {found}, {expected}"
                );
            }
        }
        if at < mind.prompt_len {
            continue;
        }
        let row = logits.column(at - 1).unwrap();
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|logit| (logit - most).exp()).sum();
        let probability = (row[thought.token as usize] - most).exp() / sum;
        let said = thought.probability.unwrap();
        assert!((said - probability).abs() < 5e-3, "token {at}: {said}, {probability}");
        assert!(row[thought.token as usize] >= most - 1e-2, "token {at} is the most probable");
    }
}

#[test]
fn a_prompt_that_cannot_be_is_told_in_words() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(model, SIZE) else { return };
    for (prompt, word) in [("word ".repeat(5000), "room for"), (String::new(), "empty")] {
        world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
            mind.ask(world.resource::<Atlas>().model(), &prompt, false, 8, 0.0);
        });
        world.update(2);
        let mind = world.app.world().resource::<Generation>();
        // A model with a first token of its own makes one token of nothing.
        let problem = mind.problem.clone();
        assert!(
            problem.is_some_and(|problem| problem.contains(word))
                || word == "empty" && mind.prompt_len == 1
        );
    }
}
