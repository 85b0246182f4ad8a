// A caller's change to values on their way, v * scale + added: one workgroup per column and 32
// features. Where the values are the residual stream, what the next norm reads of it is made anew.
#import pixel_llm::types::ChangeParams
#import pixel_llm::lanes::lane_sum

@group(0) @binding(0) var<uniform> params: ChangeParams;
// Where each column begins in `numbers`.
@group(0) @binding(1) var<storage, read> rows: array<u32>;
// [columns, features]
@group(0) @binding(2) var<storage, read> added: array<f32>;
// All activations, or the keys or values of a layer.
@group(0) @binding(3) var<storage, read_write> numbers: array<f32>;
// Weight of the next norm, from `params.gain` on.
@group(0) @binding(4) var<storage, read> gain: array<f32>;

@compute @workgroup_size(8)
fn change(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.y;
    if column >= params.columns || column >= arrayLength(&rows) {
        return;
    }
    let first = rows[column];
    // Where the column begins in the residual stream.
    let in_residual = first - params.residual;
    let is_residual = params.is_residual != 0u;
    var sum = 0.0;
    for (var i = 0u; i < 4u; i++) {
        let feature = group.x * 32u + lane * 4u + i;
        let at = first + feature;
        let source = column * params.features + feature;
        if feature < params.features && at < arrayLength(&numbers) && source < arrayLength(&added) {
            let v = select(numbers[at] * params.scale, 0.0, params.scale == 0.0) + added[source];
            numbers[at] = v;
            sum += v * v;
            let scaled = params.scaled + in_residual + feature;
            let weight = gain[min(params.gain + feature, arrayLength(&gain) - 1u)];
            if is_residual && scaled < arrayLength(&numbers) {
                numbers[scaled] = v * weight;
            }
        }
    }
    let total = lane_sum(sum, lane);
    let groups = (params.features + 31u) / 32u;
    let square = params.squares + (in_residual / params.features * groups + group.x) * 4u;
    if is_residual && lane == 0u && square < arrayLength(&numbers) {
        numbers[square] = total;
    }
}
