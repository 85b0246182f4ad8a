//! Builds the program anew when a built-in asset or a shader has changed, which the compiler does
//! not see by itself.

fn main() {
    println!("cargo::rerun-if-changed=assets");
    println!("cargo::rerun-if-changed=shaders");
}
