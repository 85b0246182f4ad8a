//! How much memory the program has, as the system accounts for it. Where the system does not tell,
//! there is `None`.

/// The most bytes that lay in memory at once since the program began.
pub(crate) fn peak_in_bytes() -> Option<u64> {
    field(&status()?, "VmHWM")
}

/// Bytes in memory now that no file stands behind: what the program itself asked for, and the
/// textures and buffers of a software adapter. Pages of mapped files are not among them: the system
/// takes these back as it likes.
pub fn own_in_bytes() -> Option<u64> {
    let status = status()?;
    Some(field(&status, "RssAnon")? + field(&status, "RssShmem")?)
}

/// Bytes of addresses that the program has mapped, in memory or not.
pub(crate) fn mapped_in_bytes() -> Option<u64> {
    field(&status()?, "VmSize")
}

/// Bytes that programs can ask for before the system has to take pages from others.
pub(crate) fn available_in_bytes() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

/// A size in Linux's account of a process.
fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    // Linux writes kB and means 1024 bytes.
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_found_among_the_other_lines() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   12 kB\nVmRSS:\t 9 kB\n";
        assert_eq!(field(status, "VmHWM"), Some(12 << 10));
        assert_eq!(field("Name:\tx\n", "VmHWM"), None);
        assert_eq!(field("VmHWM:\tmuch\n", "VmHWM"), None);
    }
}
