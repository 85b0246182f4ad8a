//! What is drawn is what computes: a weight that is painted in the world has the painted colour on
//! the screen, changes the logits as the CPU twin says of a saved copy, and marks its tile as
//! edited; undo brings all of it back bit for bit. Beside it: soloing, comparing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::Path;
use std::sync::Arc;

use crate::common::forward::open;
use crate::common::tiny::Tiny;
use crate::common::world::{go_to, open_world, shoot_map};
use bevy::prelude::{Mut, World};
use bevy::render::RenderApp;
use bevy::render::renderer::{RenderDevice, RenderQueue};
use pixel_llm::app::explore::Offscreen;
use pixel_llm::forward::Interventions;
use pixel_llm::forward::cpu::{Column, CpuModel, CpuOptions, KvCache};
use pixel_llm::forward::gpu::model::GpuModel;
use pixel_llm::forward::gpu::readback::read_buffer;
use pixel_llm::model::edits::{Brush, Painted, save_copy};
use pixel_llm::model::weights::tile_weights;
use pixel_llm::model::{Encoding, PixelModel};
use pixel_llm::tiles::{ModelIndex, Muted};
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::draw::MapFrame;
use pixel_llm::world::keys::UserAction;
use pixel_llm::world::lab::{Comparison, ComparisonStage, Edits};
use pixel_llm::world::layout::{Atlas, Place, STATE_EDITED};
use pixel_llm::world::palette::{Palettes, Theme};
use pixel_llm::world::pointer::Selection;
use pixel_llm::world::settings::{AfterChange, Settings};
use pixel_llm::world::think::Asked;
use pixel_llm::world::think::Generation;
use pixel_llm::world::think::lens::{Lens, LensView};
use pixel_llm::world::tour::{Tour, TourRun, TourStep};

/// Points per cell: large enough for a middle that no hairline reaches, too small for a number to
/// be written into it.
const SCALE: f64 = 16.0;
/// What logits of the GPU may differ from the twin's, in parts of the largest: products of weights
/// of 16 bits and fewer.
const BUDGET: f32 = 2e-3;
/// Of the picture.
const SIZE: [u32; 2] = [640, 480];
const PROMPT: &str = "Once upon a time";

fn seedling() -> Arc<PixelModel> {
    Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap())
}

/// A world in which nothing is answered but what is asked here.
fn open_waiting(model: Arc<PixelModel>, size: [u32; 2]) -> Option<Offscreen> {
    let mut world = open_world(model, size)?;
    world.app.world_mut().resource_mut::<Settings>().after_change = AfterChange::Wait;
    Some(world)
}

/// Marks a place and paints it, as the panel's buttons do.
fn paint(world: &mut Offscreen, place: &Place, brush: Brush) -> Painted {
    let painted = world.app.world_mut().resource_scope(|world, mut edits: Mut<Edits>| {
        let atlas = world.resource::<Atlas>();
        edits.mark_place(atlas, place);
        let painted = edits.paint(atlas.model(), brush);
        assert_eq!(edits.problem, None);
        // The frame around what is marked is not what is looked for here.
        edits.clear();
        painted.unwrap()
    });
    world.update(2);
    painted
}

fn undo(world: &mut Offscreen) {
    world.app.world_mut().resource_mut::<Edits>().undo();
    world.update(2);
}

/// Runs until nothing is under way.
fn settle(world: &mut Offscreen, is_busy: impl Fn(&World) -> bool) {
    for _ in 0..2000 {
        world.update(1);
        if !is_busy(world.app.world()) {
            return;
        }
    }
    panic!("it does not come to an end");
}

fn ask(world: &mut Offscreen, tokens: u32) {
    world.app.world_mut().resource_scope(|world, mut mind: Mut<Generation>| {
        mind.ask(world.resource::<Atlas>().model(), PROMPT, false, tokens, 0.0);
        assert_eq!(mind.problem, None);
    });
    settle(world, |world| world.resource::<Generation>().is_busy());
    assert_eq!(world.app.world().resource::<Generation>().problem, None);
}

/// The logits after the prompt, on the device that draws.
fn logits(world: &mut Offscreen) -> Vec<f32> {
    // One token is asked for, or no logits would be computed; after it none are.
    ask(world, 1);
    let render = world.app.sub_app(RenderApp).world();
    let network = render.resource::<GpuModel>();
    let (device, queue) = (render.resource::<RenderDevice>(), render.resource::<RenderQueue>());
    let bytes = read_buffer(device, queue, &network.buffers.logits).unwrap();
    let mut logits: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
    logits.truncate(network.config.vocab_size as usize);
    logits
}

/// The same of a saved copy with the same edits, by the CPU twin, which reads its tiles from that
/// file.
fn logits_of_copy(world: &Offscreen, folder: &Path, name: &str) -> Vec<f32> {
    let world_of = world.app.world();
    let (atlas, edits) = (world_of.resource::<Atlas>(), world_of.resource::<Edits>());
    let path = folder.join(name);
    let saved = save_copy(atlas.model(), &edits.overlay, &path, &|_| ()).unwrap();
    assert_eq!(saved.edited, edits.overlay.tiles().len());
    let copy = PixelModel::open(&path).unwrap();
    let mind = world.app.world().resource::<Generation>();
    let columns: Vec<Column> = (0..)
        .zip(&mind.thoughts[..mind.prompt_len])
        .map(|(position, thought)| Column {
            token: thought.token,
            slot: 0,
            position,
            wants_logits: true,
        })
        .collect();
    let mut cache = KvCache::new(copy.config(), 1, columns.len());
    // Opening it for computing checks every tile against its new checksum.
    let twin = CpuModel::new(copy, CpuOptions::default()).unwrap();
    let logits = twin.forward(&mut cache, &columns, &Interventions::default(), None).unwrap();
    logits.column(columns.len() - 1).unwrap().to_vec()
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().map(|value| value.abs()).fold(1.0, f32::max)
}

/// Tiles that the map draws with the mark of an edit.
fn marked_tiles(world: &Offscreen) -> Vec<u32> {
    let quads = &world.app.world().resource::<MapFrame>().quads;
    let mut tiles: Vec<u32> =
        quads.iter().filter(|quad| quad.state & STATE_EDITED != 0).map(|quad| quad.tile).collect();
    tiles.dedup();
    tiles
}

fn is_near(a: [u8; 3], b: [u8; 3], budget: u8) -> bool {
    a.iter().zip(b).all(|(&a, b)| a.abs_diff(b) <= budget)
}

/// The weight as the edits have it, by the formats' own reference.
fn edited_value(world: &Offscreen, name: &str, row: u64, column: u64) -> (u32, f32) {
    let world_of = world.app.world();
    let (atlas, edits) = (world_of.resource::<Atlas>(), world_of.resource::<Edits>());
    let model = atlas.model();
    let tensor = model.tensor(name).unwrap();
    let tile = tensor.first_tile + tensor.tiling.tile_of(row, column) as u32;
    let (_, shape) = model.tile_shape(tile);
    let weights = tile_weights(&tensor.tiling, &shape, edits.tile(model, tile));
    let stride = shape.columns.end - shape.columns.start;
    (tile, weights[((row - shape.rows.start) * stride + column - shape.columns.start) as usize])
}

/// Looks at a weight so that its cell and those around it are seen, and gives the point in its
/// middle.
fn look_at(world: &mut Offscreen, name: &str, row: u64, column: u64) -> [f64; 2] {
    assert!(go_to(world, &Place::Weight(name.into(), row, column)), "{name}");
    let app = world.app.world_mut();
    app.resource_mut::<MapCamera>().view.scale = SCALE;
    app.resource_mut::<Selection>().0 = None;
    middle_of(app, name, row, column)
}

fn middle_of(world: &World, name: &str, row: u64, column: u64) -> [f64; 2] {
    let place = Place::Weight(name.into(), row, column);
    let cells = world.resource::<Atlas>().rect(&place).unwrap();
    world.resource::<MapCamera>().view.to_screen([cells.x as f64 + 0.5, cells.y as f64 + 0.5])
}

/// The spread of a tensor's weights in the file, and the colour of a weight of it.
fn spread(world: &Offscreen, name: &str) -> f32 {
    let atlas = world.app.world().resource::<Atlas>();
    atlas.spread(atlas.model().tensor_index(name).unwrap())
}

fn colour(world: &Offscreen, spreads: f32) -> [u8; 3] {
    let palette = &world.app.world().resource::<Palettes>().0[0];
    palette.weight(Theme::Dark, spreads).map(|part| (part * 255.0).round() as u8)
}

#[test]
fn a_painted_weight_is_on_the_screen_and_in_the_logits_and_undo_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let name = "blk.1.ffn_down.weight";
    let (row, column) = (11, 21);
    let here = look_at(&mut world, name, row, column);
    let beside = middle_of(world.app.world(), name, row + 1, column);
    let first_logits = logits(&mut world);
    let twin = logits_of_copy(&world, folder.path(), "plain.pxi");
    assert!(farthest(&first_logits, &twin) < BUDGET * largest(&twin));
    let before = shoot_map(&mut world, folder.path());
    assert_eq!(marked_tiles(&world), [0; 0]);

    let spread = spread(&world, name);
    let (_, old) = edited_value(&world, name, row, column);
    // To the other side of zero, as far as the colours reach.
    let wanted = -2.5 * spread * if old < 0.0 { -1.0 } else { 1.0 };
    let painted = paint(&mut world, &Place::Weight(name.into(), row, column), Brush::Set(wanted));
    let (tile, value) = edited_value(&world, name, row, column);
    assert_eq!(painted.first, Some([old, wanted, value]));
    assert!((value - wanted).abs() < spread, "{value} is near {wanted}");

    let edited_logits = logits(&mut world);
    let twin = logits_of_copy(&world, folder.path(), "edited.pxi");
    let moved = farthest(&edited_logits, &first_logits);
    let error = farthest(&edited_logits, &twin);
    println!("painted {old} -> {value}: logits moved by {moved}, the twin differs by {error}");
    assert!(error < BUDGET * largest(&twin), "{error}");
    assert!(moved > 10.0 * error, "the weight matters: {moved}, {error}");

    let after = shoot_map(&mut world, folder.path());
    let colour = colour(&world, value / spread);
    assert!(is_near(after.at(here), colour, 6), "{:?}, expected {colour:?}", after.at(here));
    assert!(!is_near(before.at(here), colour, 30), "it had another colour: {:?}", before.at(here));
    assert_eq!(before.at(beside), after.at(beside), "its neighbour is as it was");
    assert_eq!(marked_tiles(&world), [tile]);
    assert!(world.app.world().resource::<Edits>().overlay.is_edited(tile));

    undo(&mut world);
    assert_eq!(marked_tiles(&world), [0; 0]);
    assert!(logits(&mut world) == first_logits, "the logits are those of before, bit for bit");
    assert!(
        shoot_map(&mut world, folder.path()) == before,
        "the picture is that of before, bit for bit"
    );
    world.app.world_mut().resource_mut::<Edits>().redo();
    world.update(2);
    assert!(logits(&mut world) == edited_logits, "redo too is exact");
    assert!(shoot_map(&mut world, folder.path()) == after);
}

#[test]
fn every_encoding_is_painted_where_the_kernels_read_it() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in Encoding::ALL {
        let path = folder.path().join(format!("{encoding}.gguf"));
        Tiny::new("llama", encoding, 5).write(&path);
        let Some(mut world) = open_waiting(Arc::new(open(&path)), SIZE) else { return };
        for (name, row, column) in [
            ("blk.0.attn_q.weight", 70, 33),
            ("token_embd.weight", 9, 200),
            ("blk.1.attn_norm.weight", 0, 77),
        ] {
            let spread = spread(&world, name);
            let here = look_at(&mut world, name, row, column);
            let (_, old) = edited_value(&world, name, row, column);
            let wanted = if old < 0.0 { 1.5 * spread } else { -1.5 * spread };
            let painted =
                paint(&mut world, &Place::Weight(name.into(), row, column), Brush::Set(wanted));
            let (tile, value) = edited_value(&world, name, row, column);
            assert_eq!(painted.first, Some([old, wanted, value]), "{encoding} {name}");
            let (found, expected) =
                (shoot_map(&mut world, folder.path()).at(here), colour(&world, value / spread));
            assert!(
                is_near(found, expected, 6),
                "{encoding} {name}: {found:?}, expected {expected:?}"
            );
            assert!(marked_tiles(&world).contains(&tile), "{encoding} {name}");
        }
    }
}

#[test]
fn norms_are_painted_where_the_kernels_read_them_which_is_not_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let before = logits(&mut world);
    for name in [
        "blk.0.attn_norm.weight",
        "blk.1.attn_norm.weight",
        "blk.0.ffn_norm.weight",
        "output_norm.weight",
    ] {
        paint(&mut world, &Place::Tensor(name.into()), Brush::Scale(1.5));
        let edited = logits(&mut world);
        let twin = logits_of_copy(&world, folder.path(), name);
        let (moved, error) = (farthest(&edited, &before), farthest(&edited, &twin));
        println!("{name}: logits moved by {moved}, the twin differs by {error}");
        assert!(error < BUDGET * largest(&twin), "{name}: {error}");
        assert!(moved > 10.0 * error, "{name} matters: {moved}, {error}");
        undo(&mut world);
        assert!(logits(&mut world) == before, "{name}: undo is exact");
    }
}

#[test]
fn only_the_plot_whose_weight_was_painted_has_a_corner() {
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let name = "blk.1.attn_q.weight";
    let place = Place::Weight(name.into(), 3, 5);
    paint(&mut world, &place, Brush::Scale(-3.0));
    let (tile, _) = edited_value(&world, name, 3, 5);
    let world = world.app.world();
    let cells = world.resource::<Atlas>().rect(&place).unwrap();
    let quads = &world.resource::<MapFrame>().quads;
    let of_tile = quads.iter().filter(|quad| quad.encoding().is_some() && quad.tile == tile);
    assert!(of_tile.count() > 1, "the tile reaches over the plots of several heads");
    let marked: Vec<_> = quads.iter().filter(|quad| quad.state & STATE_EDITED != 0).collect();
    assert_eq!(marked.len(), 1);
    let [x, y] = [marked[0].x, marked[0].y].map(i64::from);
    let [width, height] = [marked[0].width, marked[0].height].map(i64::from);
    assert!((x..x + width).contains(&cells.x) && (y..y + height).contains(&cells.y));
}

#[test]
fn an_edited_tile_has_its_corner_from_afar_and_the_look_of_its_weights() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let name = "blk.0.ffn_up.weight";
    assert!(go_to(&mut world, &Place::Tensor(name.into())));
    world.app.world_mut().resource_mut::<Selection>().0 = None;
    let before = shoot_map(&mut world, folder.path());
    let coarse = Arc::clone(&world.app.world().resource::<MapFrame>().coarse);
    paint(&mut world, &Place::Tensor(name.into()), Brush::Zero);
    let after = shoot_map(&mut world, folder.path());
    let frame = world.app.world().resource::<MapFrame>();
    let quad = *frame.quads.iter().find(|quad| quad.state & STATE_EDITED != 0).unwrap();
    // A point inside of the right upper corner of the tile.
    let scale = frame.view.scale;
    let mut corner =
        frame.view.to_screen([f64::from(quad.x) + f64::from(quad.width), f64::from(quad.y)]);
    corner = [corner[0] - 2.5, corner[1] + 2.5];
    let [r, g, b] = after.at(corner);
    assert!(r > 150 && b > 120 && g < 90, "magenta: {:?} at scale {scale}", [r, g, b]);
    assert!(!is_near(before.at(corner), after.at(corner), 40));
    let words = quad.tile as usize * 256..(quad.tile as usize + 1) * 256;
    // The lowest byte of a word is the height: zeros lie as low as there is, or as near to it as
    // the encoding can hold zero.
    let highest = |words: &[u32]| words.iter().map(|word| word & 0xFF).max().unwrap();
    let [now, was] = [&frame.coarse, &coarse].map(|all| highest(&all[words.clone()]));
    assert!(now < 8 && was > 100, "{now}, was {was}");
    undo(&mut world);
    assert!(*world.app.world().resource::<MapFrame>().coarse == *coarse);
}

#[test]
fn a_head_heard_alone_mutes_the_others_and_back() {
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let solo = |world: &mut Offscreen| {
        let app = world.app.world_mut();
        app.resource_mut::<Selection>().0 = Some(Place::Head(1, 2));
        app.write_message(UserAction::Solo);
        world.update(2);
        world.app.world().resource::<Interventions>().clone()
    };
    let heads = world.app.world().resource::<ModelIndex>().heads_per_layer() as usize;
    let alone = solo(&mut world);
    for (at, &factor) in alone.heads.iter().enumerate() {
        let expected = if at / heads == 1 && at % heads != 2 { 0.0 } else { 1.0 };
        assert_eq!(factor, expected, "layer {} head {}", at / heads, at % heads);
    }
    assert_eq!(solo(&mut world), Interventions::default(), "all of them speak again");
}

#[test]
fn a_comparison_answers_as_the_file_says_and_as_it_was_changed() {
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let answers = |world: &mut Offscreen| {
        ask(world, 12);
        let mind = world.app.world().resource::<Generation>();
        mind.thoughts[mind.prompt_len..].to_vec()
    };
    let plain = answers(&mut world);
    let head = world.app.world().resource::<ModelIndex>().head(0, 0).unwrap();
    world.app.world_mut().entity_mut(head).insert(Muted);
    paint(&mut world, &Place::Tensor("blk.1.ffn_down.weight".into()), Brush::Scale(0.0));
    let changed = answers(&mut world);
    let texts = |thoughts: &[pixel_llm::world::think::GeneratedToken]| -> Vec<String> {
        thoughts.iter().map(|thought| thought.text.clone()).collect()
    };
    assert_ne!(texts(&plain), texts(&changed), "a layer without its fields answers otherwise");

    world.app.world_mut().resource_mut::<Comparison>().start(Asked {
        prompt: PROMPT.into(),
        chat: false,
        tokens: 12,
        temperature: 0.0,
        ..Asked::default()
    });
    settle(&mut world, |world| world.resource::<Comparison>().is_running());
    let comparison = world.app.world().resource::<Comparison>();
    assert_eq!((comparison.stage, &comparison.problem), (ComparisonStage::Done, &None));
    assert_eq!(texts(&comparison.without.tokens), texts(&plain));
    assert_eq!(texts(&comparison.with.tokens), texts(&changed));
    let probabilities = |thoughts: &[pixel_llm::world::think::GeneratedToken]| -> Vec<Option<f32>> {
        thoughts.iter().map(|thought| thought.probability).collect()
    };
    assert_eq!(probabilities(&comparison.without.tokens), probabilities(&plain), "bit for bit");
    assert_eq!(probabilities(&comparison.with.tokens), probabilities(&changed), "bit for bit");
    let rows = comparison.rows();
    let parted = rows.iter().position(|row| !row.same).unwrap();
    assert!(rows[..=parted].iter().all(|row| row.difference.is_some()));
    let first = &rows[0];
    if first.same {
        let [file, now] =
            [&first.without, &first.with].map(|side| side.as_ref().unwrap().probability);
        assert_eq!(first.difference, Some(now - file));
    }
    assert!(rows[parted + 1..].iter().all(|row| row.difference.is_none()));
    // Afterwards the changes are in place again.
    assert!(!world.app.world().resource::<Edits>().bypassed && !marked_tiles(&world).is_empty());
    assert_eq!(texts(&answers(&mut world)), texts(&changed));
}

#[test]
fn a_tour_paints_and_takes_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut world) = open_waiting(seedling(), SIZE) else { return };
    let tour: Tour = pixel_llm::app::kinds::assets().content("tour", "what-if").unwrap();
    let shots = tour.steps.iter().filter(|step| matches!(step, TourStep::Screenshot(_))).count();
    world.app.insert_resource(TourRun::new(tour, Some(folder.path().to_owned()), false));
    assert_eq!(world.take_tour().unwrap(), [""; 0]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), shots);
    let edits = world.app.world().resource::<Edits>();
    assert!(
        edits.overlay.tiles().is_empty() && edits.overlay.depth() == [0, 2],
        "{:?}",
        edits.overlay.depth()
    );

    let text = "(title: \"t\", steps: [Paint(at: Tensor(\"no\"), brush: Zero), \
                Paint(at: Layer(0), brush: Set(inf))])";
    let tour: Tour = ron::from_str(text).unwrap();
    world.app.insert_resource(TourRun::new(tour, None, false));
    let complaints = world.take_tour().unwrap();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("no") && complaints[1].contains("inf"), "{complaints:?}");
}

/// What the lens shows of the last token of the prompt.
fn lens_of_prompt(world: &mut Offscreen) -> LensView {
    world.app.world_mut().resource_scope(|world, mut lens: Mut<Lens>| {
        let (mind, atlas) = (world.resource::<Generation>(), world.resource::<Atlas>());
        let at = mind.prompt_len - 1;
        let start = std::time::Instant::now();
        loop {
            let view = lens.look(atlas.model(), mind, at).cloned();
            if let Some(view) =
                view.filter(|view| view.generation == mind.generation() && view.at == at)
            {
                return view;
            }
            assert!(start.elapsed().as_secs() < 60, "the lens shows nothing: {:?}", lens.problem);
            std::thread::yield_now();
        }
    })
}

/// Asserts that the last layer of the lens says what the device says.
fn assert_last_is_said(view: &LensView, logits: &[f32], what: &str) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    for &(token, probability) in view.layers.last().unwrap() {
        let said = (logits[token as usize] - most).exp() / sum;
        assert!(
            (probability - said).abs() < 5e-3,
            "{what}, token {token}: {probability}, {said} is said"
        );
    }
    let likeliest = (0..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    assert_eq!(view.layers.last().unwrap()[0].0, likeliest, "{what}");
}

#[test]
fn the_last_layer_of_the_lens_is_what_the_model_says_whatever_is_painted() {
    let model = seedling();
    let output = if model.config().tied_embeddings { "token_embd.weight" } else { "output.weight" };
    let Some(mut world) = open_waiting(model, SIZE) else { return };
    let plain = logits(&mut world);
    let view = lens_of_prompt(&mut world);
    assert_last_is_said(&view, &plain, "as in the file");
    let token = u64::from(view.layers.last().unwrap()[0].0);
    for (place, brush) in [
        // One weight, so large that it is another token's turn; and the norm before the matrix.
        (Place::Weight(output.into(), token, 3), Brush::Scale(-40.0)),
        (Place::Tensor("output_norm.weight".into()), Brush::Scale(0.5)),
    ] {
        paint(&mut world, &place, brush);
        let painted = logits(&mut world);
        assert!(
            farthest(&painted, &plain) > 0.05,
            "{place:?} matters: {}",
            farthest(&painted, &plain)
        );
        let shown = lens_of_prompt(&mut world);
        assert_last_is_said(&shown, &painted, &format!("{place:?}"));
        assert_ne!(shown.layers, view.layers, "{place:?}");
        // What was computed before it is taken back is still told as it was computed.
        undo(&mut world);
        world.app.world_mut().resource_mut::<Lens>().view = None;
        assert_eq!(lens_of_prompt(&mut world).layers, shown.layers, "{place:?}");
        assert!(logits(&mut world) == plain, "{place:?}: undo is exact");
        assert_eq!(lens_of_prompt(&mut world).layers, view.layers, "{place:?} taken back");
    }
}
