// The last norm times the output matrix, for the columns that want logits; and the best logit of
// each workgroup.
#import pixel_llm::types::LogitsParams
#import pixel_llm::multiply::{multiply_eight, of_column}
#import pixel_llm::activations::{places, inverse_rms}
#import pixel_llm::columns::{Chosen, columns_from}
#import pixel_llm::lanes::{no_logit, entered, lane_best}

@group(0) @binding(4) var<uniform> params: LogitsParams;
// The column of each row of logits.
@group(0) @binding(5) var<storage, read> wanted: array<u32>;
// [wanted, vocabulary / 4], padded to whole workgroups
@group(0) @binding(6) var<storage, read_write> logits_out: array<vec4<f32>>;
// [wanted, workgroups]: a logit and its token's bits
@group(0) @binding(7) var<storage, read_write> best: array<vec2<f32>>;

@compute @workgroup_size(#{WORKGROUP})
fn logits(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = group.y * #{COLUMNS}u;
    let last = min(params.columns, arrayLength(&wanted)) - 1u;
    let rows = columns_from(first, last + 1u);
    let columns = Chosen(
        vec4<u32>(wanted[rows.low.x], wanted[rows.low.y], wanted[rows.low.z], wanted[rows.low.w]),
        vec4<u32>(
            wanted[rows.high.x], wanted[rows.high.y], wanted[rows.high.z], wanted[rows.high.w],
        ),
    );
    let row_group = params.first_group + group.x;
    let row = (row_group * 8u + lane) * 8u;
    let products = multiply_eight(
        params.matrix,
        row_group * 64u,
        params.matrix,
        row_group * 64u + 4u,
        8u,
        places.scaled,
        columns,
        lane,
    );
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        if first + j > last {
            return;
        }
        let scale = inverse_rms(
            wanted[first + j], params.matrix.columns, params.norm_epsilon, lane,
        );
        let low = of_column(products.low, j) * scale;
        let high = of_column(products.high, j) * scale;
        let place = (first + j) * params.groups + row_group;
        let at = place * 16u + lane * 2u;
        if lane < 8u && at + 1u < arrayLength(&logits_out) {
            logits_out[at] = low;
            logits_out[at + 1u] = high;
        }

        var top = no_logit();
        for (var i = 0u; i < 4u; i++) {
            if row + i < params.matrix.rows {
                top = entered(top, low[i], row + i);
            }
        }
        for (var i = 0u; i < 4u; i++) {
            if row + 4u + i < params.matrix.rows {
                top = entered(top, high[i], row + 4u + i);
            }
        }
        top = lane_best(top, lane);
        if lane == 0u && place < arrayLength(&best) {
            best[place] = top;
        }
    }
}
