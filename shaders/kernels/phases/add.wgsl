// 32 rows of a product with their biases, times a factor, added to the residual stream, which is
// left as the next norm reads it.
#define_import_path pixel_llm::phases::add
#import pixel_llm::types::MatrixParams
#import pixel_llm::lanes::lane_sum
#import pixel_llm::activations::{places, quad_at, set_quad}
#import pixel_llm::columns::columns_from
#import pixel_llm::layer_bindings::{layer, gains, vector_at, output_biases, down_biases}
#ifdef ADAPTERS
#import pixel_llm::adapters::update_of
#endif
#import pixel_llm::multiply::{multiply_four, of_column}

// Adds to COLUMNS of `count` columns. The activations begin at `place`, the weight of the next norm
// at `gain`, the biases at `bias`; `matrix` is its number among those of a layer.
fn add_to_residual(
    matrix: u32,
    m: MatrixParams,
    factor: f32,
    place: u32,
    gain: u32,
    bias: u32,
    unit: u32,
    first: u32,
    count: u32,
    lane: u32,
) {
    let quad = unit * 8u + lane;
    // The same for every column.
    let biases = vector_at(bias + quad);
    let product = multiply_four(m, unit * 32u, place, columns_from(first, count), lane);
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let column = first + j;
        if column < count {
            var v = vec4<f32>();
            if lane < 8u && quad * 4u < m.rows {
                let at = column * (m.rows >> 2u) + quad;
                var given = of_column(product, j) + biases;
#ifdef ADAPTERS
                given += update_of(matrix, quad * 4u, column);
#endif
                v = quad_at(places.residual + at) + given * factor;
                set_quad(places.residual + at, v);
                set_quad(places.scaled + at, v * gains[min(gain + quad, arrayLength(&gains) - 1u)]);
            }
            let s = v * v;
            let sum = lane_sum((s.x + s.y) + (s.z + s.w), lane);
            if lane == 0u {
                set_quad(
                    places.squares + column * ((m.rows + 31u) / 32u) + unit,
                    vec4<f32>(sum, 0.0, 0.0, 0.0),
                );
            }
        }
    }
}

// The matrix back from attention; the next norm is that of the feed-forward block.
fn add_attention(unit: u32, first: u32, count: u32, lane: u32) {
    let m = layer.project.matrix;
    let factor = layer.project.layer_scale;
    add_to_residual(
        3u, m, factor, places.attended, 0u, output_biases(), unit, first, count, lane,
    );
}

// The matrix back from the hidden layer; the next norm is that of the next layer.
fn add_feed_forward(unit: u32, first: u32, count: u32, lane: u32) {
    let m = layer.down.matrix;
    let factor = layer.down.layer_scale;
    add_to_residual(
        6u, m, factor, places.hidden, m.rows >> 2u, down_biases(), unit, first, count, lane,
    );
}
