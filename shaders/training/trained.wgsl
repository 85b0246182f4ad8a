// What is trained: values, gradients and both moments, quad by quad. A matrix of an adapter is
// [rows, rank] in lines: 64 rows side by side, a quad of each, then their next quads.
#define_import_path pixel_llm::training::trained

#ifdef TEXTURES
@group(0) @binding(8) var trained: texture_storage_2d<rgba32float, read_write>;

fn trained_at(i: u32) -> vec4<f32> {
    return textureLoad(trained, vec2<u32>(i & 1023u, i >> 10u));
}

fn set_trained(i: u32, v: vec4<f32>) {
    textureStore(trained, vec2<u32>(i & 1023u, i >> 10u), v);
}
#else
@group(0) @binding(8) var<storage, read_write> trained: array<vec4<f32>>;

fn trained_at(i: u32) -> vec4<f32> {
    return trained[min(i, arrayLength(&trained) - 1u)];
}

fn set_trained(i: u32, v: vec4<f32>) {
    if i < arrayLength(&trained) {
        trained[i] = v;
    }
}
#endif

// Where quad `q` of `quads` of a row lies in a matrix that begins at `place`.
fn place_of_row(place: u32, row: u32, q: u32, quads: u32) -> u32 {
    return place + ((row >> 6u) * quads + q) * 64u + (row & 63u);
}
