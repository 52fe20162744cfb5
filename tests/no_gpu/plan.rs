//! Plans: names, pyramids, budgets and files.

use wattle::Error;
use wattle::gpu::Capabilities;
use wattle::model::config::ModelConfig;
use wattle::model::layout::Layout;
use wattle::model::plan::{PlanName, WeightPlan};
use wattle::model::presets;
use wattle::quant::Width;

use crate::shapes::large;

fn plan(text: &str, config: &ModelConfig) -> WeightPlan {
    text.parse::<PlanName>().unwrap().plan(config).unwrap()
}

fn bits(plan: &WeightPlan) -> Vec<u32> {
    plan.block_widths.values().map(|width| width.bits()).collect()
}

fn with_blocks(count: usize) -> ModelConfig {
    let mut config = presets::tiny_dense();
    config.blocks = std::iter::repeat_n(config.blocks[0].clone(), count).collect();
    config
}

#[test]
fn pyramids_rise_from_both_ends() {
    for (blocks, expected) in [
        (1, vec![4]),
        (2, vec![4, 4]),
        (3, vec![2, 8, 2]),
        (4, vec![2, 8, 8, 2]),
        (6, vec![2, 4, 8, 8, 4, 2]),
        (9, vec![2, 2, 4, 8, 8, 8, 4, 2, 2]),
    ] {
        assert_eq!(bits(&plan("pyramid", &with_blocks(blocks))), expected, "{blocks} blocks");
    }
    let planes = plan("pyramid:planes:channel", &with_blocks(6));
    assert_eq!(planes.linear.to_string(), "int8:channel:planes");
    assert_eq!(
        in_blocks(&planes, 6),
        ["2", "4", "8", "8", "4", "2"].map(|w| format!("int{w}:channel:planes"))
    );
}

/// What the layout makes of the plan: the format of each block's first matrix.
fn in_blocks(plan: &WeightPlan, blocks: usize) -> Vec<String> {
    let layout = Layout::new(&with_blocks(blocks), plan, &Capabilities::webgpu()).unwrap();
    let first = |block: usize| {
        let prefix = format!("blocks.{block}.");
        layout.matrices().find(|matrix| matrix.name.starts_with(&prefix)).unwrap().format.to_string()
    };
    (0..blocks).map(first).collect()
}

/// As many bits as fit, never more, and the middle never below an end.
#[test]
fn budgets_are_kept_and_used() {
    let device =
        Capabilities { max_binding_bytes: 1 << 40, max_buffer_bytes: 1 << 40, ..Capabilities::webgpu() };
    let read = |config: &ModelConfig, plan: &WeightPlan| {
        Layout::new(config, plan, &device).unwrap().bytes_read_per_step()
    };
    let models = large().into_iter().map(|(_, config)| config).take(4).chain([with_blocks(8)]);
    for config in models {
        for storage in ["", ":planes"] {
            let [most, least] =
                ["int8", "int2"].map(|width| read(&config, &plan(&format!("{width}{storage}"), &config)));
            let mut before = 0;
            for share in [0.0, 0.2, 0.5, 0.8, 1.0] {
                // The head has the widest block's width, so the least is above that of two bits for all.
                let budget = least + ((most - least) as f64 * share) as u64;
                let name = format!("{}KiB{storage}", budget.div_ceil(1024));
                let plan = match name.parse::<PlanName>().unwrap().plan(&config) {
                    Ok(plan) => plan,
                    Err(Error::Memory { needed_bytes, .. }) => panic!("{name}: {needed_bytes}"),
                    Err(error) => panic!("{name}: {error}"),
                };
                let bytes = read(&config, &plan);
                assert!(bytes <= budget.div_ceil(1024) * 1024, "{}: {bytes} of {budget}", config.name);
                assert!(bytes >= before, "{}: a larger budget reads less", config.name);
                before = bytes;
                let (widths, blocks) = (bits(&plan), config.blocks.len());
                for block in 1..blocks.div_ceil(2) {
                    assert!(widths[block] >= widths[block - 1], "{}, {name}: {widths:?}", config.name);
                }
            }
            assert_eq!(before, most, "{}: int8 fits", config.name);
        }
    }
    let error = "1KiB".parse::<PlanName>().unwrap().plan(&with_blocks(4)).unwrap_err();
    assert!(matches!(error, Error::Memory { available_bytes: 1024, .. }), "{error}");
}

#[test]
fn names_are_read_and_shown() {
    for name in
        ["f32", "int4", "int3:ep:planes", "pyramid", "pyramid:parent:f16", "24576KiB", "900KiB:planes"]
    {
        assert_eq!(name.parse::<PlanName>().unwrap().to_string(), name);
    }
    assert_eq!("24MiB".parse::<PlanName>().unwrap(), "24576KiB".parse().unwrap());
    for wrong in ["", "pyramids", "pyramid:33", "MiB", "-1MiB", "1TiB", "99999999999GiB", "24MiB:x", "plan"] {
        let error = wrong.parse::<PlanName>().unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "'{wrong}': {error}");
    }
}

#[test]
fn files_hold_what_names_say() {
    let config = with_blocks(6);
    let pyramid = plan("pyramid:planes", &config);
    assert_eq!(WeightPlan::from_json("plan.json", &pyramid.to_json()).unwrap(), pyramid);
    let small = r#"{"schema": 1, "linear": "int8:planes", "block_widths": {"0": 2, "5": 3}}"#;
    let read = WeightPlan::from_json("plan.json", small).unwrap();
    assert_eq!(read.block_widths.into_iter().collect::<Vec<_>>(), [(0, Width::Int2), (5, Width::Int3)]);
    assert_eq!([read.experts, read.embedding].map(|f| f.to_string()), ["int8:planes", "f16"]);
}

#[test]
fn bad_files_are_refused() {
    for (text, says) in [
        (r#"{"schema": 2, "linear": "int8"}"#, "schema 2"),
        (r#"{"schema": 1}"#, "linear"),
        (r#"{"schema": 1, "linear": "int9"}"#, "int9"),
        (r#"{"schema": 1, "linear": "int8", "width": 3}"#, "width"),
        (r#"{"schema": 1, "linear": "int8", "block_widths": {"0": 9}}"#, "9 bits in block 0"),
        (r#"{"schema": 1, "linear": "f16", "block_widths": {"0": 4}}"#, "f16"),
        ("{", "EOF"),
    ] {
        let error = WeightPlan::from_json("plan.json", text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let beyond = r#"{"schema": 1, "linear": "int8", "block_widths": {"6": 4}}"#;
    let beyond = WeightPlan::from_json("plan.json", beyond).unwrap();
    let error = Layout::new(&with_blocks(6), &beyond, &Capabilities::webgpu()).unwrap_err();
    assert!(error.to_string().contains("block 6"), "{error}");
}
