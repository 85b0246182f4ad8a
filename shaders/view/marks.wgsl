// What is drawn over the weights: a hairline between cells that are large, and the state of the
// quad.
#define_import_path pixel_llm::view::marks
#import pixel_llm::view::bindings::{view, Quad}

// A tile whose bytes do not match its checksum: a red frame, a cross from corner to corner and
// crossed lines on black, whatever it looks like from afar. The lines are for who is so near that
// neither frame nor cross are on the screen.
fn damaged(q: Quad, cell: vec2<f32>, on_screen: vec2<f32>) -> vec3<f32> {
    let whole = vec2<f32>(f32(q.width), f32(q.height)) * view.scale;
    let pixel = cell * view.scale;
    let to_edge = min(pixel, whole - pixel);
    let falling = abs(pixel.x * whole.y - pixel.y * whole.x);
    let rising = abs((whole.x - pixel.x) * whole.y - pixel.y * whole.x);
    let to_mark = min(min(to_edge.x, to_edge.y), min(falling, rising) / length(whole));
    let along = fract(vec2<f32>(on_screen.x + on_screen.y, on_screen.x - on_screen.y) / 12.0);
    let is_line = to_mark < 2.0 || min(along.x, along.y) < 0.18;
    return select(vec3<f32>(0.02, 0.0, 0.0), vec3<f32>(0.9, 0.02, 0.02), is_line);
}

// Muted is drained of colour and hatched; scaled is hatched; edited has a magenta corner.
fn marked(given: vec3<f32>, q: Quad, cell: vec2<f32>, on_screen: vec2<f32>) -> vec3<f32> {
    var colour = given;
    let pixel = cell * view.scale;
    if view.scale >= 12.0 {
        let to_edge = min(fract(cell), 1.0 - fract(cell));
        let edge = min(to_edge.x, to_edge.y) * view.scale;
        colour = mix(view.ground.rgb, colour, clamp(edge + 0.25, 0.0, 1.0));
    }
    let hatch = fract((on_screen.x + on_screen.y) / 10.0) < 0.22;
    if (q.state & 1u) != 0u {
        let grey = dot(colour, vec3<f32>(0.2126, 0.7152, 0.0722));
        colour = mix(vec3<f32>(grey) * 0.6, view.ground.rgb, 0.45);
        if hatch { colour = mix(vec3<f32>(0.2), colour, 0.35); }
    } else if (q.state & 2u) != 0u && hatch {
        colour = mix(vec3<f32>(0.35, 0.28, 0.1), colour, 0.4);
    }
    if (q.state & 4u) != 0u {
        let whole = vec2<f32>(f32(q.width), f32(q.height)) * view.scale;
        let corner = min(min(whole.x, whole.y) * 0.3, 14.0);
        if whole.x - pixel.x + pixel.y < corner { colour = vec3<f32>(0.8, 0.02, 0.5); }
    }
    return colour;
}
