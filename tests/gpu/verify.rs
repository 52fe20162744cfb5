//! Golden models and the bundled ones: every one in f32 with and without optional features, and in a selection of formats.

use wattle::Error;
use wattle::fragments::CacheFormat;
use wattle::gpu::Capabilities;
use wattle::model::plan::WeightPlan;
use wattle::quant::WeightFormat;
use wattle::tuning::{ProductPath, Tuning};
use wattle::verify::{Arithmetic, Case, Device, check};

use crate::harness::{block_on, gpu};
use crate::select::{every, selection, wants_everything};
use crate::session::harness::F32;
use crate::support::golden::directory;

#[path = "../support/models.rs"]
mod models;
use models::MODELS;

#[path = "../support/near_tie.rs"]
mod near_tie;

/// Each format, and each way to share scales.
const FORMATS: [&str; 12] = [
    "f16",
    "int8",
    "int4",
    "int2",
    "int6",
    "int3:64",
    "int8:64",
    "int4:64",
    "int2:128",
    "int8:channel",
    "int4:128",
    "int2:channel",
];

/// Golden models of families that are read.
fn cases() -> Vec<Case> {
    let directory = directory();
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let bundled = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    paths.extend(["stories", "stories-nested"].map(|name| bundled.join(name)));
    paths.retain(|path| path.join("golden.safetensors").is_file());
    paths.sort();
    let open = |path: &std::path::PathBuf| match Case::open(path) {
        Ok(case) => Some(case),
        Err(Error::UnknownModel { .. }) => None,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let cases: Vec<_> = paths.iter().filter_map(open).collect();
    for name in MODELS.iter().chain(&["stories", "stories-nested"]) {
        assert!(
            cases.iter().any(|case| case.name == *name),
            "no golden model '{name}' in {}",
            directory.display()
        );
    }
    cases
}

/// What failed, in one line each.
fn failure(case: &Case, plan: &WeightPlan, baseline: bool) -> Option<String> {
    failure_on(case, plan, ProductPath::Float.into(), &["mat"], baseline)
}

/// What the table for GPUs makes of products, on whatever device this is.
fn as_on_gpus(path: ProductPath) -> Arithmetic {
    let gpu = Capabilities { is_cpu: false, ..Capabilities::webgpu() };
    Arithmetic { path, tuning: Some(Tuning::shipped(&gpu).into()), ..Arithmetic::default() }
}

/// The same on a path, of which kernels must have run that begin so.
fn failure_on(
    case: &Case,
    plan: &WeightPlan,
    products: Arithmetic,
    kernels: &[&str],
    baseline: bool,
) -> Option<String> {
    let device = Device::Gpu(gpu().with_baseline(baseline));
    let (name, linear, experts) = (&case.name, plan.linear, plan.experts);
    let at = format!("{name} in {linear}, experts {experts}, {:?}, baseline {baseline}", products.path);
    match block_on(check(case, &device, plan, products)) {
        Ok(report) => {
            let has_run =
                |kernel: &&&str| report.dispatches.iter().any(|(name, _)| name.starts_with(**kernel));
            match kernels.iter().find(|kernel| !has_run(kernel)) {
                Some(missing) => Some(format!("{at}: no {missing} in {:?}", report.dispatches)),
                None => (!report.passed()).then(|| format!("{at}: {report}")),
            }
        }
        Err(error) => Some(format!("{at}: {error}")),
    }
}

fn assert_none(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn f32_is_golden() {
    let mut failures = Vec::new();
    for case in every(1, cases()) {
        failures.extend(failure(&case, &F32, false));
    }
    for case in every(3, cases()) {
        failures.extend(failure(&case, &F32, true));
    }
    assert_none(failures);
}

/// Every model in a format and every format on a model, with and without optional features by turns; experts in another
/// format than the rest.
#[test]
fn other_formats_agree_with_the_reference() {
    let all = wants_everything();
    let format = |n: usize| FORMATS[n % FORMATS.len()].parse::<WeightFormat>().unwrap();
    let mut failures = Vec::new();
    for (c, case) in every(1, cases().into_iter().enumerate()) {
        for n in 0..FORMATS.len() {
            let chosen = all || (c + n).is_multiple_of(FORMATS.len());
            let plan = WeightPlan { experts: format(n + 2), ..WeightPlan::uniform(format(n)) };
            for baseline in [false, true] {
                if all || (chosen && baseline == c.is_multiple_of(2)) {
                    failures.extend(failure(&case, &plan, baseline));
                }
            }
        }
    }
    assert_none(failures);
}

/// [`every`] n-th case, counted from another number in each run, so that what goes by turns goes by others.
fn some_of(n: usize) -> impl Iterator<Item = (usize, Case)> {
    every(n, cases()).enumerate().map(|(c, case)| (c + selection(), case))
}

/// Inputs rounded to codes, on the device and by the reference.
#[test]
fn the_integer_path_rounds_as_the_reference_does() {
    let formats = ["int8", "int4:planes", "int2:64", "int6:channel", "int3:parent", "int4:f16"];
    let mut failures = Vec::new();
    for (c, case) in some_of(4) {
        let format = |n: usize| formats[n % formats.len()].parse::<WeightFormat>().unwrap();
        let plan = WeightPlan { experts: format(c + 4), ..WeightPlan::uniform(format(c)) };
        failures.extend(failure_on(&case, &plan, ProductPath::Integer.into(), &["quantize"], c % 2 == 0));
    }
    assert_none(failures);
}

/// Keys and values rounded on their way into the cache, on the device and by the reference.
#[test]
fn caches_round_as_the_reference_does() {
    let mut failures = Vec::new();
    for (c, case) in some_of(8) {
        let cache = [CacheFormat::F16, CacheFormat::Int8][c % 2];
        failures.extend(failure_on(
            &case,
            &F32,
            Arithmetic { cache, ..Arithmetic::default() },
            &["attention"],
            false,
        ));
    }
    assert_none(failures);
}

/// Workgroups that share an output, and tiles in workgroup memory.
#[test]
fn kernels_of_gpus_agree_with_the_reference() {
    let mut failures = Vec::new();
    for (c, case) in some_of(8) {
        let plan = WeightPlan::uniform(["int4", "int8:planes", "f16"][c % 3].parse().unwrap());
        for path in [ProductPath::Float, ProductPath::Integer] {
            failures.extend(failure_on(&case, &plan, as_on_gpus(path), &["matmul"], c % 2 == 1));
        }
    }
    assert_none(failures);
}

/// Every kind of attention: grouped, soft-capped, with biases by distance and position, with sinks, in chunks, over latents, across and
/// both ways; and experts whose weights leap.
const ON_MATRICES: [&str; 10] = [
    "deepseek_v3",
    "falcon_alibi",
    "gemma2",
    "gemma3n_text",
    "gpt_oss",
    "llama4_text",
    "mixtral_swa",
    "phimoe",
    "stories-nested",
    "t5_gated",
];

/// Operands rounded to f16, where the device has cooperative matrices.
#[test]
fn the_matrix_path_stays_within_its_rounding() {
    if !gpu().capabilities().has_matrices() {
        return;
    }
    let mut failures = Vec::new();
    let cases: Vec<_> =
        cases().into_iter().filter(|case| ON_MATRICES.contains(&case.name.as_str())).collect();
    assert_eq!(cases.len(), ON_MATRICES.len());
    for (c, case) in cases.iter().enumerate() {
        let plan = WeightPlan::uniform(["f16", "int4", "int8"][c % 3].parse().unwrap());
        let kernels = ["matmul_coop", "attention_coop"];
        failures.extend(failure_on(case, &plan, as_on_gpus(ProductPath::Matrix), &kernels, false));
    }
    assert_none(failures);
}

/// Against outputs that took the other expert, and against the reference where rounding decides which expert it is.
#[test]
fn near_ties_of_experts_are_followed() {
    let int8 = WeightPlan::uniform("int8".parse().unwrap());
    let mut failures = Vec::new();
    for baseline in [false, true] {
        let device = Device::Gpu(gpu().with_baseline(baseline));
        for case in [near_tie::case, near_tie::case_of_groups, near_tie::case_of_mixers] {
            let other = case(&directory(), 1e-5, false);
            let report = block_on(check(&other, &device, &F32, ProductPath::Float)).unwrap();
            assert!(report.rerouted > 0 && report.passed(), "baseline {baseline}: {report}");
        }
        let rounded = near_tie::case(&directory(), 1e-7, true);
        failures.extend([F32, int8.clone()].iter().filter_map(|plan| failure(&rounded, plan, baseline)));
    }
    assert_none(failures);
}
