// What is seen of weights, as a colour of the palette.
#define_import_path pixel_llm::view::colour
#import pixel_llm::view::bindings::{palette, view, SHOWS_ERROR}

// Mean, root mean square and count of the weights that stand for a pixel, in spreads; then the
// error in spreads.
struct Seen { mean: f32, size: f32, count: f32, error: f32 }

fn colour_of(seen: Seen) -> vec3<f32> {
    if SHOWS_ERROR && seen.error >= 0.0 {
        return palette[256u + u32(clamp(seen.error * 3.0, 0.0, 1.0) * 255.0)].rgb;
    }
    let away = min(seen.size / view.range, 1.0) * 127.0;
    let cool = palette[127u - u32(round(away))].rgb;
    let warm = palette[127u + u32(round(away))].rgb;
    if seen.count < 1.5 { return select(warm, cool, seen.mean < 0.0); }
    // The mean of many weights leans to a side by as many standard errors as it lies from zero;
    // what balances out is grey.
    let lean = clamp(seen.mean * min(sqrt(seen.count) * 0.6, 6.0), -1.0, 1.0);
    let even = vec3<f32>(dot(cool + warm, vec3<f32>(0.1063, 0.3576, 0.0361)));
    let slate = mix(even, view.water.rgb, 0.35);
    return mix(slate, select(warm, cool, lean < 0.0), abs(lean));
}
