//! Golden models and the bundled ones: every one in f32 with and without optional features, and in a selection of formats.

use wattle::Error;
use wattle::model::plan::WeightPlan;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;
use wattle::verify::{Case, Device, check};

use super::harness::F32;
use crate::harness::{block_on, gpu};
use crate::select::wants_everything;
use crate::support::golden::directory;

#[path = "../../support/near_tie.rs"]
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
    for name in [
        "gemma2",
        "gemma3_text",
        "llama",
        "llama_bias",
        "mixtral",
        "mixtral_swa",
        "stories",
        "stories-nested",
    ] {
        assert!(
            cases.iter().any(|case| case.name == name),
            "no golden model '{name}' in {}",
            directory.display()
        );
    }
    cases
}

/// What failed, in one line each.
fn failure(case: &Case, plan: &WeightPlan, baseline: bool) -> Option<String> {
    let device = Device::Gpu(gpu().with_baseline(baseline));
    let at = format!("{} in {}, experts {}, baseline {baseline}", case.name, plan.linear, plan.experts);
    match block_on(check(case, &device, plan, ProductPath::Float)) {
        Ok(report) if report.passed() && !report.dispatches.is_empty() => None,
        Ok(report) => Some(format!("{at}: {report}")),
        Err(error) => Some(format!("{at}: {error}")),
    }
}

fn assert_none(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn f32_is_golden() {
    let mut failures = Vec::new();
    for case in cases() {
        failures.extend([false, true].into_iter().filter_map(|baseline| failure(&case, &F32, baseline)));
    }
    assert_none(failures);
}

/// Every format on a model or two, with and without optional features by turns; experts in another format than
/// the rest.
#[test]
fn other_formats_agree_with_the_reference() {
    let all = wants_everything();
    let format = |n: usize| FORMATS[n % FORMATS.len()].parse::<WeightFormat>().unwrap();
    let mut failures = Vec::new();
    for (c, case) in cases().iter().enumerate() {
        for n in 0..FORMATS.len() {
            let chosen = all || (c + n).is_multiple_of(5);
            let plan = WeightPlan { experts: format(n + 2), ..WeightPlan::uniform(format(n)) };
            for baseline in [false, true] {
                if all || (chosen && baseline == (c + n).is_multiple_of(2)) {
                    failures.extend(failure(case, &plan, baseline));
                }
            }
        }
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
        let other = near_tie::case(&directory(), 1e-5, false);
        let report = block_on(check(&other, &device, &F32, ProductPath::Float)).unwrap();
        assert!(report.rerouted > 0 && report.passed(), "baseline {baseline}: {report}");
        let rounded = near_tie::case(&directory(), 1e-7, true);
        failures.extend([F32, int8.clone()].iter().filter_map(|plan| failure(&rounded, plan, baseline)));
    }
    assert_none(failures);
}
