// The norm of the residual stream, folded into the products after it: what wrote the residual left it multiplied with the
// norm's weight, and one sum of squares per workgroup. The factor is applied to the product.
#define_import_path pixel_llm::norm
#import pixel_llm::lanes::lane_sum

// [columns, ceil(width / 32)]
@group(0) @binding(3) var<storage, read> squares: array<f32>;

fn inverse_rms(column: u32, width: u32, epsilon: f32, lane: u32) -> f32 {
    let groups = (width + 31u) / 32u;
    var sum = 0.0;
    for (var i = lane; i < groups; i += 8u) {
        sum += squares[min(column * groups + i, arrayLength(&squares) - 1u)];
    }
    return inverseSqrt(lane_sum(sum, lane) / f32(width) + epsilon);
}
