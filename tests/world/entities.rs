//! The model as entities: who belongs to whom, where each is found, and what marks on them come to.
//! No GPU is needed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::time::{Duration, Instant};

use crate::common::forward::open;
use crate::common::tiny::Tiny;
use bevy::{
    app::SubApp,
    prelude::*,
    render::{MainWorld, Render, RenderApp},
};
use pixel_llm::forward::Interventions;
use pixel_llm::forward::gpu::InterventionsPlugin;
use pixel_llm::model::tensors::lay_out;
use pixel_llm::model::{Encoding, PixelModel};
use pixel_llm::tiles::{
    Head, HeadOf, Heads, Layer, LayerOf, Layers, Model, ModelIndex, Muted, Scale, Tensor, TensorOf,
    Tensors, Tile, TileOf, Tiles, despawn_model, spawn_model, spawn_parts,
};

fn tiny() -> PixelModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    Tiny::new("qwen3", Encoding::Q8_0, 3).write(&path);
    open(&path)
}

fn app(model: &PixelModel) -> App {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, InterventionsPlugin));
    spawn_model(app.world_mut(), model);
    app
}

fn head(app: &App, layer: u32, head: u32) -> Entity {
    app.world().resource::<ModelIndex>().head(layer, head).unwrap()
}

fn layer(app: &App, layer: u32) -> Entity {
    app.world().resource::<ModelIndex>().layer(layer).unwrap()
}

fn factors(app: &mut App) -> Interventions {
    app.update();
    app.world().resource::<Interventions>().clone()
}

#[test]
fn every_part_is_found_by_its_number_and_belongs_where_it_should() {
    let model = tiny();
    let app = app(&model);
    let world = app.world();
    let index = world.resource::<ModelIndex>();
    let config = model.config();
    let name = |entity| world.get::<Name>(entity).unwrap().as_str();

    let root = index.model();
    let sizes = Model {
        layers: config.layer_count,
        heads: config.head_count,
        tensors: model.tensors().len() as u32,
        tiles: model.tile_count(),
    };
    assert_eq!(world.get::<Model>(root), Some(&sizes));
    assert_eq!(world.get::<Layers>(root).unwrap().iter().count(), config.layer_count as usize);
    for number in 0..config.layer_count {
        let entity = index.layer(number).unwrap();
        assert_eq!(world.get::<Layer>(entity), Some(&Layer { index: number }));
        assert_eq!(world.get::<LayerOf>(entity), Some(&LayerOf(root)));
        assert_eq!(world.get::<Layers>(root).unwrap().iter().nth(number as usize), Some(entity));
        assert_eq!(name(entity), format!("layer {number}"));
        for head in 0..config.head_count {
            let found = index.head(number, head).unwrap();
            let kv_head = model.plan().heads[(number * config.head_count + head) as usize].kv_head;
            assert_eq!(
                world.get::<Head>(found),
                Some(&Head { layer: number, index: head, kv_head })
            );
            assert_eq!(world.get::<HeadOf>(found), Some(&HeadOf(entity)));
            assert_eq!(world.get::<Heads>(entity).unwrap().iter().nth(head as usize), Some(found));
            assert_eq!(name(found), format!("layer {number} head {head}"));
        }
    }
    let of_root = world.get::<Tensors>(root).unwrap();
    let names: Vec<_> = of_root.iter().map(name).collect();
    assert_eq!(names, ["token_embd.weight", "output_norm.weight"]);
    for (number, tensor) in (0..).zip(model.tensors()) {
        let entity = index.tensor(number).unwrap();
        assert_eq!(index.tensor_named(&tensor.name), Some(entity));
        assert_eq!(world.get::<Tensor>(entity), Some(&Tensor { index: number }));
        let owner = tensor.layer().map_or(root, |(layer, _)| index.layer(layer).unwrap());
        assert_eq!(world.get::<TensorOf>(entity), Some(&TensorOf(owner)), "{}", tensor.name);
        let tiles: Vec<Entity> = world.get::<Tiles>(entity).unwrap().iter().collect();
        assert_eq!(tiles, tensor.tiles().map(|tile| index.tile(tile).unwrap()).collect::<Vec<_>>());
        for (tile, entity_of_tile) in tensor.tiles().zip(tiles) {
            assert_eq!(world.get::<Tile>(entity_of_tile), Some(&Tile { index: tile }));
            assert_eq!(world.get::<TileOf>(entity_of_tile), Some(&TileOf(entity)));
        }
    }
    assert_eq!(index.tiles().len(), model.tile_count() as usize);
    assert!(index.layer(config.layer_count).is_none());
    assert!(index.head(0, config.head_count).is_none(), "no head of the next layer");
    assert!(index.head(u32::MAX, 1).is_none());
    assert!(index.tensor(sizes.tensors).is_none() && index.tile(sizes.tiles).is_none());
    assert!(index.tensor_named("blk.9.attn_q.weight").is_none());
}

#[test]
fn a_model_goes_with_all_that_belongs_to_it_and_another_takes_its_place() {
    let model = tiny();
    let mut app = app(&model);
    let world = app.world_mut();
    let first = world.resource::<ModelIndex>().model();
    let parts = |world: &mut World| {
        type AnyPart = Or<(With<Model>, With<Layer>, With<Head>, With<Tensor>, With<Tile>)>;
        let mut query = world.query_filtered::<(), AnyPart>();
        query.iter(world).count()
    };
    let all = parts(world);
    spawn_model(world, &model);
    assert_eq!(parts(world), all, "one model at a time");
    assert_ne!(world.resource::<ModelIndex>().model(), first);
    let root = world.resource::<ModelIndex>().model();
    world.despawn(root);
    assert_eq!(parts(world), 0);
    assert!(!world.contains_resource::<ModelIndex>(), "also where the entity itself was despawned");
    despawn_model(world);
}

#[test]
fn a_hundred_thousand_tiles_are_spawned_and_despawned_at_once() {
    let config = tiny().config().clone();
    let embedding = ("token_embd.weight".to_owned(), vec![4096, 64 * 520], Encoding::F16);
    let shapes = (0..25)
        .map(|index| (format!("blk.{}.{index}", index % 2), embedding.1.clone(), Encoding::F16));
    let tensors = lay_out(shapes.chain([embedding.clone()]).collect()).unwrap();
    let tiles = tensors.last().unwrap().tiles().end;
    assert!(tiles >= 100_000, "{tiles}");

    let mut world = World::new();
    let start = Instant::now();
    spawn_parts(&mut world, "large", &config, &tensors);
    let spawned = start.elapsed();
    let query = world.query::<&Tile>().iter(&world).count();
    assert_eq!(query, tiles as usize);
    let start = Instant::now();
    despawn_model(&mut world);
    let despawned = start.elapsed();
    println!("{tiles} tiles: spawned in {spawned:?}, despawned in {despawned:?}");
    assert_eq!(world.query::<&Tile>().iter(&world).count(), 0);
    // A release build takes a twentieth of it; what this finds is time that grows with the square.
    assert!(spawned + despawned < Duration::from_secs(10), "{spawned:?} {despawned:?}");
}

#[test]
fn marks_become_factors_when_they_come_change_and_go() {
    let model = tiny();
    let (layers, heads) = (model.config().layer_count as usize, model.config().head_count as usize);
    let mut app = app(&model);
    assert_eq!(factors(&mut app), Interventions::default());

    let (quiet, loud, weak) = (head(&app, 1, 2), head(&app, 0, 1), layer(&app, 1));
    app.world_mut().entity_mut(quiet).insert(Muted);
    app.world_mut().entity_mut(loud).insert(Scale(2.0));
    app.world_mut().entity_mut(weak).insert(Scale(0.25));
    let mut expected = Interventions { heads: vec![1.0; layers * heads], layers: vec![1.0, 0.25] };
    (expected.heads[heads + 2], expected.heads[1]) = (0.0, 2.0);
    assert_eq!(factors(&mut app), expected);

    app.world_mut().get_mut::<Scale>(loud).unwrap().0 = 3.0;
    app.world_mut().entity_mut(weak).insert(Muted);
    (expected.heads[1], expected.layers[1]) = (3.0, 0.0);
    assert_eq!(factors(&mut app), expected);

    app.world_mut().entity_mut(quiet).remove::<Muted>();
    app.world_mut().entity_mut(weak).remove::<(Muted, Scale)>();
    (expected.heads[heads + 2], expected.layers) = (1.0, Vec::new());
    assert_eq!(factors(&mut app), expected);

    despawn_model(app.world_mut());
    assert_eq!(factors(&mut app), Interventions::default(), "a model that is gone has no factors");
}

#[test]
fn another_model_has_none_of_the_marks_of_the_one_before() {
    let model = tiny();
    let mut app = app(&model);
    let muted = head(&app, 0, 0);
    app.world_mut().entity_mut(muted).insert(Muted);
    assert_eq!(factors(&mut app).heads[0], 0.0);
    spawn_model(app.world_mut(), &model);
    assert_eq!(factors(&mut app), Interventions::default());
}

/// Runs the extraction as Bevy does, and returns when the render world's factors were written.
fn extract(app: &mut App) -> (Interventions, u32) {
    app.update();
    let main = std::mem::take(app.world_mut());
    let render = app.sub_app_mut(RenderApp).world_mut();
    render.insert_resource(MainWorld::default());
    **render.resource_mut::<MainWorld>() = main;
    render.increment_change_tick();
    render.run_schedule(ExtractSchedule);
    let main = std::mem::take(&mut **render.resource_mut::<MainWorld>());
    let written = render.get_resource_ref::<Interventions>().unwrap();
    let found = (Interventions::clone(&written), written.last_changed().get());
    *app.world_mut() = main;
    found
}

#[test]
fn factors_reach_the_render_world_when_they_change_and_not_each_frame() {
    let model = tiny();
    let mut app = App::new();
    let mut render_app = SubApp::new();
    render_app.init_schedule(ExtractSchedule).add_schedule(Render::base_schedule());
    app.insert_sub_app(RenderApp, render_app);
    app.add_plugins((MinimalPlugins, InterventionsPlugin));
    spawn_model(app.world_mut(), &model);

    let (none, _) = extract(&mut app);
    assert_eq!(none, Interventions::default());
    let muted = head(&app, 1, 3);
    app.world_mut().entity_mut(muted).insert(Muted);
    let (factors, written) = extract(&mut app);
    assert_eq!(factors.heads[model.config().head_count as usize + 3], 0.0);
    for _ in 0..3 {
        assert_eq!(
            extract(&mut app),
            (factors.clone(), written),
            "nothing changed, nothing is written"
        );
    }
    app.world_mut().entity_mut(muted).remove::<Muted>();
    let (none, again) = extract(&mut app);
    assert_eq!(none, Interventions::default());
    assert_ne!(again, written);
}
