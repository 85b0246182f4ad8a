// The residual stream as the next norm reads it.
#define_import_path pixel_llm::residual
#import pixel_llm::types::MatrixParams
#import pixel_llm::lanes::lane_sum
#import pixel_llm::multiply::{multiply_four, of_column}

// Weight of the next norm.
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
// [columns, width / 4]
@group(0) @binding(5) var<storage, read_write> residual: array<vec4<f32>>;
// The residual times the gain, [columns, width / 4].
@group(0) @binding(6) var<storage, read_write> scaled: array<vec4<f32>>;
// [columns, ceil(width / 32)]
@group(0) @binding(7) var<storage, read_write> squares: array<f32>;

// Adds four rows per lane of a product, times a factor, for COLUMNS of `count` columns.
fn add_to_residual(m: MatrixParams, factor: f32, group: vec2<u32>, count: u32, lane: u32) {
    let quad = group.x * 8u + lane;
    let first = group.y * #{COLUMNS}u;
    let columns = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
    let product = multiply_four(m, quad * 4u, columns, lane);
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let column = first + j;
        if column >= count {
            return;
        }
        var v = vec4<f32>();
        let at = column * (m.rows >> 2u) + quad;
        if quad * 4u < m.rows && at < arrayLength(&residual) && at < arrayLength(&scaled) && quad < arrayLength(&gain) {
            v = residual[at] + of_column(product, j) * factor;
            residual[at] = v;
            scaled[at] = v * gain[quad];
        }
        let s = v * v;
        let sum = lane_sum((s.x + s.y) + (s.z + s.w), lane);
        let place = column * ((m.rows + 31u) / 32u) + group.x;
        if lane == 0u && place < arrayLength(&squares) {
            squares[place] = sum;
        }
    }
}
