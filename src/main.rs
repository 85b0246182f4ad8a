//! Arguments to mode to exit code, nothing else.

fn main() -> std::process::ExitCode {
    pixel_llm::app::main()
}
