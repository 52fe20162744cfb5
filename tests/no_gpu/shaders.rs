//! Every variant of every kernel: links, parses, validates, agrees with what Rust says of it, and builds on wgpu's
//! `noop` device.

use std::collections::{BTreeMap, HashSet};

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, SourceLocation, StorageAccess, TypeInner};
use wattle::kernel::{AnyLaunch, BindingKind, MAX_SEQUENCES, Params, SPAN_BYTES, SequenceSpan, SpanHeader};
use wattle::kernels::all_variants;
use wattle::shader::Source;

use crate::lints::{self, Breach};

/// Collects every failure before failing, so that one run shows all of them.
fn check_all(mut check: impl FnMut(&dyn AnyLaunch) -> Result<(), String>) {
    let mut failures = Vec::new();
    let mut kinds = HashSet::new();
    for launch in all_variants() {
        if let Err(message) = check(launch.as_ref()) {
            // The same mistake in a thousand variants is one mistake.
            if kinds.insert((launch.name(), message.clone())) {
                failures.push(format!("{}\n  {message}", launch.source()));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

fn parse(launch: &dyn AnyLaunch) -> Result<naga::Module, String> {
    let source = launch.source();
    let text = source.text();
    naga::front::wgsl::parse_str(&text).map_err(|error| {
        format!("{}: {}", place(&source, error.location(&text)), error.emit_to_string(&text))
    })
}

/// `file:line` of a place in the linked text.
fn place(source: &Source, location: Option<SourceLocation>) -> String {
    let (file, line) = source.locate(location.map_or(0, |location| location.line_number));
    format!("{file}:{line}")
}

#[test]
fn every_variant_is_listed_once() {
    let mut seen = HashSet::new();
    for launch in all_variants() {
        assert!(seen.insert(launch.source()), "listed twice: {}", launch.source());
    }
    for kernel in std::fs::read_dir("shaders").unwrap() {
        let path = kernel.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wgsl") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(all_variants().iter().any(|launch| launch.name() == name), "no kernel lists {name}.wgsl");
        }
    }
    if let Ok(folder) = std::env::var("WATTLE_VARIANTS_DIR") {
        let lines: Vec<_> =
            all_variants().iter().map(|launch| format!("{}\t{}", launch.name(), launch.source())).collect();
        std::fs::write(format!("{folder}/all.txt"), lines.join("\n") + "\n").unwrap();
    }
}

#[test]
fn every_variant_validates_and_keeps_the_rules() {
    check_all(|launch| {
        let module = parse(launch)?;
        let source = launch.source();
        let text = source.text();
        let info = Validator::new(
            ValidationFlags::all(),
            Capabilities::SHADER_FLOAT16
                | Capabilities::SHADER_FLOAT16_IN_FLOAT32
                | Capabilities::SUBGROUP
                | Capabilities::COOPERATIVE_MATRIX,
        )
        .validate(&module)
        .map_err(|error| {
            format!("{}: {}", place(&source, error.location(&text)), error.emit_to_string(&text))
        })?;
        let broken = lints::breaches(&module, &info).into_iter().map(|Breach { span, message }| {
            format!("{}: {message}", place(&source, Some(span.location(&text))))
        });
        let broken: Vec<_> = broken.collect();
        if broken.is_empty() { Ok(()) } else { Err(broken.join("\n  ")) }
    });
}

#[test]
fn bindings_and_params_are_those_of_the_shader() {
    check_all(|launch| {
        let module = parse(launch)?;
        let mut in_shader = BTreeMap::new();
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = variable.binding else { continue };
            let kind = match variable.space {
                AddressSpace::Uniform if variable.name.as_deref() == Some("params") => BindingKind::Params,
                AddressSpace::Uniform => BindingKind::Span,
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                    BindingKind::Write
                }
                _ => BindingKind::Read,
            };
            in_shader.insert(binding.binding, (variable.name.clone().unwrap_or_default(), kind));
        }
        let mut in_rust = BTreeMap::new();
        for binding in launch.bindings() {
            if in_rust.insert(binding.index, (binding.name.to_owned(), binding.kind)).is_some() {
                return Err(format!("binding {} is claimed twice", binding.index));
            }
        }
        if in_shader != in_rust {
            return Err(format!("bindings\n  in WGSL {in_shader:?}\n  in Rust {in_rust:?}"));
        }
        let storage =
            in_rust.values().filter(|(_, kind)| !matches!(kind, BindingKind::Params | BindingKind::Span));
        if storage.count() > 8 {
            return Err("more than the 8 storage buffers that every device has".into());
        }
        let spans: Vec<_> =
            module.types.iter().filter(|(_, ty)| ty.name.as_deref() == Some("Span")).collect();
        for (_, ty) in spans {
            span_agrees(&module, ty)?;
        }
        params_agree(launch, &module)
    });
}

/// The header, and behind it as many sequences as fit.
fn span_agrees(module: &naga::Module, ty: &naga::Type) -> Result<(), String> {
    let TypeInner::Struct { members, span } = &ty.inner else { return Err("span is no struct".into()) };
    let (of, header) = members.split_last().ok_or("span is empty")?;
    let header = TypeInner::Struct { members: header.to_vec(), span: of.offset };
    let header = naga::Type { name: None, inner: header };
    agree("span", module, &header, SpanHeader::FIELDS, size_of::<SpanHeader>() as u64)?;
    let TypeInner::Array { base, size, .. } = module.types[of.ty].inner else {
        return Err("span.each is no array".into());
    };
    agree("span.each", module, &module.types[base], SequenceSpan::FIELDS, size_of::<SequenceSpan>() as u64)?;
    let sequences = match size {
        naga::ArraySize::Constant(size) => size.get(),
        _ => 0,
    };
    if sequences != MAX_SEQUENCES || u64::from(*span) != SPAN_BYTES {
        return Err(format!("{sequences} sequences in {span} bytes, not {MAX_SEQUENCES} in {SPAN_BYTES}"));
    }
    Ok(())
}

fn params_agree(launch: &dyn AnyLaunch, module: &naga::Module) -> Result<(), String> {
    let (_, variable) = module
        .global_variables
        .iter()
        .find(|(_, variable)| variable.name.as_deref() == Some("params"))
        .ok_or("no params")?;
    let bytes = launch.params().len() as u64;
    agree("params", module, &module.types[variable.ty], launch.param_fields(), bytes)
}

/// Whether a struct has the members that Rust says, of the same types and at the same places.
fn agree(
    what: &str,
    module: &naga::Module,
    ty: &naga::Type,
    fields: &[(&str, &str)],
    bytes: u64,
) -> Result<(), String> {
    let TypeInner::Struct { members, span } = &ty.inner else { return Err(format!("{what} is no struct")) };
    let scalar = |ty: naga::Handle<naga::Type>| match module.types[ty].inner {
        TypeInner::Scalar(naga::Scalar::U32) => "u32",
        TypeInner::Scalar(naga::Scalar::F32) => "f32",
        _ => "another type",
    };
    let in_shader: Vec<_> = members
        .iter()
        .map(|member| (member.name.as_deref().unwrap_or_default(), scalar(member.ty), member.offset))
        .collect();
    let in_rust: Vec<_> =
        fields.iter().zip((0u32..).step_by(4)).map(|((name, ty), at)| (*name, *ty, at)).collect();
    if in_shader != in_rust || u64::from(*span) != bytes {
        return Err(format!(
            "{what}\n  in WGSL {in_shader:?}, {span} bytes\n  in Rust {in_rust:?}, {bytes} bytes"
        ));
    }
    Ok(())
}

#[test]
fn workgroups_fit_every_device() {
    check_all(|launch| {
        let module = parse(launch)?;
        let lanes: u32 = module.entry_points[0].workgroup_size.iter().product();
        if lanes > 256 {
            return Err(format!("{lanes} lanes, every device has 256"));
        }
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| layouter[variable.ty].size)
            .sum();
        if bytes > 16_384 {
            return Err(format!("{bytes} bytes of workgroup memory, every device has 16384"));
        }
        Ok(())
    });
}

#[test]
fn every_variant_builds_on_a_device_that_does_nothing() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor {
        required_features: wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX,
        // SAFETY: the device does nothing.
        experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
        ..Default::default()
    });
    let gpu = wattle::Gpu::from_device(&device, &queue);
    check_all(|launch| pollster::block_on(gpu.build_only(launch)).map_err(|error| error.to_string()));
}
