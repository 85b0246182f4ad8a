// Token ids to rows of the residual stream: one workgroup per column.
#import pixel_llm::types::EmbedParams
#import pixel_llm::page::{locate, tiles_across, blocks_in_tile}
#import pixel_llm::encoding::{lines_of, weights_at, values_of}
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{places, set_quad}

@group(0) @binding(4) var<uniform> params: EmbedParams;
// Weight of the first norm.
@group(0) @binding(5) var<storage, read> gain: array<vec4<f32>>;
// Token, position, first row of its sequence in the cache, its sequence.
@group(0) @binding(6) var<storage, read> columns: array<vec4<u32>>;
// What the persistent workgroups count with, which begins at 0 in every step, but for the first
// word; the second is how many columns there are.
@group(0) @binding(7) var<storage, read_write> barriers: array<u32>;

@compute @workgroup_size(8)
fn embed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups_of_all: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.y;
    if column >= params.columns || column >= arrayLength(&columns) {
        return;
    }
    if column == 0u {
        for (var i = 1u + lane; i < arrayLength(&barriers); i += 8u) {
            barriers[i] = select(0u, groups_of_all.y, i == 1u);
        }
    }
    let m = params.matrix;
    let across = tiles_across(m);
    var sum = 0.0;
    for (var t = 0u; t < across; t++) {
        let n = blocks_in_tile(m, t);
        let row = locate(m, columns[column].x, t, lines_of(n));
        for (var c = lane; c < n; c += 8u) {
            var values = values_of(weights_at(row, c, n));
            let quad = (t * (m.columns_per_tile >> 5u) + c) * 8u;
            let at = column * (m.columns >> 2u) + quad;
            for (var i = 0u; i < 8u; i++) {
                let v = values[i];
                set_quad(places.residual + at + i, v);
                set_quad(places.scaled + at + i, v * gain[min(quad + i, arrayLength(&gain) - 1u)]);
                sum += dot(v, v);
            }
        }
    }
    let total = lane_sum(sum, lane);
    let groups = (m.columns + 31u) / 32u;
    for (var i = lane; i < groups; i += 8u) {
        set_quad(
            places.squares + column * groups + i,
            vec4<f32>(select(0.0, total, i == 0u), 0.0, 0.0, 0.0),
        );
    }
}
