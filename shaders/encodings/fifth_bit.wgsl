// Nibbles with a fifth bit from another plane: bit i of its word is that of weight i.
#define_import_path pixel_llm::fifth_bit
#import pixel_llm::bytes::bytes
#import pixel_llm::nibbles::nibble

// Four bits of h become bit 4 of four bytes.
fn spread(h: u32) -> u32 {
    return ((h & 15u) * 0x00204081u & 0x01010101u) << 4u;
}

fn fives(q: vec4<u32>, h: u32) -> array<vec4<f32>, 8> {
    let mask = vec4<u32>(0x0F0F0F0Fu);
    let low = vec4<u32>(spread(h), spread(h >> 4u), spread(h >> 8u), spread(h >> 12u));
    let high = vec4<u32>(spread(h >> 16u), spread(h >> 20u), spread(h >> 24u), spread(h >> 28u));
    return bytes((q & mask) | low, ((q >> vec4<u32>(4u)) & mask) | high);
}

// Value `i` of the 32.
fn five(q: vec4<u32>, h: u32, i: u32) -> u32 {
    return nibble(q, i) | (((h >> i) & 1u) << 4u);
}
