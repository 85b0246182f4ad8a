// Draws the map: one quad per tile and plot. Near, each cell is decoded from the page texture that the kernels read; far, a tile is its
// coarse level; between them, four weights stand for the cells under a pixel.
#import pixel_llm::view::bindings::{coarse, quads, view, Quad, ENCODING, MODE, SHOWS_ERROR}
#import pixel_llm::view::weight::{Weight, matrix_weight, vector_weight}
#import pixel_llm::view::bytes::{pixel_at, place_of, ABSENT, DAMAGED}
#import pixel_llm::view::colour::{Seen, colour_of}
#import pixel_llm::view::marks::{damaged, marked}

struct Corner {
    @builtin(position) position: vec4<f32>,
    // In cells, from the quad's corner.
    @location(0) cell: vec2<f32>,
    @location(1) @interpolate(flat) quad: u32,
}

@vertex
fn corner(@builtin(vertex_index) vertex: u32, @builtin(instance_index) instance: u32) -> Corner {
    let q = quads[min(instance, arrayLength(&quads) - 1u)];
    let encoding = q.kind & 0xFFu;
    // Quads of other variants have no area here. What is flat is of two kinds.
    if encoding != ENCODING && !(ENCODING == 255u && encoding == 254u) {
        return Corner(vec4<f32>(2.0, 2.0, 0.5, 1.0), vec2<f32>(0.0), instance);
    }
    let cell = vec2<f32>(f32(vertex & 1u), f32(vertex >> 1u)) * vec2<f32>(f32(q.width), f32(q.height));
    let from_centre = vec2<f32>(vec2<i32>(q.x, q.y) - view.centre) - view.rest + cell;
    let place = from_centre * view.scale / view.size * 2.0;
    return Corner(vec4<f32>(place.x, -place.y, 0.5, 1.0), cell, instance);
}

fn weight_at(q: Quad, cell: vec2<u32>) -> Weight {
    // Only floats are in vectors.
    if (ENCODING < 2u || ENCODING == 30u) && q.kind >> 8u == 2u {
        let element = q.row + i32(cell.y * q.column + cell.x);
        return vector_weight(q, u32(clamp(element, 0, i32(q.columns) - 1)));
    }
    let place = select(cell.yx, cell.xy, q.kind >> 8u == 0u);
    return matrix_weight(q, u32(q.row) + place.x, q.column + place.y);
}

fn near(q: Quad, cell: vec2<u32>) -> Seen {
    let w = weight_at(q, cell);
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
        let offset = vec2<f32>(0.8 * turn.x - 0.4 * turn.y, 0.4 * turn.x + 0.8 * turn.y) * cells_per_pixel;
        let one = near(q, vec2<u32>(clamp(place + offset, vec2<f32>(0.0), last)));
        all.mean += one.mean * 0.25;
        all.size += one.mean * one.mean * 0.25;
        all.error += one.error * 0.25;
    }
    all.size = sqrt(all.size);
    return all;
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
    let at = min(row * 8u / q.rows, 7u) * 8u + min(column * 8u / q.columns, 7u);
    let found = unpack2x16float(coarse[min(q.tile * 64u + at, arrayLength(&coarse) - 1u)]) * q.scale;
    let count = max(f32(q.rows) * f32(q.columns) / 64.0, 1.0);
    return Seen(found.x, length(found), count, -1.0);
}

@fragment
fn tiles(in: Corner) -> @location(0) vec4<f32> {
    let q = quads[min(in.quad, arrayLength(&quads) - 1u)];
    let own = vec4<f32>(bitcast<vec3<f32>>(vec3<u32>(q.rows, q.columns, q.first_byte)), 1.0);
    if ENCODING == 255u {
        return select(select(view.ground, view.water, q.kind == 255u), own, q.kind == 255u && q.tile == 1u);
    }
    let cell = vec2<u32>(clamp(in.cell, vec2<f32>(0.0), vec2<f32>(f32(q.width), f32(q.height)) - 0.5));
    if q.kind >> 8u == 2u {
        let element = q.row + i32(cell.y * q.column + cell.x);
        if element < 0 || element >= i32(q.columns) { return view.ground; }
    }
    let place = place_of(q.tile);
    if place == DAMAGED { return vec4<f32>(damaged(in.position.xy), 1.0); }
    if place == ABSENT { return vec4<f32>(marked(colour_of(far(q, cell)), q, in.cell), 1.0); }
    var colour = vec3<f32>(0.0);
    if MODE == 3u {
        let pixel = pixel_at(q.tile, weight_at(q, cell).offset, q.phase);
        // The target turns linear light into sRGB again, so that the bytes on the screen are those of the file.
        colour = select(pow((pixel + 0.055) / 1.055, vec3<f32>(2.4)), pixel / 12.92, pixel <= vec3<f32>(0.04045));
    } else if MODE == 0u {
        colour = colour_of(near(q, cell));
    } else if MODE == 1u {
        let wide = 1.0 / view.scale;
        colour = colour_of(between(q, in.cell, wide));
        if !SHOWS_ERROR {
            // From eight cells a pixel on, four weights say less than the coarse level does; it fades in before.
            colour = mix(colour, colour_of(far(q, cell)), clamp((wide - 5.0) / 5.0, 0.0, 1.0) * view.coarse);
        }
    } else {
        colour = colour_of(far(q, cell));
    }
    return vec4<f32>(marked(colour, q, in.cell), 1.0);
}
