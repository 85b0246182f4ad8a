//! Damaged and hostile GGUF files: each is refused with a typed error that names the field.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common::gguf_builder::GgufBuilder;
use crate::common::gguf_hostile_cases::{cases, valid};
use pixel_llm::model::gguf::{Gguf, GgufError, parse};

/// What `Gguf::open` says of these bytes in a file.
fn open(bytes: &[u8]) -> Result<Gguf, GgufError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.gguf");
    std::fs::write(&path, bytes).unwrap();
    Gguf::open(&path)
}

#[test]
fn the_file_that_the_cases_damage_is_valid() {
    open(&valid().build()).unwrap();
}

#[test]
fn every_hostile_file_is_refused_by_name() {
    for case in cases() {
        let error = match open(&case.file) {
            Ok(_) => panic!("{}: was taken for a valid file", case.name),
            Err(error) => error,
        };
        assert!((case.expected)(error.problem()), "{}: {error:?}", case.name);
        let message = error.to_string();
        assert!(message.contains("hostile.gguf"), "{}: {message}", case.name);
        for word in case.words {
            assert!(message.contains(word), "{}: {message:?} does not name {word:?}", case.name);
        }
    }
}

#[test]
fn every_shorter_file_is_refused() {
    let file = valid().without_last_padding().build();
    assert!(parse(&file).is_ok());
    for len in 0..file.len() {
        assert!(parse(&file[..len]).is_err(), "the first {len} of {} bytes", file.len());
    }
}

#[test]
fn a_file_cut_by_1_to_64_bytes_is_refused_as_cut() {
    let file = valid().without_last_padding().build();
    for cut in 1..=64 {
        let error = open(&file[..file.len() - cut]).unwrap_err();
        assert!(matches!(error.problem(), GgufError::PastEnd { .. }), "cut by {cut}: {error}");
        assert!(error.to_string().contains("output_norm.weight"), "cut by {cut}: {error}");
    }
}

#[test]
fn the_first_1_to_64_bytes_are_refused_as_cut() {
    let file = valid().build();
    for len in 1..=64 {
        let error = open(&file[..len]).unwrap_err();
        let typed =
            matches!(error.problem(), GgufError::Truncated { .. } | GgufError::TooMany { .. });
        assert!(typed, "the first {len} bytes: {error}");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_nothing() {
    let mut file = valid().build();
    let expected = parse(&file).unwrap().tensors;
    for count in 1..=64 {
        file.push(0xA5);
        assert_eq!(parse(&file).unwrap().tensors, expected, "{count} bytes more");
    }
}

#[test]
fn no_single_flipped_bit_and_no_changed_byte_is_a_panic() {
    let file = valid().build();
    let header = parse(&file).unwrap().data_start as usize;
    for at in 0..header {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            // Some changes make another valid file; what matters here is that each gives an answer.
            let _ = parse(&damaged);
        }
    }
}

#[test]
fn no_field_of_eight_bytes_is_a_panic_at_its_extremes() {
    let file = valid().build();
    let header = parse(&file).unwrap().data_start as usize;
    for at in 0..header - 8 {
        for extreme in [
            0,
            1,
            1 << 31,
            u64::from(u32::MAX),
            1 << 62,
            i64::MAX as u64,
            1 << 63,
            u64::MAX - 31,
            u64::MAX,
        ] {
            let mut damaged = file.clone();
            damaged[at..at + 8].copy_from_slice(&extreme.to_le_bytes());
            let _ = parse(&damaged);
        }
    }
}

#[test]
fn an_unknown_type_is_named_for_who_must_choose_another_file() {
    let file = valid().change(|tensor| tensor.ggml_type = 20).build();
    let message = parse(&file).unwrap_err().to_string();
    assert!(message.contains("IQ4_NL") && message.contains("Q4_K"), "{message}");
}

/// Memory, seen from outside: the process must not grow by more than a little for files of a few
/// hundred bytes, even for an instant. The peak of the address space counts memory that was asked
/// for and never touched.
#[cfg(target_os = "linux")]
#[test]
fn no_hostile_file_makes_the_process_grow() {
    const CHILD: &str = "PIXEL_LLM_TEST_HOSTILE_CHILD";
    const ALLOWED_KIB: u64 = 1024;
    fn status_kib(field: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    /// By how much `work` raises the peak. An untouched ballast lifts the present size to the peak
    /// first, or what fits under an earlier peak would not be seen.
    fn growth_kib(work: impl FnOnce()) -> u64 {
        let slack_kib = status_kib("VmPeak:") - status_kib("VmSize:");
        let ballast = std::hint::black_box(Vec::<u8>::with_capacity((slack_kib as usize) << 10));
        let before = status_kib("VmPeak:");
        work();
        drop(ballast);
        status_kib("VmPeak:") - before
    }
    // Other tests of this file run beside this one, so the measurement has a process of its own.
    if std::env::var_os(CHILD).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "no_hostile_file_makes_the_process_grow", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let cases = cases();
    let _ = parse(&GgufBuilder::new().build());
    for case in cases {
        let grown = growth_kib(|| drop(parse(&case.file)));
        assert!(grown <= ALLOWED_KIB, "{}: the peak grew by {grown} KiB", case.name);
    }
    // The measurement sees an allocation that is never touched.
    let grown = growth_kib(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(4 << 20))));
    assert!(grown > ALLOWED_KIB, "4 MiB were seen as {grown} KiB");
}
