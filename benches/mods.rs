//! How long mods take to load: 200 of them with 25 contents each, of all kinds, read from a folder,
//! checked, ordered and applied.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pixel_llm::content::load;

const MODS: usize = 200;
const CONTENTS: usize = 25;

fn write_mods(folder: &Path) -> std::io::Result<()> {
    let registry = pixel_llm::app::kinds::registry();
    for at in 0..MODS {
        let inside = folder.join(format!("mod-{at}"));
        std::fs::create_dir(&inside)?;
        let manifest = format!(
            "(id: \"mod-{at}\", name: \"N\", version: \"1.0.0\", pixel_llm: \"*\", author: \"A\", \
             licence: \"MIT\")"
        );
        std::fs::write(inside.join("mod.ron"), manifest)?;
        for number in 0..CONTENTS {
            let kind = &registry.kinds()[number % registry.kinds().len()];
            // Names of agents and palettes are their own.
            let own = |name: &str| kind.example().replace(name, &format!("{name} {at} {number}"));
            let text = match kind.name() {
                "agent" => own("apprentice"),
                "palette" => own("my colours"),
                _ => kind.example().to_owned(),
            };
            std::fs::write(inside.join(format!("e-{at}-{number}.{}.ron", kind.name())), text)?;
        }
    }
    Ok(())
}

fn mods(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("the system has room for a folder");
    write_mods(folder.path()).expect("the folder can be written to");
    let registry = pixel_llm::app::kinds::registry();
    let loaded = load(&registry, Some(folder.path()));
    assert!(
        loaded.is_sound() && loaded.contents.len() > MODS * CONTENTS,
        "{} contents",
        loaded.contents.len()
    );
    let mut group = criterion.benchmark_group("mods");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("load 200 mods of 25 contents", |bencher| {
        bencher.iter(|| load(&registry, Some(folder.path())));
    });
    group.bench_function("load the built-in assets alone", |bencher| {
        bencher.iter(|| load(&registry, None))
    });
    group.finish();
}

criterion_group!(benches, mods);
criterion_main!(benches);
