// One weight of a tile, decoded where it lies by the file that the kernels decode with.
#define_import_path pixel_llm::view::weight
#import pixel_llm::view::bindings::Quad
#import pixel_llm::page::Row
#import pixel_llm::encoding::{lines_of, weight_at}

// The weight, what one more of its code would add to it, and the byte of the tile where its code
// begins.
struct Cell { value: f32, step: f32, offset: u32 }

// 0 rows along x, 1 columns along x, 2 a vector.
fn orientation(q: Quad) -> u32 {
    return (q.kind >> 8u) & 0xFFu;
}

// Texel `x` of a line of a tile, and those of the lines below it.
fn texels_at(q: Quad, x: u32, line: u32) -> Row {
    return Row(x & 63u, (q.place & 0xFFFFu) + line, q.place >> 16u);
}

#ifdef FLOAT_BYTES
// A vector's floats lie one after another: in its texel, each is one of the first of a row.
fn vector_weight(q: Quad, element: u32) -> Cell {
    let offset = q.first_byte + element * #{FLOAT_BYTES}u;
    let texels = texels_at(q, offset >> 4u, offset >> 10u);
    let w = weight_at(texels, 0u, (offset & 15u) / #{FLOAT_BYTES}u, 1u);
    return Cell(w.value, w.step, offset);
}
#endif

fn matrix_weight(q: Quad, row: u32, column: u32) -> Cell {
    let n = q.columns >> 5u;
    let top = (row >> 6u) * lines_of(n);
    let w = weight_at(texels_at(q, row, top), column >> 5u, column & 31u, n);
    return Cell(w.value, w.step, ((top + w.line) * 64u + (row & 63u)) * 16u + w.byte);
}
