// The norm of the residual stream times 64 rows of the query, key and value matrices, or of those
// of them from FIRST_PART to LAST_PART, which share an encoding.
#define_import_path pixel_llm::phases::qkv
#import pixel_llm::types::QkvParams
#import pixel_llm::activations::{places, set_quad, inverse_rms}
#import pixel_llm::columns::columns_from
#ifdef ADAPTERS
#import pixel_llm::adapters::update_of
#endif
#import pixel_llm::multiply::{multiply_eight, of_column}

fn project_qkv(params: QkvParams, unit: u32, first: u32, lane: u32) {
    let query_rows = params.query.rows;
    let key_rows = params.key.rows;
    let stride = query_rows + key_rows + params.value.rows;

    // Which of the matrices, and which 64 rows of it.
    var group = unit;
    var part = #{FIRST_PART}u;
    var m = params.query;
    for (; part <= #{LAST_PART}u; part++) {
        m = params.query;
        if part == 1u {
            m = params.key;
        } else if part == 2u {
            m = params.value;
        }
        let groups = (m.rows + 63u) / 64u;
        if group < groups {
            break;
        }
        group -= groups;
    }
    if part > #{LAST_PART}u {
        return;
    }

    let row = (group * 8u + lane) * 8u;
    let columns = columns_from(first, params.columns);
    let products = multiply_eight(
        m, group * 64u, m, group * 64u + 4u, 8u, places.scaled, columns, lane,
    );
    let start = select(select(0u, query_rows, part >= 1u), query_rows + key_rows, part == 2u);
    for (var j = 0u; j < #{COLUMNS}u; j++) {
        let column = first + j;
        if column < params.columns {
            let scale = inverse_rms(column, m.columns, params.norm_epsilon, lane);
            if lane < 8u && row < m.rows {
                let at = places.projected + ((column * stride + start + row) >> 2u);
#ifdef ADAPTERS
                let low = update_of(part, row, column);
                let high = update_of(part, row + 4u, column);
#else
                let low = vec4<f32>();
                let high = vec4<f32>();
#endif
                set_quad(at, of_column(products.low, j) * scale + low);
                set_quad(at + 1u, of_column(products.high, j) * scale + high);
            }
        }
    }
}
