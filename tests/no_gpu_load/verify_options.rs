//! The command line of the example `verify`: whatever is asked for, every directory has its line.

#[path = "../../examples/verify/options.rs"]
mod options;

use options::{Options, USAGE};
use wattle::model::presets;
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

fn parse(line: &str) -> Options {
    Options::parse(line.split_whitespace().map(String::from))
}

#[test]
fn options_are_understood_anywhere() {
    let options = parse("a --weights int4 --expert-weights int2:64 b --path float --cpu --baseline");
    assert_eq!(options.unsupported, None);
    let plan = options.plan(&presets::tiny_moe()).unwrap();
    assert_eq!(plan.linear.to_string(), "int4");
    assert_eq!(plan.experts.to_string(), "int2:64");
    assert_eq!(plan.embedding, WeightFormat::F16);
    assert!(options.path == Some(ProductPath::Float) && options.cpu && options.baseline);
    assert_eq!(options.directories.len(), 2);
    for (name, path) in
        [("auto", None), ("integer", Some(ProductPath::Integer)), ("matrix", Some(ProductPath::Matrix))]
    {
        assert_eq!(parse(&format!("a --path {name}")).path, path);
    }
}

#[test]
fn storages_hold_for_every_integer_format() {
    let options = parse("a --weights pyramid --expert-weights int2 --storage planes");
    assert_eq!(options.unsupported, None);
    let plan = options.plan(&presets::tiny_moe()).unwrap();
    assert_eq!([plan.linear, plan.experts].map(|f| f.to_string()), ["int8:planes", "int2:planes"]);
    assert!(!plan.block_widths.is_empty());
    let missing = parse("a --weights no/such/plan.json").plan(&presets::tiny_moe()).unwrap_err();
    assert!(missing.to_string().contains("no/such/plan.json"), "{missing}");
}

#[test]
fn what_is_not_offered_fails_every_directory() {
    for (line, reason) in [
        ("--weights int9 a b", "--weights int9"),
        ("a --weights bf16 b", "--weights bf16"),
        ("a --expert-weights int8:7 b", "--expert-weights int8:7"),
        ("a b --storage sparse", "--storage sparse is not supported; there is sliced, parent, planes"),
        ("--path vector a b", "--path vector is not supported; there is auto, float, integer, matrix"),
        ("--cache int4 a b --frobnicate", "--cache int4 is not supported; there is f32, f16, int8"),
        ("a --frobnicate b", "--frobnicate is not an option"),
        ("a b --cache", "--cache needs a value"),
    ] {
        let options = parse(line);
        let why = options.unsupported.clone().unwrap_or_else(|| panic!("{line} is taken"));
        assert!(why.starts_with(reason), "{line}: {why}");
        let printed = options.all_failed(&why);
        assert_eq!(printed, format!("a: FAILED: {why}\nb: FAILED: {why}\n0 passed, 2 failed"));
    }
}

#[test]
fn no_directory_is_a_failure_too() {
    let options = parse("--cpu");
    assert_eq!(options.unsupported.as_deref(), Some("no directory given"));
    assert_eq!(options.all_failed("no directory given"), "0 passed, 0 failed");
    assert!(USAGE.contains("DIR"));
}
