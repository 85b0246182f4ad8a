//! Packed mods and links: nothing gets out of a mod, and an archive does not swell.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::io::Write;
use std::path::Path;

use pixel_llm::content::source::{MAX_FILE_IN_BYTES, Source, read_archive};
use pixel_llm::content::{load, pack};

use crate::made::{in_use, manifest, problems};

#[cfg(unix)]
#[test]
fn a_link_inside_a_mod_is_refused_wherever_it_leads() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("m");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("mod.ron"), manifest("m", "")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", inside.join("e.experiment.ron")).unwrap();
    std::os::unix::fs::symlink("/", inside.join("all")).unwrap();
    let loaded = load(&pixel_llm::app::kinds::registry(), Some(folder.path()));
    let said = problems(&loaded);
    assert_eq!(said[0], "m/all: is a link; a mod holds its files itself");
    assert_eq!(said[1], "m/e.experiment.ron: is a link; a mod holds its files itself");
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn an_archive_cannot_reach_out_link_or_swell() {
    let good = manifest("m", "");
    let refused = |name: &str, bytes: &[u8]| {
        let archive = zip_of(&[("mod.ron", good.as_bytes()), (name, bytes)]);
        read_archive("z.zip", &archive).unwrap_err()[0].message.clone()
    };
    assert!(refused("../e.experiment.ron", b"").contains("leads out of its folder"));
    assert!(refused("a/../../e.experiment.ron", b"").contains("leads out of its folder"));
    assert!(refused("/etc/e.experiment.ron", b"").contains("is an absolute path"));
    assert!(
        refused("C:\\e.experiment.ron", b"").contains("has a character that paths cannot have")
    );
    assert!(
        refused("a\\..\\e.experiment.ron", b"").contains("has a character that paths cannot have")
    );
    assert!(refused("con.experiment.ron", b"").contains("names a device"));
    assert!(refused("MOD.ron", b"").contains("two files have this name"));
    assert!(refused("a.wgsl", b"").contains("cannot bring shaders"));
    // A bomb: four gigabytes would come out of a few kilobytes if they were believed; reading ends
    // at the limit.
    let bomb = vec![b' '; MAX_FILE_IN_BYTES as usize + 1];
    assert!(refused("e.experiment.ron", &bomb).contains("has more than"));
    let one = vec![b' '; MAX_FILE_IN_BYTES as usize];
    let names: Vec<_> = (0..9).map(|at| format!("e{at}.experiment.ron")).collect();
    let many: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), one.as_slice())).collect();
    assert!(
        read_archive("z.zip", &zip_of(&many)).unwrap_err()[0]
            .message
            .contains("the mod's files have more than")
    );
    let names: Vec<_> = (0..5000).map(|at| format!("e{at}.txt")).collect();
    let many: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    assert!(
        read_archive("z.zip", &zip_of(&many)).unwrap_err()[0]
            .message
            .contains("more than 4096 files")
    );

    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.add_symlink("e.experiment.ron", "/etc/passwd", zip::write::SimpleFileOptions::default())
        .unwrap();
    let link = zip.finish().unwrap().into_inner();
    assert!(read_archive("z.zip", &link).unwrap_err()[0].message.contains("is a link"));
    assert!(
        read_archive("z.zip", b"PK\x03\x04").unwrap_err()[0].message.contains("no zip archive")
    );
    let whole = zip_of(&[("mod.ron", good.as_bytes())]);
    for cut in 0..whole.len() {
        assert!(read_archive("z.zip", &whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_packed_mod_is_the_mod() {
    let folder = tempfile::tempdir().unwrap();
    let registry = pixel_llm::app::kinds::registry();
    let all: Vec<_> = registry.kinds().iter().map(|kind| kind.name()).collect();
    pack::write_template(&registry, &folder.path().join("fresh"), "fresh", &all).unwrap();
    let source = Source::read(&folder.path().join("fresh")).unwrap();
    let mut archive = std::io::Cursor::new(Vec::new());
    pack::write_archive(&source, Path::new("."), &[], &mut archive).unwrap();
    assert_eq!(read_archive("fresh", archive.get_ref()).unwrap(), source.files);
    let loaded = load(&registry, Some(folder.path()));
    assert_eq!(problems(&loaded), [""; 0], "a template is sound");
    assert_eq!(in_use(&loaded), ["core", "fresh"]);
}
