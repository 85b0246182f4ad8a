// What is seen of a tile from afar: shaded relief of how large its weights are, from the coarse
// level. The twin of `model::relief`.
#define_import_path pixel_llm::view::relief
#import pixel_llm::view::bindings::{coarse, palette, Quad, BLOCKS, COARSE_ACROSS, RAMP}
#import pixel_llm::view::weight::orientation

// In which of so many parts of so many cells a cell is. As floats, which are exact here: lanes
// divide whole numbers one after the other.
fn part_of(cell: u32, cells: u32, parts: u32) -> u32 {
    return min(u32((f32((cell + 1u) * parts) - 0.5) / f32(cells)), parts - 1u);
}

// Height, light, glint and sea of the block at a cell.
fn point_at(q: Quad, cell: vec2<u32>) -> vec4<f32> {
    var row = u32(max(q.row, 0));
    var column = q.column;
    switch orientation(q) {
        case 0u: { row += cell.x; column += cell.y; }
        case 1u: { row += cell.y; column += cell.x; }
        default: { column = u32(max(q.row + i32(cell.y * q.column + cell.x), 0)); row = 0u; }
    }
    let across = 1u << (q.kind >> 16u);
    let block = part_of(row, q.rows, BLOCKS / across) * across + part_of(column, q.columns, across);
    let word = q.tile * BLOCKS + block;
    let place = vec2<u32>(word % COARSE_ACROSS, word / COARSE_ACROSS);
    return unpack4x8unorm(textureLoad(coarse, place, 0).x);
}

fn colour_of_point(point: vec4<f32>) -> vec3<f32> {
    let ramp = 512u + select(0u, RAMP, point.w > 0.5);
    let base = palette[ramp + u32(point.x * f32(RAMP - 1u) + 0.5)].rgb;
    return mix(base * (0.3 + 1.4 * point.y), palette[255].rgb, point.z);
}

// The block at a cell alone: where blocks are larger than pixels.
fn relief(q: Quad, cell: vec2<u32>) -> vec3<f32> {
    return colour_of_point(point_at(q, cell));
}

// Blocks under a pixel: of a large model there are more than one. Glints of any are seen.
fn relief_of_pixel(q: Quad, place: vec2<f32>, cells_per_pixel: f32) -> vec3<f32> {
    var all = vec4<f32>(0.0);
    let last = vec2<f32>(f32(q.width), f32(q.height)) - 0.5;
    for (var i = 0u; i < 4u; i++) {
        let turn = vec2<f32>(f32((i >> 1u) & 1u) - 0.5, f32(i & 1u) - 0.5) * 0.5;
        let at = clamp(place + turn * cells_per_pixel, vec2<f32>(0.0), last);
        let point = point_at(q, vec2<u32>(at));
        all += point * vec4<f32>(0.25, 0.25, 0.0, 0.25);
        all.z = max(all.z, point.z);
    }
    return colour_of_point(all);
}
