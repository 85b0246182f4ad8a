// Reductions over one workgroup. WORKGROUP_SIZE, a power of two, is the importing kernel's.
#define_import_path pixel_llm::reduce

var<workgroup> partial: array<f32, #{WORKGROUP_SIZE}>;

// The sum of every lane's value, in every lane. All lanes of the workgroup must call it.
fn workgroup_sum(value: f32, lane: u32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var stride = #{WORKGROUP_SIZE}u / 2u; stride > 0u; stride >>= 1u) {
        if lane < stride {
            partial[lane] += partial[lane + stride];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    // Without this, a second call could overwrite the sum before the last lane has read it.
    workgroupBarrier();
    return sum;
}
