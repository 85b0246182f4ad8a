//! The parameter structs of the shaders lie in memory as Rust's do: each field by its name.

use std::mem::offset_of;

use pixel_llm::forward::gpu::shaders::embedded;
use pixel_llm::forward::params::*;
use pixel_llm::forward::sampling::SamplingWords;
use wgpu::naga::{TypeInner, front::wgsl};

/// A struct: its name, its bytes, and the first byte of each field.
type Layout = (String, u32, Vec<(String, u32)>);

macro_rules! layouts {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        vec![$((
            stringify!($name).to_owned(),
            size_of::<$name>() as u32,
            vec![$((stringify!($field).to_owned(), offset_of!($name, $field) as u32)),*],
        )),*]
    };
}

/// The structs as Rust has them, without what only fills them up.
fn in_rust() -> Vec<Layout> {
    layouts! {
        MatrixParams {
            rows, columns, encoding, first_tile, first_line, lines_per_row_group,
            row_groups_per_tile, columns_per_tile,
        }
        RopeParams { size, kind, scaling, original_context, base, factor, attention_factor }
        EmbedParams { matrix, columns }
        QkvParams {
            query, key, value, rope, columns, layer, head_size, norm_epsilon, has_biases,
            has_head_norms,
        }
        AttendParams { columns, layer, head_count, heads_per_kv, head_size, score_scale }
        ProjectParams { matrix, columns, head_count, head_size, layer_scale }
        GateUpParams { gate, up, columns, norm_epsilon }
        DownParams { matrix, columns, layer_scale }
        LayerParams { qkv, attend, project, gate_up, down }
        LogitsParams { matrix, columns, norm_epsilon, first_group, groups }
        SampleParams { groups, stride, rows, vocabulary }
        ChangeParams {
            features, columns, scale, is_residual, residual, scaled, squares, gain,
        }
        Places { residual, scaled, projected, query, attended, hidden, squares, workgroups }
        SamplingWords {
            key, index, top_k, temperature, top_p, min_p, repeat_penalty, frequency_penalty,
            presence_penalty, window_start, window_len, bias_start, bias_len, window_limit,
        }
    }
}

/// The structs of a shader's text whose directives are left out.
fn in_wgsl(text: &str) -> Vec<Layout> {
    let structs: Vec<&str> = text
        .split("\nstruct ")
        .skip(1)
        .map(|rest| rest.split_once("\n}").expect("a struct ends").0)
        .collect();
    let plain: String = structs.iter().map(|body| format!("struct {body}\n}}\n")).collect();
    let module = wgsl::parse_str(&plain).unwrap_or_else(|error| panic!("{error}: {plain}"));
    let layout = |ty: &wgpu::naga::Type| match &ty.inner {
        TypeInner::Struct { members, span } => {
            let fields = members.iter().filter_map(|member| {
                let name = member.name.clone().expect("members are named");
                (!name.starts_with("padding")).then_some((name, member.offset))
            });
            Some((ty.name.clone().expect("structs are named"), *span, fields.collect()))
        }
        _ => None,
    };
    module.types.iter().filter_map(|(_, ty)| layout(ty)).collect()
}

/// The difference between two structs of one name, in words.
fn difference(rust: &Layout, shader: &Layout) -> Option<String> {
    (rust != shader).then(|| format!("Rust has {rust:?}, the shader {shader:?}"))
}

#[test]
fn every_struct_of_parameters_lies_as_rusts_does() {
    let rust = in_rust();
    let mut found = 0;
    for (name, text) in embedded() {
        if !matches!(name, "lib/types.wgsl" | "lib/activations.wgsl" | "sampling/sampling.wgsl") {
            continue;
        }
        for shader in in_wgsl(text) {
            let Some(ours) = rust.iter().find(|ours| ours.0 == shader.0) else {
                panic!("{name}: {} has no struct in Rust", shader.0);
            };
            assert_eq!(difference(ours, &shader), None, "{name}");
            found += 1;
        }
    }
    assert_eq!(found, rust.len(), "every struct is in a shader");
}

#[test]
fn a_field_in_another_place_is_seen() {
    let swapped = "\nstruct DownParams {\n    layer_scale: f32,\n    columns: u32,\n}\n";
    let shader = in_wgsl(swapped).remove(0);
    let ours = in_rust().into_iter().find(|ours| ours.0 == "DownParams").expect("it is listed");
    assert!(difference(&ours, &shader).is_some());
}
