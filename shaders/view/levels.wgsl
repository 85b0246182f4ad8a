// What is seen of a quad from near, and from between near and far.
#define_import_path pixel_llm::view::levels
#import pixel_llm::view::bindings::Quad
#import pixel_llm::view::colour::Seen
#import pixel_llm::view::weight::{orientation, Cell, matrix_weight}
#ifdef FLOAT_BYTES
#import pixel_llm::view::weight::vector_weight
#endif

fn cell_at(q: Quad, cell: vec2<u32>) -> Cell {
#ifdef FLOAT_BYTES
    // Only floats are in vectors.
    if orientation(q) == 2u {
        let element = q.row + i32(cell.y * q.column + cell.x);
        return vector_weight(q, u32(clamp(element, 0, i32(q.columns) - 1)));
    }
#endif
    let place = select(cell.yx, cell.xy, orientation(q) == 0u);
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
