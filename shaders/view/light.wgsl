// Draws light over the map: triangles of colours, which are added to it or laid over it as their
// alpha says.

struct Corner {
    @builtin(position) position: vec4<f32>,
    @location(0) colour: vec4<f32>,
}

// `place` is on the map, from its left and top, in parts of it; `colour` is premultiplied sRGB.
@vertex
fn corner(@location(0) place: vec2<f32>, @location(1) colour: vec4<f32>) -> Corner {
    let steep = pow((colour.rgb + 0.055) / 1.055, vec3<f32>(2.4));
    let linear = select(steep, colour.rgb / 12.92, colour.rgb < vec3<f32>(0.04045));
    let position = vec4<f32>(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.5, 1.0);
    return Corner(position, vec4<f32>(linear, colour.a));
}

@fragment
fn light(in: Corner) -> @location(0) vec4<f32> {
    return in.colour;
}
