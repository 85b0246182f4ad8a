//! The plan keeps its promises: plots never overlap, show every weight once, and stand where the
//! specification says.

use super::rules::{Anchor, Arrangement, Bank, Decoration, Districts, Side, Spacing, Start, Turn};
use super::{MapPlan, Orientation, Rect, Rules};
use crate::model::Encoding;
use crate::model::config::{Architecture, ModelConfig, RopeKind, RopeScaling};
use crate::model::tensors::{Tensor, check_family, lay_out};

fn config(
    architecture: Architecture,
    layers: u32,
    heads: [u32; 2],
    head_size: u32,
    width: u32,
) -> ModelConfig {
    ModelConfig {
        architecture,
        vocab_size: 1000,
        layer_count: layers,
        embedding_size: width,
        head_count: heads[0],
        kv_head_count: heads[1],
        head_size,
        hidden_size: 3 * width,
        context_length: 512,
        rope_size: head_size,
        rope_base: 10_000.0,
        rope_kind: RopeKind::Pairs,
        rope_scaling: RopeScaling::None,
        rope_scale_factor: 1.0,
        rope_original_context: 0,
        rope_attention_factor: 1.0,
        norm_epsilon: 1e-5,
        tied_embeddings: architecture != Architecture::Qwen3,
        qkv_biases: architecture == Architecture::Qwen2,
        output_biases: false,
        feed_forward_biases: false,
        qk_norms: architecture == Architecture::Qwen3,
    }
}

/// Every tensor of the family, and two that have no place of their own.
fn tensors(config: &ModelConfig) -> Vec<Tensor> {
    let rope = vec![u64::from(config.rope_size) / 2];
    let strangers = [("stranger.weight", vec![64, 70]), ("rope_freqs.weight", rope)];
    tensors_with(config, strangers.into())
}

fn tensors_of_family(config: &ModelConfig) -> Vec<Tensor> {
    tensors_with(config, Vec::new())
}

fn tensors_with(config: &ModelConfig, strangers: Vec<(&str, Vec<u64>)>) -> Vec<Tensor> {
    let (width, hidden) = (u64::from(config.embedding_size), u64::from(config.hidden_size));
    let (query, kv) = (u64::from(config.query_size()), u64::from(config.kv_size()));
    let mut shapes = vec![
        ("token_embd.weight".to_owned(), vec![width, u64::from(config.vocab_size)]),
        ("output_norm.weight".to_owned(), vec![width]),
    ];
    shapes.extend(strangers.into_iter().map(|(name, dimensions)| (name.to_owned(), dimensions)));
    if !config.tied_embeddings {
        shapes.push(("output.weight".to_owned(), vec![width, u64::from(config.vocab_size)]));
    }
    for layer in 0..config.layer_count {
        let mut add = |name: &str, dimensions: Vec<u64>| {
            shapes.push((format!("blk.{layer}.{name}"), dimensions))
        };
        add("attn_norm.weight", vec![width]);
        add("attn_q.weight", vec![width, query]);
        add("attn_k.weight", vec![width, kv]);
        add("attn_v.weight", vec![width, kv]);
        add("attn_output.weight", vec![query, width]);
        add("ffn_norm.weight", vec![width]);
        add("ffn_gate.weight", vec![width, hidden]);
        add("ffn_up.weight", vec![width, hidden]);
        add("ffn_down.weight", vec![hidden, width]);
        if config.qkv_biases {
            add("attn_q.bias", vec![query]);
            add("attn_k.bias", vec![kv]);
            add("attn_v.bias", vec![kv]);
        }
        if config.qk_norms {
            add("attn_q_norm.weight", vec![u64::from(config.head_size)]);
            add("attn_k_norm.weight", vec![u64::from(config.head_size)]);
        }
    }
    lay_out(
        shapes.into_iter().map(|(name, dimensions)| (name, dimensions, Encoding::F32)).collect(),
    )
    .unwrap()
}

fn models() -> Vec<ModelConfig> {
    vec![
        config(Architecture::Llama, 6, [6, 2], 32, 192),
        config(Architecture::Qwen2, 5, [14, 2], 16, 224),
        config(Architecture::Qwen3, 4, [8, 4], 64, 256),
        config(Architecture::Llama, 1, [32, 32], 8, 256),
    ]
}

/// The usual rules, and some that go to their limits.
fn rules() -> Vec<Rules> {
    let spiral = |turn, start| Arrangement::Spiral { turn, start };
    let narrow =
        Spacing { unit: Some(1), layers: 0, groups: 0, plots: 0, river: 4, banks: 0, districts: 0 };
    let [north, south] =
        [Side::North, Side::South].map(|side| Districts { embedding: side, output: side });
    vec![
        Rules::default(),
        Rules { layers: Arrangement::Rows { across: 2 }, heads: Bank::South, ..Rules::default() },
        Rules {
            layers: spiral(Turn::Clockwise, Start::Inside),
            districts: north,
            ..Rules::default()
        },
        Rules {
            layers: spiral(Turn::Counterclockwise, Start::Outside),
            spacing: narrow,
            districts: south,
            ..Rules::default()
        },
        Rules {
            spacing: Spacing { layers: 256, river: 256, banks: 256, ..narrow },
            ..Rules::default()
        },
    ]
}

#[test]
fn plots_never_overlap_and_lie_on_the_map() {
    for (config, rules) in models()
        .into_iter()
        .flat_map(|config| rules().into_iter().map(move |r| (config.clone(), r)))
    {
        let tensors = tensors(&config);
        check_family(&config, &tensors).unwrap();
        assert_eq!(rules.problems(), []);
        let plan = MapPlan::with_rules(&config, &tensors, &rules);
        let map = Rect::new(0, 0, plan.size[0], plan.size[1]);
        for (index, plot) in plan.plots.iter().enumerate() {
            assert!(map.contains(&plot.rect), "{plot:?} leaves {map:?}");
            for other in &plan.plots[index + 1..] {
                let names = [&tensors[plot.tensor].name, &tensors[other.tensor].name];
                assert!(!plot.rect.overlaps(&other.rect), "{names:?}: {plot:?} {other:?}");
            }
        }
    }
}

#[test]
fn plots_show_every_weight_once_and_tiles_fill_them() {
    for (config, rules) in models()
        .into_iter()
        .flat_map(|config| rules().into_iter().map(move |r| (config.clone(), r)))
    {
        let tensors = tensors(&config);
        let plan = MapPlan::with_rules(&config, &tensors, &rules);
        for (index, tensor) in tensors.iter().enumerate() {
            let (rows, columns) = (tensor.tiling.rows, tensor.tiling.columns);
            let shown: u64 = plan
                .plots_of(index)
                .iter()
                .map(|plot| {
                    (plot.rows.end - plot.rows.start) * (plot.columns.end - plot.columns.start)
                })
                .sum();
            assert_eq!(shown, rows * columns, "{}", tensor.name);
            for (row, column) in [(0, 0), (rows - 1, columns - 1), (rows / 2, columns / 3)] {
                let plot = plan
                    .plots_of(index)
                    .iter()
                    .find(|p| p.rows.contains(&row) && p.columns.contains(&column));
                let (x, y) = plot
                    .unwrap_or_else(|| panic!("{} lacks {row}, {column}", tensor.name))
                    .cell(row, column);
                assert_eq!(plan.weight_at(x, y), Some((index, row, column)), "{}", tensor.name);
            }
            let on_map: i64 = (0..tensor.tiling.tile_count())
                .flat_map(|tile| plan.tile_rects(&tensors, index, tile))
                .map(|rect| rect.width * rect.height)
                .sum();
            let room: i64 =
                plan.plots_of(index).iter().map(|plot| plot.rect.width * plot.rect.height).sum();
            // A wrapped vector may leave the end of its last line empty.
            assert!(
                on_map <= room && on_map >= (rows * columns) as i64,
                "{}: {on_map} of {room}",
                tensor.name
            );
        }
    }
}

#[test]
fn the_residual_dimension_runs_along_x_everywhere() {
    for config in models() {
        let (width, tensors) = (i64::from(config.embedding_size), tensors(&config));
        let plan = MapPlan::new(&config, &tensors);
        let places = plan.layers.iter().flat_map(|layer| &layer.channels).map(|channel| channel.x);
        let places: std::collections::BTreeSet<i64> = places.collect();
        for plot in plan.plots.iter().filter(|plot| plot.orientation != Orientation::Wrapped) {
            let name = tensors[plot.tensor].name.as_str();
            if name == "stranger.weight" {
                continue;
            }
            assert_eq!(plot.rect.width, width, "{name}");
            // Dimension 0 stands in the west of a channel of the river, in layers and in the sea.
            assert!(places.contains(&plot.rect.x), "{name} at {:?}", plot.rect);
            let writes = name.contains("attn_output") || name.contains("ffn_down");
            let along = if writes { Orientation::RowsAlongX } else { Orientation::ColumnsAlongX };
            assert_eq!(plot.orientation, along, "{name}");
        }
    }
}

#[test]
fn a_neighbourhood_holds_its_heads_rows_of_q_and_columns_of_o() {
    let config = config(Architecture::Llama, 2, [6, 2], 32, 192);
    let tensors = tensors(&config);
    let plan = MapPlan::new(&config, &tensors);
    let index = |name: &str| tensors.iter().position(|tensor| tensor.name == name).unwrap();
    assert_eq!(plan.heads.len(), 12);
    for head in &plan.heads {
        let layer = &plan.layers[head.layer as usize];
        assert!(layer.attention.contains(&head.rect) && layer.rect.contains(&layer.attention));
        assert_eq!(head.kv_head, head.head / 3);
        for (name, row, column) in [
            ("attn_q", u64::from(head.head) * 32 + 5, 17),
            ("attn_output", 40, u64::from(head.head) * 32 + 9),
        ] {
            let tensor = index(&format!("blk.{}.{name}.weight", head.layer));
            let plot = plan
                .plots_of(tensor)
                .iter()
                .find(|p| p.rows.contains(&row) && p.columns.contains(&column))
                .unwrap();
            let (x, y) = plot.cell(row, column);
            assert!(head.rect.contains(&Rect::new(x, y, 1, 1)), "{name} of head {}", head.head);
        }
    }
}

/// A model of which only its shape is known: layers, heads, their size, neurons, tokens.
fn shaped(
    architecture: Architecture,
    [layers, heads, kv_heads, head_size, width, hidden, vocabulary]: [u32; 7],
) -> ModelConfig {
    let usual = config(architecture, layers, [heads, kv_heads], head_size, width);
    ModelConfig { hidden_size: hidden, vocab_size: vocabulary, ..usual }
}

/// Screens of 1280 x 720 and 2560 x 1440 pixels, the second with text half as large again, in
/// points: across, and down between what stands above the land and below it.
const SCREENS: [[f64; 2]; 2] = [[1280.0, 524.0], [1706.7, 764.0]];
/// The part of a screen's width that the land may have: the rest is margin.
const ACROSS: f64 = 0.94;

/// The part of what is free of either screen that the land covers at Home, the lesser one, and the
/// part of the land that neither plots nor river cover.
fn coverage(plan: &MapPlan) -> (f64, f64) {
    let [width, height] = plan.size.map(|side| side as f64);
    let area = |rects: &mut dyn Iterator<Item = Rect>| {
        rects.map(|rect| (rect.width * rect.height) as f64).sum::<f64>()
    };
    let full =
        area(&mut plan.plots.iter().map(|plot| plot.rect)) + area(&mut plan.river.iter().copied());
    let covered = SCREENS.map(|[across, down]| {
        let scale = (ACROSS * across / width).min(down / height);
        width * scale * height * scale / (across * down)
    });
    (covered[0].min(covered[1]), 1.0 - full / (width * height))
}

#[test]
fn the_land_fills_the_screen_and_has_few_holes() {
    let (llama, qwen2) = (Architecture::Llama, Architecture::Qwen2);
    let untied = |config| ModelConfig { tied_embeddings: false, ..config };
    let mut models = vec![
        ("SmolLM2 135M", shaped(llama, [30, 9, 3, 64, 576, 1536, 49_152])),
        ("4 layers", shaped(llama, [4, 12, 12, 64, 768, 2048, 32_000])),
        ("6 layers", shaped(llama, [6, 8, 8, 64, 512, 1376, 32_000])),
        ("Qwen2.5 0.5B", shaped(qwen2, [24, 14, 2, 64, 896, 4864, 151_936])),
        ("Llama 2 7B", untied(shaped(llama, [32, 32, 32, 128, 4096, 11_008, 32_000]))),
        ("Llama 2 13B", untied(shaped(llama, [40, 40, 40, 128, 5120, 13_824, 32_000]))),
        ("Qwen2.5 14B", untied(shaped(qwen2, [48, 40, 8, 128, 5120, 13_824, 152_064]))),
        ("Llama 3 70B", untied(shaped(llama, [80, 64, 8, 128, 8192, 28_672, 128_256]))),
    ];
    for layers in 4..=80 {
        models.push(("a small one", shaped(llama, [layers, 9, 3, 64, 576, 1536, 49_152])));
        models.push(("a large one", shaped(llama, [layers, 32, 8, 128, 4096, 14_336, 128_256])));
    }
    let plans = models.into_iter().map(|(name, config)| {
        let plan = MapPlan::new(&config, &tensors_of_family(&config));
        (format!("{name}, {} layers", config.layer_count), plan)
    });
    let seedling = crate::app::kinds::assets().default_model().unwrap();
    let mut bad = Vec::new();
    for (name, plan) in plans.chain([("the seedling".to_owned(), seedling.plan().clone())]) {
        let (covered, holes) = coverage(&plan);
        let (lanes, reaches) = (plan.layers[0].channels.len(), plan.river.len().div_ceil(2));
        println!(
            "{name}: {:?} cells, {lanes} lanes, {reaches} reaches, covers {:.1} %, holes {:.1} %",
            plan.size,
            covered * 100.0,
            holes * 100.0
        );
        // Numbers of layers that nobody has made may be awkward.
        let is_usual = |layers: &u32| name.ends_with(&format!(" {layers} layers"));
        let is_awkward = name.starts_with("a ") && ![4, 48, 80].iter().any(is_usual);
        if covered < 0.75 || holes > if is_awkward { 0.09 } else { 0.08 } {
            bad.push(format!("{name} covers {covered:.3}, has holes of {holes:.3}"));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn one_river_runs_through_all_layers_in_their_order() {
    for layers in [1, 4, 30, 48, 80] {
        let config = shaped(Architecture::Llama, [layers, 32, 8, 32, 1024, 3584, 32_000]);
        let plan = MapPlan::new(&config, &tensors_of_family(&config));
        let touch =
            |a: &Rect, b: &Rect| Rect::new(a.x - 1, a.y - 1, a.width + 2, a.height + 2).overlaps(b);
        for pair in plan.river.windows(2) {
            assert!(touch(&pair[0], &pair[1]) && !pair[0].overlaps(&pair[1]), "{pair:?}");
        }
        for plot in &plan.plots {
            assert!(!plan.river.iter().any(|piece| piece.overlaps(&plot.rect)), "{plot:?}");
        }
        // Every second piece is a reach: layers stand on it in the order in which they compute.
        let mut passed = 0;
        for (row, reach) in plan.river.iter().step_by(2).enumerate() {
            let on_it = plan.layers.iter().filter(|layer| reach.contains(&layer.river));
            let mut before = None;
            for layer in on_it {
                assert_eq!((layer.layer, layer.westward), (passed, row % 2 == 1));
                let step = before.map(|x| layer.rect.x - x);
                assert!(step.is_none_or(|step: i64| (step < 0) == layer.westward), "{step:?}");
                assert!(layer.channels.iter().all(|channel| layer.river.contains(channel)));
                (before, passed) = (Some(layer.rect.x), passed + 1);
            }
        }
        assert_eq!(passed, layers);
        let first = &plan.layers[0];
        assert!(first.attention.y < first.river.y && first.river.y < first.feed_forward.y);
        assert!(plan.layers.iter().all(|layer| layer.rect.y < plan.embedding.y));
    }
}

#[test]
fn decorations_lie_on_the_map_and_canals_join_the_rivers() {
    let config = config(Architecture::Llama, 9, [6, 2], 32, 192);
    let decorations = vec![
        Decoration::Plaza { at: Anchor::EachLayer, margin: 3, colour: "#010203".into() },
        Decoration::Canals { width: 2, colour: None },
        Decoration::Sign { at: Anchor::LastLayer, text: "end".into() },
        Decoration::Sign { at: Anchor::Layer(99), text: "nowhere".into() },
    ];
    let layers = Arrangement::Spiral { turn: Turn::Clockwise, start: Start::Inside };
    let plan = MapPlan::with_rules(
        &config,
        &tensors(&config),
        &Rules { layers, decorations, ..Rules::default() },
    );
    let map = Rect::new(0, 0, plan.size[0], plan.size[1]);
    assert!(
        plan.ornaments
            .iter()
            .all(|ornament| map.contains(&ornament.rect) && ornament.rect.width > 0)
    );
    assert_eq!(
        plan.ornaments.iter().filter(|ornament| ornament.colour == Some([1, 2, 3])).count(),
        9
    );
    let canals: Vec<_> =
        plan.ornaments.iter().filter(|ornament| ornament.colour.is_none()).collect();
    for pair in plan.layers.windows(2) {
        for layer in pair {
            let around = Rect::new(
                layer.river.x - 1,
                layer.river.y,
                layer.river.width + 2,
                layer.river.height,
            );
            assert!(
                canals.iter().any(|canal| canal.rect.overlaps(&around)),
                "layer {}",
                layer.layer
            );
        }
    }
    let signs: Vec<_> = plan.signs.iter().map(|sign| (sign.text.as_str(), sign.rect)).collect();
    assert_eq!(signs, [("end", plan.layers[8].rect)]);
}
