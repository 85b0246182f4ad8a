// What adapters add to the products of a layer: `B (A x)` beside every `W x`. `A x` is computed for
// what reads the same activations, four such points in a layer, and `B` where the product is.
#define_import_path pixel_llm::adapters
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{places, quad_at, inverse_rms}
#import pixel_llm::layer_bindings::{layer, column_at}

// Points: what query, key and value read; the output matrix; gate and up; down. Then the matrices
// in that order.
const POINTS: u32 = 4u;
const ENTRIES: u32 = 11u;

#ifdef TEXTURES
// Factors as pixels, in lines: 64 rows side by side, a quad of each, then their next quads.
@group(0) @binding(13) var factors: texture_storage_2d<rgba32float, read_write>;
// What `A` makes of a column, [columns, ranks].
@group(0) @binding(16) var narrowed: texture_storage_2d<rgba32float, read_write>;

fn factor_at(i: u32) -> vec4<f32> {
    return textureLoad(factors, vec2<u32>(i & 1023u, i >> 10u));
}

fn narrowed_at(i: u32) -> vec4<f32> {
    return textureLoad(narrowed, vec2<u32>(i & 1023u, i >> 10u));
}

fn set_narrowed(i: u32, v: vec4<f32>) {
    textureStore(narrowed, vec2<u32>(i & 1023u, i >> 10u), v);
}
#else
@group(0) @binding(13) var<storage, read_write> factors: array<vec4<f32>>;
@group(0) @binding(16) var<storage, read_write> narrowed: array<vec4<f32>>;

fn factor_at(i: u32) -> vec4<f32> {
    return factors[min(i, arrayLength(&factors) - 1u)];
}

fn narrowed_at(i: u32) -> vec4<f32> {
    return narrowed[min(i, arrayLength(&narrowed) - 1u)];
}

fn set_narrowed(i: u32, v: vec4<f32>) {
    if i < arrayLength(&narrowed) {
        narrowed[i] = v;
    }
}
#endif

// How many adapters there are, quads of a column of what is narrowed, and two spare words; then
// for each layer and adapter ENTRIES: of a point the first quad of its factor, quads of a row there
// and quads before it in a column of what is narrowed; of a matrix the same, and its scale's bits.
@group(0) @binding(14) var<storage, read> adapted: array<vec4<u32>>;
// The factor of each adapter for each sequence, [sequences, adapters]; 0 where it does not act.
@group(0) @binding(15) var<storage, read> strengths: array<f32>;

// Where what is narrowed begins: persistent workgroups each have their own.
var<private> narrowed_first: u32 = 0u;

fn entry(adapter: u32, which: u32) -> vec4<u32> {
    let at = 1u + (layer.qkv.layer * adapted[0].x + adapter) * ENTRIES + which;
    return adapted[min(at, arrayLength(&adapted) - 1u)];
}

fn strength(column: u32, adapter: u32) -> f32 {
    let at = column_at(column).w * adapted[0].x + adapter;
    return strengths[min(at, arrayLength(&strengths) - 1u)];
}

fn place_in_lines(place: u32, row: u32, q: u32, quads: u32) -> u32 {
    return place + ((row >> 6u) * quads + q) * 64u + (row & 63u);
}

// Where the inputs of a point begin, and how many quads a column of them has.
fn inputs_of(point: u32) -> vec2<u32> {
    if point == 1u {
        return vec2<u32>(places.attended, layer.project.matrix.columns >> 2u);
    }
    if point == 3u {
        return vec2<u32>(places.hidden, layer.down.matrix.columns >> 2u);
    }
    return vec2<u32>(places.scaled, layer.qkv.query.columns >> 2u);
}

// Quads of the ranks of all adapters at a point.
fn ranks_of(point: u32) -> u32 {
    var quads = 0u;
    for (var a = 0u; a < adapted[0].x; a++) {
        quads += entry(a, point).y;
    }
    return quads;
}

// Quad `unit` of the ranks at a point, of one column.
fn narrow_column(point: u32, unit: u32, column: u32, lane: u32) {
    var q = unit;
    var a = 0u;
    var e = vec4<u32>();
    for (; a < adapted[0].x; a++) {
        e = entry(a, point);
        if q < e.y {
            break;
        }
        q -= e.y;
    }
    let inputs = inputs_of(point);
    let acts = a < adapted[0].x && strength(column, a) != 0.0;
    let count = select(0u, inputs.y, acts);
    var sum = vec4<f32>();
    for (var i = lane; i < count; i += 8u) {
        let v = quad_at(inputs.x + column * inputs.y + i);
        let at = place_in_lines(e.x, i * 4u, q, e.y);
        sum += (factor_at(at) * v.x + factor_at(at + 1u) * v.y)
            + (factor_at(at + 2u) * v.z + factor_at(at + 3u) * v.w);
    }
    let total = vec4<f32>(
        lane_sum(sum.x, lane), lane_sum(sum.y, lane), lane_sum(sum.z, lane), lane_sum(sum.w, lane),
    );
    let scale = inverse_rms(column, layer.qkv.query.columns, layer.qkv.norm_epsilon, lane);
    if lane == 0u && acts {
        let normed = (point & 1u) == 0u;
        set_narrowed(
            narrowed_first + column * adapted[0].y + e.z + q, total * select(1.0, scale, normed),
        );
    }
}

// What is added to four rows of a matrix, counted from 0 for query to 6 for down, of one column.
fn update_of(matrix: u32, row: u32, column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var a = 0u; a < adapted[0].x; a++) {
        let e = entry(a, POINTS + matrix);
        let factor = strength(column, a) * bitcast<f32>(e.w);
        let quads = select(0u, e.y, factor != 0.0);
        var v = vec4<f32>();
        for (var q = 0u; q < quads; q++) {
            let h = narrowed_at(narrowed_first + column * adapted[0].y + e.z + q);
            let at = place_in_lines(e.x, row, q, e.y);
            v += vec4<f32>(
                dot(factor_at(at), h), dot(factor_at(at + 1u), h),
                dot(factor_at(at + 2u), h), dot(factor_at(at + 3u), h),
            );
        }
        sum += v * factor;
    }
    return sum;
}
