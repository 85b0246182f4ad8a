// The encoding that a kernel is compiled for.
#define_import_path pixel_llm::encoding
#import pixel_llm::page::Row
#import pixel_llm::block::Weights
#ifdef ENCODING_F32
#import pixel_llm::encodings::f32 as chosen
#endif
#ifdef ENCODING_F16
#import pixel_llm::encodings::f16 as chosen
#endif
#ifdef ENCODING_BF16
#import pixel_llm::encodings::bf16 as chosen
#endif
#ifdef ENCODING_Q8_0
#import pixel_llm::encodings::q8_0 as chosen
#endif
#ifdef ENCODING_Q4_0
#import pixel_llm::encodings::q4_0 as chosen
#endif
#ifdef ENCODING_Q4_1
#import pixel_llm::encodings::q4_1 as chosen
#endif
#ifdef ENCODING_Q5_0
#import pixel_llm::encodings::q5_0 as chosen
#endif
#ifdef ENCODING_Q5_1
#import pixel_llm::encodings::q5_1 as chosen
#endif
#ifdef ENCODING_Q4_K
#import pixel_llm::encodings::q4_k as chosen
#endif
#ifdef ENCODING_Q5_K
#import pixel_llm::encodings::q5_k as chosen
#endif
#ifdef ENCODING_Q6_K
#import pixel_llm::encodings::q6_k as chosen
#endif

// What activation 4 * lane and the next three are multiplied with, so that bits need not be shifted
// into place.
fn prescale(lane: u32) -> vec4<f32> {
    return chosen::prescale(lane);
}

// Lines of a row group in a tile of `n` blocks of 32 columns.
fn lines_of(n: u32) -> u32 {
    return chosen::lines_of(n);
}

// Block `c` of a row in a tile of `n` blocks.
fn weights_at(r: Row, c: u32, n: u32) -> Weights {
    return chosen::weights_at(r, c, n);
}

// The values of a block of weights.
fn values_of(w: Weights) -> array<vec4<f32>, 8> {
    var values = w.codes;
    for (var i = 0u; i < 8u; i++) {
        let high = i >= 4u;
        values[i] = values[i] * prescale(i) * select(w.scale.x, w.scale.y, high) + select(w.offset.x, w.offset.y, high);
    }
    return values;
}
