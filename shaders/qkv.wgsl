// The norm of the residual stream times the query, key and value matrices, or those of them that share an encoding.
#import pixel_llm::types::{MatrixParams, QkvParams}
#import pixel_llm::multiply::{multiply_eight, of_column}
#import pixel_llm::norm::inverse_rms

@group(0) @binding(4) var<uniform> params: QkvParams;
// [columns, query, key and value side by side / 4]
@group(0) @binding(5) var<storage, read_write> projected: array<vec4<f32>>;

@compute @workgroup_size(8)
fn qkv(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = workgroup.y * #{COLUMNS}u;
    let columns = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.columns - 1u));
    let query_rows = params.query.rows;
    let key_rows = params.key.rows;
    let stride = query_rows + key_rows + params.value.rows;

    // Which of the matrices, and which 64 rows of it.
    var group = workgroup.x;
    var part = #{FIRST_PART}u;
    var m = params.query;
    for (; part <= #{LAST_PART}u; part++) {
        m = params.query;
        if part == 1u {
            m = params.key;
        } else if part == 2u {
            m = params.value;
        }
        let groups = (m.rows + 63u) / 64u;
        if group < groups {
            break;
        }
        group -= groups;
    }
    if part > #{LAST_PART}u {
        return;
    }

    let row = (group * 8u + lane) * 8u;
    let products = multiply_eight(m, row, m, row + 4u, columns, lane);
    let start = select(select(0u, query_rows, part >= 1u), query_rows + key_rows, part == 2u);
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let column = first + j;
        if column >= params.columns {
            return;
        }
        let scale = inverse_rms(column, m.columns, params.norm_epsilon, lane);
        let at = (column * stride + start + row) >> 2u;
        if row < m.rows && at + 1u < arrayLength(&projected) {
            projected[at] = of_column(products.low, j) * scale;
            projected[at + 1u] = of_column(products.high, j) * scale;
        }
    }
}
