// Bytes of a tile in the page texture.
#define_import_path pixel_llm::view::bytes
#import pixel_llm::view::bindings::{pages, tile_place}

// Instead of a place, where tiles are streamed: not there, or not what its checksum says. As in `residency::upload`.
const ABSENT: u32 = 0xFFFFFFFFu;
const DAMAGED: u32 = 0xFFFFFFFEu;

// Where a tile begins: the layer, then the line.
fn place_of(tile: u32) -> u32 {
    return tile_place[min(tile, arrayLength(&tile_place) - 1u)];
}

// Texel `x` of a line of a tile.
fn texel(tile: u32, line: u32, x: u32) -> vec4<u32> {
    let place = place_of(tile);
    return textureLoad(pages, vec2<u32>(x & 63u, (place & 0xFFFFu) + line), place >> 16u, 0);
}

fn byte_of(t: vec4<u32>, i: u32) -> u32 {
    return (t[(i >> 2u) & 3u] >> ((i & 3u) * 8u)) & 0xFFu;
}

fn half_of(t: vec4<u32>, i: u32) -> f32 {
    return unpack2x16float(t[(i >> 1u) & 3u] >> ((i & 1u) * 16u)).x;
}

// A byte by its place in the tile, as the file has it.
fn byte_at(tile: u32, offset: u32) -> u32 {
    return byte_of(texel(tile, offset >> 10u, (offset >> 4u) & 63u), offset & 15u);
}

// The PixelFS pixel that holds a byte: three bytes of the payload as red, green and blue. `phase` is where in a pixel the tile begins.
fn pixel_at(tile: u32, offset: u32, phase: u32) -> vec3<f32> {
    let into = (offset + phase) % 3u;
    // The first pixel of a tile may begin in the tile before; what is not ours stays dark.
    let r = select(0u, byte_at(tile, offset - min(into, offset)), into <= offset);
    let g = byte_at(tile, offset + 1u - min(into, offset + 1u));
    let b = byte_at(tile, offset + 2u - into);
    return vec3<f32>(f32(r), f32(g), f32(b)) / 255.0;
}
