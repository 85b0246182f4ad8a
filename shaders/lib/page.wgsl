// The page texture: the lines of every tile, 64 texels wide. Storage textures are read without the
// mip-level work that a sampled texture costs on a software adapter.
#define_import_path pixel_llm::page
#import pixel_llm::types::MatrixParams

@group(0) @binding(0) var weights: texture_storage_2d_array<rgba32uint, read>;
// Where every tile begins: its layer in the upper half, its first line there in the lower.
@group(0) @binding(1) var<storage, read> tile_place: array<u32>;

// One row of one tile: the texel column, the first line of its row group, the layer.
struct Row {
    x: u32,
    y: u32,
    layer: u32,
}

// Lavapipe compiles a kernel anew, each time it is bound, where a condition hangs on uniforms alone
// and unrolling a loop makes it larger; and it never frees what it made. So the conditions of all
// kernels have something else in them, as the minimum here.
fn tiles_across(m: MatrixParams) -> u32 {
    return min(
        (m.columns + m.columns_per_tile - 1u) / m.columns_per_tile, arrayLength(&tile_place),
    );
}

// Blocks of 32 columns in the tile `across` of a row group.
fn blocks_in_tile(m: MatrixParams, across: u32) -> u32 {
    return min(m.columns_per_tile, m.columns - across * m.columns_per_tile) >> 5u;
}

// The first of some consecutive rows of one row group, in the tile `across`.
fn locate(m: MatrixParams, row: u32, across: u32, lines_per_group: u32) -> Row {
    // The last workgroup may reach past the matrix; its surplus rows repeat the last one.
    let r = min(row, m.rows - 1u);
    let group = r >> 6u;
    let down = group / m.row_groups_per_tile;
    let tile = m.first_tile + down * tiles_across(m) + across;
    let place = tile_place[min(tile, arrayLength(&tile_place) - 1u)];
    let line = (place & 0xFFFFu) + (group - down * m.row_groups_per_tile) * lines_per_group;
    return Row(r & 63u, line, place >> 16u);
}

// The row `i` after a row of the same row group.
fn after(m: MatrixParams, r: Row, row: u32, i: u32) -> Row {
    return Row(min(row + i, m.rows - 1u) & 63u, r.y, r.layer);
}

fn texel(row: Row, line: u32) -> vec4<u32> {
    return textureLoad(weights, vec2<u32>(row.x, row.y + line), row.layer);
}
