//! Where this program keeps what is the user's, as the platform has it.

use std::ffi::OsString;
use std::path::PathBuf;

use directories::ProjectDirs;

/// An environment variable; an empty one is as good as none.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn of_platform() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "pixel-llm")
}

/// For settings: `$PIXEL_LLM_CONFIG`, else the platform's. `None` where there is no home folder.
pub fn settings() -> Option<PathBuf> {
    let own = variable("PIXEL_LLM_CONFIG").map(PathBuf::from);
    own.or_else(|| Some(of_platform()?.config_dir().to_owned()))
}

/// For what the user makes. `None` where there is no home folder.
pub fn data() -> Option<PathBuf> {
    Some(of_platform()?.data_dir().to_owned())
}

/// For what can be made again. `None` where there is no home folder.
pub fn cache() -> Option<PathBuf> {
    Some(of_platform()?.cache_dir().to_owned())
}
