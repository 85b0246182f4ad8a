// A caller's change to values on their way, v * scale + added: one workgroup per column and 32 features. Where the values
// are the residual stream, what the next norm reads of it is made anew.
#import pixel_llm::types::ChangeParams
#import pixel_llm::lanes::lane_sum

@group(0) @binding(0) var<uniform> params: ChangeParams;
// Where each column begins in `target_values`.
@group(0) @binding(1) var<storage, read> rows: array<u32>;
// [columns, features]
@group(0) @binding(2) var<storage, read> added: array<f32>;
@group(0) @binding(3) var<storage, read_write> target_values: array<f32>;
// Weight of the next norm.
@group(0) @binding(4) var<storage, read> gain: array<f32>;
// The residual times the gain, [all columns, features].
@group(0) @binding(5) var<storage, read_write> scaled: array<f32>;
// [all columns, ceil(features / 32)]
@group(0) @binding(6) var<storage, read_write> squares: array<f32>;

@compute @workgroup_size(8)
fn change(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let column = group.y;
    if column >= params.columns || column >= arrayLength(&rows) {
        return;
    }
    let first = rows[column];
    let is_residual = params.is_residual != 0u;
    var sum = 0.0;
    for (var i = 0u; i < 4u; i++) {
        let feature = group.x * 32u + lane * 4u + i;
        let at = first + feature;
        let place = column * params.features + feature;
        if feature < params.features && at < arrayLength(&target_values) && place < arrayLength(&added) {
            let v = select(target_values[at] * params.scale, 0.0, params.scale == 0.0) + added[place];
            target_values[at] = v;
            sum += v * v;
            if is_residual && at < arrayLength(&scaled) && feature < arrayLength(&gain) {
                scaled[at] = v * gain[feature];
            }
        }
    }
    let total = lane_sum(sum, lane);
    let place = first / params.features * ((params.features + 31u) / 32u) + group.x;
    if is_residual && lane == 0u && place < arrayLength(&squares) {
        squares[place] = total;
    }
}
