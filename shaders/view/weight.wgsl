// One weight of a tile, decoded where it lies: its value, the step of its block, and the byte of
// the tile where its code begins.
#define_import_path pixel_llm::view::weight
#import pixel_llm::view::bindings::{ENCODING, Quad}
#import pixel_llm::view::bytes::{texel, byte_of, half_of}
#import pixel_llm::view::super_blocks::super_weight

struct Weight { value: f32, step: f32, offset: u32 }

// Lines of a row group of `c` columns.
fn lines(encoding: u32, c: u32) -> u32 {
    let n = c / 32u;
    switch encoding {
        case 0u: { return (c + 3u) / 4u; }
        case 1u, 30u: { return (c + 7u) / 8u; }
        case 2u: { return n + (n + 7u) / 8u; }
        case 3u: { return n + (n + 3u) / 4u; }
        case 6u: { return n + (n + 3u) / 4u + (n + 7u) / 8u; }
        case 7u: { return n + (n + 3u) / 4u * 2u; }
        case 8u: { return n * 2u + (n + 7u) / 8u; }
        case 12u: { return n + n / 8u; }
        case 13u: { return n + n / 8u * 3u; }
        default: { return n / 8u * 13u + (n / 8u + 7u) / 8u; }
    }
}

fn float_of(encoding: u32, t: vec4<u32>, i: u32) -> f32 {
    if encoding == 0u { return bitcast<f32>(t[i & 3u]); }
    if encoding == 1u { return half_of(t, i); }
    let word = t[(i >> 1u) & 3u];
    return bitcast<f32>(select(word << 16u, word & 0xFFFF0000u, (i & 1u) == 1u));
}

// Half a unit in the last place, twice: what a float of these bits is rounded by.
fn float_step(encoding: u32, value: f32) -> f32 {
    let digits = select(select(23.0, 10.0, encoding == 1u), 7.0, encoding == 30u);
    return select(exp2(floor(log2(max(abs(value), 1e-30))) - digits), 0.0, value == 0.0);
}

fn vector_weight(q: Quad, element: u32) -> Weight {
    let encoding = ENCODING;
    let size = select(2u, 4u, encoding == 0u);
    let offset = q.first_byte + element * size;
    let t = texel(q, offset >> 10u, (offset >> 4u) & 63u);
    let value = float_of(encoding, t, (offset & 15u) / size);
    return Weight(value, float_step(encoding, value), offset);
}

fn matrix_weight(q: Quad, row: u32, column: u32) -> Weight {
    let encoding = ENCODING;
    let x = row & 63u;
    let top = (row >> 6u) * lines(encoding, q.columns);
    let n = q.columns / 32u;
    let c = column / 32u;
    let i = column & 31u;
    var line = c;
    var at = i & 15u;
    var w = Weight(0.0, 0.0, 0u);
    // The nibble of the encodings that keep 32 of them in a texel.
    let nibbles = texel(q, top + min(c, max(n, 1u) - 1u), x);
    let nibble = (byte_of(nibbles, i & 15u) >> ((i >> 4u) * 4u)) & 15u;
    switch encoding {
        case 0u, 1u, 30u: {
            let per = select(8u, 4u, encoding == 0u);
            line = column / per;
            at = (column % per) * (16u / per);
            w.value = float_of(encoding, texel(q, top + line, x), column % per);
            w.step = float_step(encoding, w.value);
        }
        case 2u: {
            w.step = half_of(texel(q, top + n + (c >> 3u), x), c & 7u);
            w.value = w.step * (f32(nibble) - 8.0);
        }
        case 3u: {
            let dm = unpack2x16float(texel(q, top + n + (c >> 2u), x)[c & 3u]);
            w.step = dm.x;
            w.value = dm.x * f32(nibble) + dm.y;
        }
        case 6u, 7u: {
            let high = (texel(q, top + n + (c >> 2u), x)[c & 3u] >> i) & 1u;
            let code = f32(nibble | (high << 4u));
            let behind = top + n + (n + 3u) / 4u;
            if encoding == 6u {
                w.step = half_of(texel(q, behind + (c >> 3u), x), c & 7u);
                w.value = w.step * (code - 16.0);
            } else {
                let dm = unpack2x16float(texel(q, behind + (c >> 2u), x)[c & 3u]);
                w.step = dm.x;
                w.value = dm.x * code + dm.y;
            }
        }
        case 8u: {
            line = c * 2u + (i >> 4u);
            w.step = half_of(texel(q, top + n * 2u + (c >> 3u), x), c & 7u);
            let code = byte_of(texel(q, top + line, x), at);
            w.value = w.step * f32(i32(code << 24u) >> 24u);
        }
        default: {
            line = super_line(encoding, c, i);
            let both = super_weight(q, encoding, top, x, c, i, n);
            w.value = both.x;
            w.step = both.y;
        }
    }
    w.offset = ((top + line) * 64u + x) * 16u + at;
    return w;
}

fn super_line(encoding: u32, c: u32, i: u32) -> u32 {
    if encoding == 14u { return (c >> 3u) * 8u + ((c >> 2u) & 1u) * 4u + (c & 1u) * 2u + (i >> 4u); }
    return (c & 0xFFFFFFFEu) + (i >> 4u);
}
