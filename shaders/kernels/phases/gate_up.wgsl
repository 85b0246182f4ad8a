// The norm of the residual stream times 32 rows of gate and of up, with their biases:
// silu(gate) * up.
#define_import_path pixel_llm::phases::gate_up
#import pixel_llm::types::GateUpParams
#import pixel_llm::activations::{places, set_quad, inverse_rms}
#import pixel_llm::columns::columns_from
#import pixel_llm::layer_bindings::{hidden_biases, vector_at}
#ifdef ADAPTERS
#import pixel_llm::adapters::update_of
#endif
#import pixel_llm::multiply::{multiply_eight, of_column}

fn gate_and_up(params: GateUpParams, unit: u32, first: u32, lane: u32) {
    let quad = unit * 8u + lane;
    let gate_biases = vector_at(hidden_biases() + quad);
    let up_biases = vector_at(hidden_biases() + (params.gate.rows >> 2u) + quad);
    let columns = columns_from(first, params.columns);
    let products = multiply_eight(
        params.gate, unit * 32u, params.up, unit * 32u, 4u, places.scaled, columns, lane,
    );
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let column = first + j;
        if column < params.columns {
            let scale = inverse_rms(column, params.gate.columns, params.norm_epsilon, lane);
            var gate = of_column(products.low, j) * scale + gate_biases;
            var up = of_column(products.high, j) * scale + up_biases;
            if lane < 8u && quad * 4u < params.gate.rows {
#ifdef ADAPTERS
                gate += update_of(4u, quad * 4u, column);
                up += update_of(5u, quad * 4u, column);
#endif
                let at = column * (params.gate.rows >> 2u) + quad;
                set_quad(places.hidden + at, gate / (vec4<f32>(1.0) + exp(-gate)) * up);
            }
        }
    }
}
