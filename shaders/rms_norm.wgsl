// Root-mean-square normalisation, y = x / sqrt(mean(x * x) + epsilon) * weight: one workgroup per row.
#import pixel_llm::types::RmsNormParams
#import pixel_llm::reduce::workgroup_sum

@group(0) @binding(0) var<uniform> params: RmsNormParams;
// [rows, width]
@group(0) @binding(1) var<storage, read> x: array<f32>;
// [width]
@group(0) @binding(2) var<storage, read> weight: array<f32>;
// [rows, width]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(#{WORKGROUP_SIZE})
fn rms_norm(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = workgroup.x;
    let start = row * params.width;
    // The same in all lanes, so that all of them or none reach the barriers of workgroup_sum.
    if row >= params.rows || params.width > arrayLength(&weight) || start + params.width > arrayLength(&x) {
        return;
    }

    var squares = 0.0;
    for (var i = lane; i < params.width; i += #{WORKGROUP_SIZE}u) {
        let value = x[start + i];
        squares += value * value;
    }
    let mean = workgroup_sum(squares, lane) / f32(params.width);
    let scale = inverseSqrt(mean + params.epsilon);

    for (var i = lane; i < params.width; i += #{WORKGROUP_SIZE}u) {
        if start + i < arrayLength(&y) {
            y[start + i] = x[start + i] * scale * weight[i];
        }
    }
}
