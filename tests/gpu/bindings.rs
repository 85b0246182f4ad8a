//! The variables that a shader declares are those that its kernel is bound to: each by its name,
//! its number and its kind.

use std::collections::HashSet;

use pixel_llm::forward::gpu::kernels::{Binding, BindingKind, SOURCES};
use wgpu::naga::{
    AddressSpace, GlobalVariable, ImageClass, Module, StorageAccess, StorageFormat, TypeInner,
    front::wgsl,
};

/// What the composer puts behind the name of a variable that comes from a library.
const DECORATION: &str = "X_naga_oil_mod_X";

/// Names of the variables that a module is bound to.
pub fn names(module: &Module) -> impl Iterator<Item = &str> {
    let bound = module.global_variables.iter().filter(|(_, global)| global.binding.is_some());
    bound.map(|(_, global)| name(global))
}

fn name(global: &GlobalVariable) -> &str {
    let name = global.name.as_deref().unwrap_or_default();
    name.split(DECORATION).next().unwrap_or_default()
}

/// Whether a variable is of a kind, where quads are in textures or not.
fn is_kind(module: &Module, global: &GlobalVariable, kind: BindingKind, textures: bool) -> bool {
    let writes = |access: StorageAccess| access.contains(StorageAccess::STORE);
    let image = |wanted: StorageFormat, is_written: bool| match module.types[global.ty].inner {
        TypeInner::Image { class: ImageClass::Storage { format, access }, .. } => {
            format == wanted && writes(access) == is_written
        }
        _ => false,
    };
    match (kind, global.space) {
        (BindingKind::Pages, AddressSpace::Handle) => image(StorageFormat::Rgba32Uint, false),
        (BindingKind::Quads, AddressSpace::Handle) => {
            textures && image(StorageFormat::Rgba32Float, true)
        }
        (BindingKind::Quads, AddressSpace::Storage { access }) => !textures && writes(access),
        (BindingKind::Read, AddressSpace::Storage { access }) => !writes(access),
        (BindingKind::Write, AddressSpace::Storage { access }) => writes(access),
        (BindingKind::Params(size), AddressSpace::Uniform) => {
            matches!(module.types[global.ty].inner,
                TypeInner::Struct { span, .. } if span as usize == size)
        }
        _ => false,
    }
}

/// The first variable of a module that is not what a kernel binds there.
pub fn difference(module: &Module, bindings: &[Binding], textures: bool) -> Option<String> {
    module.global_variables.iter().find_map(|(_, global)| {
        let place = global.binding.as_ref()?;
        let bound = bindings.get(place.binding as usize).filter(|_| place.group == 0);
        let same = bound.is_some_and(|bound| {
            bound.name == name(global) && is_kind(module, global, bound.kind, textures)
        });
        let found = (name(global), place.group, place.binding, global.space);
        (!same).then(|| format!("the shader has {found:?}, the kernel binds {bound:?}"))
    })
}

const TWO: &[Binding] = &[
    Binding { name: "keys", kind: BindingKind::Read },
    Binding { name: "values", kind: BindingKind::Read },
    Binding { name: "params", kind: BindingKind::Params(16) },
];

fn parsed(variables: &str) -> Module {
    wgsl::parse_str(variables).unwrap_or_else(|error| panic!("{error}: {variables}"))
}

#[test]
fn swapped_buffers_another_kind_and_another_size_are_seen() {
    let right = "@group(0) @binding(0) var<storage, read> keys: array<f32>;
        @group(0) @binding(1) var<storage, read> values: array<f32>;
        struct Params { a: vec4<u32> }
        @group(0) @binding(2) var<uniform> params: Params;";
    assert_eq!(difference(&parsed(right), TWO, false), None);
    for wrong in [
        "@group(0) @binding(1) var<storage, read> keys: array<f32>;
        @group(0) @binding(0) var<storage, read> values: array<f32>;",
        "@group(0) @binding(0) var<storage, read_write> keys: array<f32>;",
        "@group(1) @binding(0) var<storage, read> keys: array<f32>;",
        "@group(0) @binding(3) var<storage, read> more: array<f32>;",
        "struct Params { a: vec4<u32>, b: u32 }
        @group(0) @binding(2) var<uniform> params: Params;",
    ] {
        assert!(difference(&parsed(wrong), TWO, false).is_some(), "{wrong}");
    }
}

#[test]
fn no_name_is_bound_twice() {
    for source in SOURCES {
        let names: HashSet<_> = source.bindings.iter().map(|bound| bound.name).collect();
        assert_eq!(names.len(), source.bindings.len(), "{}", source.name);
    }
}
