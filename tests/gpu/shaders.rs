//! Every shader composes and validates, in every variant it is compiled with. No GPU is needed:
//! this is the check that a release build leaves out.

use std::collections::{HashMap, HashSet};

use bevy::shader::ShaderDefVal;
use naga_oil::compose::{
    ComposableModuleDescriptor, Composer, NagaModuleDescriptor, ShaderDefValue, ShaderType,
};
use pixel_llm::forward::gpu::kernels::{
    KernelFamily, KernelSource, SOURCES, adapters_def, has_adapters,
};
use pixel_llm::forward::gpu::shaders::{embedded, is_library};
use pixel_llm::training::gpu::kernels as training;
use pixel_llm::world::draw::Look;

use crate::bindings;

type Defs = HashMap<String, ShaderDefValue>;

fn defs(values: &[ShaderDefVal]) -> Defs {
    let value = |value: &ShaderDefVal| match value {
        ShaderDefVal::Bool(name, value) => (name.clone(), ShaderDefValue::Bool(*value)),
        ShaderDefVal::Int(name, value) => (name.clone(), ShaderDefValue::Int(*value)),
        ShaderDefVal::UInt(name, value) => (name.clone(), ShaderDefValue::UInt(*value)),
    };
    values.iter().map(value).collect()
}

/// A composer that knows `libraries`, whatever their order: one that imports another waits for it.
fn composer(libraries: &[(&str, &str)]) -> Result<Composer, String> {
    let mut composer = Composer::default().with_capabilities(
        wgpu::naga::valid::Capabilities::SUBGROUP
            | wgpu::naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32,
    );
    let mut waiting = libraries.to_vec();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut failures = Vec::new();
        waiting.retain(|(name, text)| {
            let library =
                ComposableModuleDescriptor { source: text, file_path: name, ..Default::default() };
            let failure =
                composer.add_composable_module(library).err().map(|error| error.to_string());
            failures.extend(failure.iter().map(|error| format!("{name}: {error}")));
            failure.is_some()
        });
        if waiting.len() == before {
            return Err(failures.join("\n"));
        }
    }
    Ok(composer)
}

fn compose(
    composer: &mut Composer,
    name: &str,
    text: &str,
    defs: Defs,
) -> Result<wgpu::naga::Module, String> {
    let entry = NagaModuleDescriptor {
        source: text,
        file_path: name,
        shader_type: ShaderType::Wgsl,
        shader_defs: defs,
        ..Default::default()
    };
    composer.make_naga_module(entry).map_err(|error| error.emit_to_string(composer))
}

fn libraries() -> Vec<(&'static str, &'static str)> {
    embedded().into_iter().filter(|(name, text)| is_library(name, text)).collect()
}

#[test]
fn every_kernel_composes_and_validates_in_every_variant() {
    let mut composer = composer(&libraries()).unwrap_or_else(|error| panic!("{error}"));
    let mut declared = HashSet::new();
    for (source, file) in kernels() {
        let (_, text) = embedded()
            .into_iter()
            .find(|(name, _)| *name == file)
            .unwrap_or_else(|| panic!("no {file}"));
        let variants = (source.variants)();
        assert!(!variants.is_empty(), "{file} is compiled at least once");
        for variant in with_adapters(source, variants).into_iter().flat_map(|variant| {
            KernelFamily::ALL.map(|family| [variant.clone(), family.shader_defs()].concat())
        }) {
            let module = compose(&mut composer, &file, text, defs(&variant))
                .unwrap_or_else(|error| panic!("{file} with {variant:?}:\n{error}"));
            let entry = module.entry_points.iter().find(|entry| entry.name == source.name);
            assert!(entry.is_some(), "{file} has the entry point {}", source.name);
            let textures = variant.contains(&ShaderDefVal::Bool("TEXTURES".into(), true));
            let all = source.bindings_with(&variant);
            let difference = bindings::difference(&module, &all, textures);
            assert_eq!(difference, None, "{file}");
            let names = bindings::names(&module).map(str::to_owned);
            declared.extend(names.map(|name| (names_of(source), name)));
        }
    }
    // The kernels of a layer share their bindings: what one of them leaves out another declares.
    for (source, _) in kernels() {
        // What is the layer's alone has a place in the lists of training too, which none declares.
        for name in names_of(source).into_iter().filter(|name| !is_of_training(source, name)) {
            let is_declared = declared.contains(&(names_of(source), name.to_owned()));
            assert!(is_declared, "no shader of {} and its like has {name}", source.name);
        }
    }
}

/// Kernels of a layer are compiled with adapters too.
fn with_adapters(
    source: &KernelSource,
    mut variants: Vec<Vec<ShaderDefVal>>,
) -> Vec<Vec<ShaderDefVal>> {
    let is_of_layer = source.bindings.iter().any(|bound| bound.name == "head_scale");
    if is_of_layer && !variants.iter().any(|variant| has_adapters(variant)) {
        let adapted = variants.iter().map(|variant| [&variant[..], &[adapters_def()]].concat());
        let adapted: Vec<_> = adapted.collect();
        variants.extend(adapted);
    }
    variants
}

/// All kernels and their files.
fn kernels() -> impl Iterator<Item = (&'static KernelSource, String)> {
    let of = |folder: &'static str| {
        move |source: &&'static KernelSource| (*source, format!("{folder}/{}.wgsl", source.name))
    };
    SOURCES.iter().map(of("kernels")).chain(training::SOURCES.iter().map(of("training")))
}

/// Whether a name is `places`, which no kernel of training has.
fn is_of_training(source: &KernelSource, name: &str) -> bool {
    name == "places" && training::SOURCES.iter().any(|other| std::ptr::eq(*other, source))
}

/// Names of what a kernel is bound to.
fn names_of(source: &KernelSource) -> Vec<&'static str> {
    source.bindings.iter().map(|bound| bound.name).collect()
}

/// The shader that draws the map.
const DRAWING: &str = "view/tiles.wgsl";
/// What draws light over the map.
const LIGHT: &str = "view/light.wgsl";

#[test]
fn the_drawing_composes_and_has_its_two_entries() {
    let mut composer = composer(&libraries()).unwrap_or_else(|error| panic!("{error}"));
    let (name, text) = embedded().into_iter().find(|(name, _)| *name == DRAWING).unwrap();
    assert!(Look::all().count() > 40);
    for look in Look::all() {
        let module = compose(&mut composer, name, text, defs(&look.shader_defs()))
            .unwrap_or_else(|error| panic!("{look:?}: {error}"));
        let entries: Vec<_> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(entries, ["corner", "tiles"], "{look:?}");
    }
    let (name, text) = embedded().into_iter().find(|(name, _)| *name == LIGHT).unwrap();
    let module =
        compose(&mut composer, name, text, Defs::new()).unwrap_or_else(|error| panic!("{error}"));
    let entries: Vec<_> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(entries, ["corner", "light"]);
}

#[test]
fn every_file_is_a_library_or_a_kernel() {
    for (name, text) in embedded() {
        let drawing = [DRAWING, LIGHT].contains(&name);
        let kernel = drawing || kernels().any(|(_, file)| file == name);
        assert!(kernel != is_library(name, text), "{name} is one of the two and not both");
    }
}

/// Shows that the checks above can fail.
#[test]
fn a_broken_shader_is_refused() {
    let broken = "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }";
    let error = compose(&mut Composer::default(), "broken.wgsl", broken, Defs::new()).unwrap_err();
    assert!(error.contains("broken.wgsl"), "{error}");
    let lonely =
        "#define_import_path lonely\n#import pixel_llm::absent::it\nfn f() -> f32 { return it(); }";
    assert!(composer(&[("lonely.wgsl", lonely)]).is_err(), "what it imports is nowhere");
}
