// Bytes of a tile in the page texture.
#define_import_path pixel_llm::view::bytes
#import pixel_llm::view::bindings::Quad
#import pixel_llm::view::weight::texels_at
#import pixel_llm::page::texel
#import pixel_llm::weights::byte_of

// Instead of a place, where tiles are streamed: not there, or not what its checksum says. As in
// `residency::upload`.
const ABSENT: u32 = 0xFFFFFFFFu;
const DAMAGED: u32 = 0xFFFFFFFEu;

// A byte by its place in the tile, as the file has it.
fn byte_at(q: Quad, offset: u32) -> u32 {
    return byte_of(texel(texels_at(q, offset >> 4u, offset >> 10u), 0u), offset & 15u);
}

// The PixelFS pixel that holds a byte: three bytes of the payload as red, green and blue.
fn pixel_at(q: Quad, offset: u32) -> vec3<f32> {
    let into = (offset + q.phase) % 3u;
    // The first pixel of a tile may begin in the tile before; what is not ours stays dark.
    let r = select(0u, byte_at(q, offset - min(into, offset)), into <= offset);
    let g = select(0u, byte_at(q, offset + 1u - min(into, offset + 1u)), into <= offset + 1u);
    let b = byte_at(q, offset + 2u - into);
    return vec3<f32>(f32(r), f32(g), f32(b)) / 255.0;
}
