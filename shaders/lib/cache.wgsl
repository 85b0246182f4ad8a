// The keys and values of a layer: rows of `quads` quads, one per position of a sequence,
// [sequences, positions, KV heads, head / 4].
#define_import_path pixel_llm::cache

#ifdef TEXTURES
// A texture's row has 16 rows of the cache.
@group(0) @binding(9) var keys: texture_storage_2d<rgba32float, read_write>;
@group(0) @binding(10) var values: texture_storage_2d<rgba32float, read_write>;

fn place_of(row: u32, quads: u32, i: u32) -> vec2<u32> {
    return vec2<u32>((row & 15u) * quads + i, row >> 4u);
}

// How many rows there are.
fn cache_rows(quads: u32) -> u32 {
    return textureDimensions(keys).y * 16u;
}

fn key_at(row: u32, quads: u32, i: u32) -> vec4<f32> {
    return textureLoad(keys, place_of(row, quads, i));
}

fn value_at(row: u32, quads: u32, i: u32) -> vec4<f32> {
    return textureLoad(values, place_of(row, quads, i));
}

fn set_key(row: u32, quads: u32, i: u32, v: vec4<f32>) {
    textureStore(keys, place_of(row, quads, i), v);
}

fn set_value(row: u32, quads: u32, i: u32, v: vec4<f32>) {
    textureStore(values, place_of(row, quads, i), v);
}
#else
@group(0) @binding(9) var<storage, read_write> keys: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read_write> values: array<vec4<f32>>;

fn cache_rows(quads: u32) -> u32 {
    return arrayLength(&keys) / quads;
}

fn key_at(row: u32, quads: u32, i: u32) -> vec4<f32> {
    return keys[row * quads + i];
}

fn value_at(row: u32, quads: u32, i: u32) -> vec4<f32> {
    return values[row * quads + i];
}

fn set_key(row: u32, quads: u32, i: u32, v: vec4<f32>) {
    if row * quads + i < arrayLength(&keys) {
        keys[row * quads + i] = v;
    }
}

fn set_value(row: u32, quads: u32, i: u32, v: vec4<f32>) {
    if row * quads + i < arrayLength(&values) {
        values[row * quads + i] = v;
    }
}
#endif
