//! Where this program keeps what is the user's, as the platform has it.

use std::path::PathBuf;

use directories::ProjectDirs;

fn of_platform() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "pixel-llm")
}

/// For settings: `$PIXEL_LLM_CONFIG`, else the platform's. `None` where there is no home folder.
pub fn settings() -> Option<PathBuf> {
    let own = std::env::var_os("PIXEL_LLM_CONFIG").map(PathBuf::from);
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
