// Bytes of a tile in the page texture.
#define_import_path pixel_llm::view::bytes
#import pixel_llm::view::bindings::{pages, Quad}

// Instead of a place, where tiles are streamed: not there, or not what its checksum says. As in
// `residency::upload`.
const ABSENT: u32 = 0xFFFFFFFFu;
const DAMAGED: u32 = 0xFFFFFFFEu;

// Texel `x` of a line of a tile.
fn texel(q: Quad, line: u32, x: u32) -> vec4<u32> {
    return textureLoad(pages, vec2<u32>(x & 63u, (q.place & 0xFFFFu) + line), q.place >> 16u, 0);
}

fn byte_of(t: vec4<u32>, i: u32) -> u32 {
    return (t[(i >> 2u) & 3u] >> ((i & 3u) * 8u)) & 0xFFu;
}

fn half_of(t: vec4<u32>, i: u32) -> f32 {
    return unpack2x16float(t[(i >> 1u) & 3u] >> ((i & 1u) * 16u)).x;
}

// A byte by its place in the tile, as the file has it.
fn byte_at(q: Quad, offset: u32) -> u32 {
    return byte_of(texel(q, offset >> 10u, (offset >> 4u) & 63u), offset & 15u);
}

// The PixelFS pixel that holds a byte: three bytes of the payload as red, green and blue.
fn pixel_at(q: Quad, offset: u32) -> vec3<f32> {
    let into = (offset + q.phase) % 3u;
    // The first pixel of a tile may begin in the tile before; what is not ours stays dark.
    let r = select(0u, byte_at(q, offset - min(into, offset)), into <= offset);
    let g = byte_at(q, offset + 1u - min(into, offset + 1u));
    let b = byte_at(q, offset + 2u - into);
    return vec3<f32>(f32(r), f32(g), f32(b)) / 255.0;
}
