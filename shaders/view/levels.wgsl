// What is seen of a quad from near, from afar, and from between.
#define_import_path pixel_llm::view::levels
#import pixel_llm::view::bindings::{coarse, Quad, COARSE_ACROSS}
#import pixel_llm::view::colour::Seen
#import pixel_llm::view::weight::{Cell, matrix_weight}
#ifdef FLOAT_BYTES
#import pixel_llm::view::weight::vector_weight
#endif

fn cell_at(q: Quad, cell: vec2<u32>) -> Cell {
#ifdef FLOAT_BYTES
    // Only floats are in vectors.
    if q.kind >> 8u == 2u {
        let element = q.row + i32(cell.y * q.column + cell.x);
        return vector_weight(q, u32(clamp(element, 0, i32(q.columns) - 1)));
    }
#endif
    let place = select(cell.yx, cell.xy, q.kind >> 8u == 0u);
    return matrix_weight(q, u32(q.row) + place.x, q.column + place.y);
}

fn near(q: Quad, cell: vec2<u32>) -> Seen {
    let w = cell_at(q, cell);
    let value = w.value * q.scale;
    return Seen(value, abs(value), 1.0, w.step * 0.5 * q.scale);
}

// Cells of different rows and columns under the pixel, as many as a pixel can afford.
fn between(q: Quad, place: vec2<f32>, cells_per_pixel: f32) -> Seen {
    var all = Seen(0.0, 0.0, 4.0, 0.0);
    let last = vec2<f32>(f32(q.width), f32(q.height)) - 0.5;
    for (var i = 0u; i < 4u; i++) {
        // A square on its edge: no two in one row or column.
        let turn = vec2<f32>(f32((i >> 1u) & 1u) - 0.5, f32(i & 1u) - 0.5);
        let offset = vec2<f32>(0.8 * turn.x - 0.4 * turn.y, 0.4 * turn.x + 0.8 * turn.y);
        let at = place + offset * cells_per_pixel;
        let one = near(q, vec2<u32>(clamp(at, vec2<f32>(0.0), last)));
        all.mean += one.mean * 0.25;
        all.size += one.mean * one.mean * 0.25;
        all.error += one.error * 0.25;
    }
    all.size = sqrt(all.size);
    return all;
}

// In which eighth of so many cells a cell is. As floats, which are exact here: lanes divide whole
// numbers one after the other.
fn eighth(cell: u32, cells: u32) -> u32 {
    return u32((f32(cell * 8u) + 0.5) / f32(cells));
}

// The coarse level: an eighth by an eighth of the tile. Of errors it knows nothing.
fn far(q: Quad, cell: vec2<u32>) -> Seen {
    var row = u32(max(q.row, 0));
    var column = q.column;
    switch q.kind >> 8u {
        case 0u: { row += cell.x; column += cell.y; }
        case 1u: { row += cell.y; column += cell.x; }
        default: { column = u32(max(q.row + i32(cell.y * q.column + cell.x), 0)); row = 0u; }
    }
    let at = min(eighth(row, q.rows), 7u) * 8u + min(eighth(column, q.columns), 7u);
    let word = q.tile * 64u + at;
    let place = vec2<u32>(word % COARSE_ACROSS, word / COARSE_ACROSS);
    let found = unpack2x16float(textureLoad(coarse, place, 0).x) * q.scale;
    let count = max(f32(q.rows) * f32(q.columns) / 64.0, 1.0);
    return Seen(found.x, length(found), count, -1.0);
}
