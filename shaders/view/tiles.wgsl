// Draws the map: one quad per tile and plot. Near, each cell is decoded from the page texture that
// the kernels read; far, a tile is the relief of its coarse level; between them, four weights stand
// for the cells under a pixel.
#import pixel_llm::page::tile_place
#import pixel_llm::view::bindings::{view, Quad, FLAT, IS_FLAT, MODE, SHOWS_ERROR}
#import pixel_llm::view::bytes::{pixel_at, ABSENT, DAMAGED}
#import pixel_llm::view::colour::colour_of
#import pixel_llm::view::levels::{between, cell_at, near}
#import pixel_llm::view::marks::{damaged, marked}
#import pixel_llm::view::relief::{relief, relief_of_pixel}
#import pixel_llm::view::weight::orientation

// What is the same for all of a quad: its words, in the order of `world::layout::Quad`.
struct Instance {
    @location(0) rect: vec4<u32>,
    @location(1) first: vec4<u32>,
    @location(2) shape: vec4<u32>,
    @location(3) bytes: vec4<u32>,
}

struct Corner {
    @builtin(position) position: vec4<f32>,
    // In cells, from the quad's corner.
    @location(0) cell: vec2<f32>,
    // Its place in the page texture, nothing, and its cells across and down.
    @location(1) @interpolate(flat) rect: vec4<u32>,
    @location(2) @interpolate(flat) first: vec4<u32>,
    @location(3) @interpolate(flat) shape: vec4<u32>,
    @location(4) @interpolate(flat) bytes: vec4<u32>,
}

@vertex
fn corner(@builtin(vertex_index) vertex: u32, instance: Instance) -> Corner {
    let size = instance.rect.zw;
    let cell = vec2<f32>(f32(vertex & 1u), f32(vertex >> 1u)) * vec2<f32>(size);
    let whole = vec2<f32>(bitcast<vec2<i32>>(instance.rect.xy) - view.centre);
    let place = (whole - view.rest + cell) * view.scale / view.size * 2.0;
    let tile = min(instance.first.z, arrayLength(&tile_place) - 1u);
    let rect = vec4<u32>(tile_place[tile], 0u, size);
    let position = vec4<f32>(place.x, -place.y, 0.5, 1.0);
    return Corner(position, cell, rect, instance.first, instance.shape, instance.bytes);
}

fn quad_of(in: Corner) -> Quad {
    return Quad(
        in.rect.x, in.rect.z, in.rect.w,
        bitcast<i32>(in.first.x), in.first.y, in.first.z, in.first.w,
        in.shape.x, in.shape.y, bitcast<f32>(in.shape.z), in.shape.w,
        in.bytes.x, in.bytes.y,
    );
}

@fragment
fn tiles(in: Corner) -> @location(0) vec4<f32> {
    let q = quad_of(in);
    let on_screen = in.position.xy - view.size * 0.5;
    if IS_FLAT {
        let own = bitcast<vec3<f32>>(vec3<u32>(q.rows, q.columns, q.first_byte));
        let coloured = select(view.water, vec4<f32>(own, 1.0), q.tile == 1u);
        return select(view.ground, coloured, q.kind == FLAT);
    }
    let last = vec2<f32>(f32(q.width), f32(q.height)) - 0.5;
    let cell = vec2<u32>(clamp(in.cell, vec2<f32>(0.0), last));
    if orientation(q) == 2u {
        let element = q.row + i32(cell.y * q.column + cell.x);
        if element < 0 || element >= i32(q.columns) { return view.ground; }
    }
    if q.place == DAMAGED || (q.state & 8u) != 0u {
        return vec4<f32>(damaged(q, in.cell, in.position.xy), 1.0);
    }
    if q.place == ABSENT {
        // Relief, dimmed: what is not yet here is not taken for what was looked at.
        let dim = select(1.0, 0.6, MODE < 2u);
        return vec4<f32>(marked(relief(q, cell) * dim, q, in.cell, on_screen), 1.0);
    }
    var colour = vec3<f32>(0.0);
    if MODE == 3u {
        let pixel = pixel_at(q, cell_at(q, cell).offset);
        // The target turns linear light into sRGB again, so that the bytes on the screen are those
        // of the file.
        let steep = pow((pixel + 0.055) / 1.055, vec3<f32>(2.4));
        colour = select(steep, pixel / 12.92, pixel <= vec3<f32>(0.04045));
    } else if MODE == 0u {
        colour = colour_of(near(q, cell));
    } else if MODE == 1u {
        let wide = 1.0 / view.scale;
        colour = colour_of(between(q, in.cell, wide));
        if !SHOWS_ERROR {
            let fade = view.relief_fade;
            let faded = clamp((wide - fade.x) / (fade.y - fade.x), 0.0, 1.0);
            colour = mix(colour, relief_of_pixel(q, in.cell, wide), faded);
        }
    } else {
        colour = relief_of_pixel(q, in.cell, 1.0 / view.scale);
    }
    return vec4<f32>(marked(colour, q, in.cell, on_screen), 1.0);
}
