// What the drawing of the map is bound to. Shapes: quads and their order as in
// `world::layout::Quad`.
#define_import_path pixel_llm::view::bindings

// What a variant draws: quads of one encoding, or those without weights, in one way of looking at
// them. Constants and not conditions: the lanes of a software adapter walk through every branch
// that is compiled.
const IS_FLAT: bool = #{IS_FLAT};
// Of what is flat, the kind that has a colour. As in `world::layout`.
const FLAT: u32 = 255u;
// 0: a cell is a pixel or more. 1: less. 2: far less, and the coarse level is seen. 3: bytes.
const MODE: u32 = #{MODE}u;
// Whether the error is shown in the place of the weight.
const SHOWS_ERROR: bool = #{SHOWS_ERROR};

// What a pixel needs of a quad. It comes with the vertices: the lanes of a software adapter read a
// storage buffer one after the other.
struct Quad {
    // Where the tile begins in the page texture: the layer, then the line; or why it is not there.
    place: u32,
    width: u32, height: u32,
    row: i32, column: u32, tile: u32, kind: u32,
    rows: u32, columns: u32, scale: f32, state: u32,
    first_byte: u32, phase: u32,
}

struct View {
    // The cell in the middle of the screen: whole part, then the rest. Differences of whole cells
    // are exact however large the map is.
    centre: vec2<i32>,
    rest: vec2<f32>,
    // The screen in pixels.
    size: vec2<f32>,
    // Pixels per cell.
    scale: f32,
    // 0 weights, 1 bytes, 2 error.
    colouring: u32,
    ground: vec4<f32>,
    water: vec4<f32>,
    // How many spreads away from zero the outermost colour stands.
    range: f32,
    spare: f32,
    // Cells of a pixel from which on relief fades in, and from which on nothing else is seen.
    relief_fade: vec2<f32>,
}

// As in `world::draw::on_device`, `model::coarse` and `model::relief`.
const COARSE_ACROSS: u32 = 8192u;
const BLOCKS: u32 = 256u;
const RAMP: u32 = 128u;

// Bindings 0 and 1 are those of the kernels: `pixel_llm::page`.
// BLOCKS words per tile: height, light, glint and whether it is sea, as bytes, rows of blocks
// first; tile after tile in lines of COARSE_ACROSS words.
@group(0) @binding(2) var coarse: texture_2d<u32>;
// Weights from the most negative to the most positive, 255 and the glint of single ones; then 256
// of the error; then RAMP of land and RAMP of sea, from the lowest to the highest.
@group(0) @binding(3) var<uniform> palette: array<vec4<f32>, 768>;
@group(0) @binding(4) var<uniform> view: View;
