// The parameter structs of the kernels, field for field those of src/passes/params.rs.
#define_import_path pixel_llm::types

struct RmsNormParams {
    rows: u32,
    width: u32,
    epsilon: f32,
    // A uniform struct is a multiple of 16 bytes.
    padding: u32,
}
