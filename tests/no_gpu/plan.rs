//! Plans: names, pyramids, budgets and files.

use wattle::Error;
use wattle::gpu::Capabilities;
use wattle::model::config::ModelConfig;
use wattle::model::layout::{Layout, OpLayout};
use wattle::model::plan::{PlanName, WeightPlan};
use wattle::model::presets;
use wattle::model::slot::Slot;
use wattle::quant::{WeightFormat, Width};
use wattle::reference::weights::Weights;
use wattle::tuning::ProductPath;

use crate::models::config;
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

/// Widths of experts 0 and 7 of block 1.
const OF_EXPERTS: &str = r#"{
    "schema": 1, "linear": "int8:planes", "block_widths": {"1": 4}, "expert_widths": {"1": {"0": 2, "7": 8}}
}"#;

#[test]
fn files_give_experts_widths_of_their_own() {
    let plan = WeightPlan::from_json("plan.json", OF_EXPERTS).unwrap();
    let widths: Vec<_> = plan.expert_widths[&1].iter().map(|(expert, width)| (*expert, *width)).collect();
    assert_eq!(widths, [(0, Width::Int2), (7, Width::Int8)]);
    assert_eq!(WeightPlan::from_json("plan.json", &plan.to_json()).unwrap(), plan);

    // An expert's width, else its block's, else the plan's.
    let layout = Layout::new(&config("mixtral"), &plan, &Capabilities::webgpu()).unwrap();
    let formats = |block: usize| {
        let OpLayout::Experts(experts) = &layout.blocks[block][1].op else { panic!("experts second") };
        experts.down.formats.iter().map(WeightFormat::to_string).collect::<Vec<_>>()
    };
    let of = |widths: [u32; 8]| widths.map(|width| format!("int{width}:planes"));
    assert_eq!(formats(1), of([2, 4, 4, 4, 4, 4, 4, 8]));
    assert_eq!(formats(0), of([8; 8]));
}

#[test]
fn widths_of_experts_that_are_none_are_refused() {
    for (text, says) in [
        (
            r#"{"schema": 1, "linear": "int8", "expert_widths": {"1": {"3": 9}}}"#,
            "9 bits in expert 3 of block 1",
        ),
        (r#"{"schema": 1, "linear": "int8", "expert_widths": {"1": 3}}"#, "plan.json"),
        (
            r#"{"schema": 1, "linear": "int8", "experts": "f16", "expert_widths": {"1": {"3": 4}}}"#,
            "expert_widths of f16",
        ),
    ] {
        let error = WeightPlan::from_json("plan.json", text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let refused = |model: &ModelConfig, plan: &WeightPlan| {
        let error = Layout::new(model, plan, &Capabilities::webgpu()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        error.to_string()
    };
    let at = |block: usize, expert: usize| {
        let text = format!(
            r#"{{"schema": 1, "linear": "int8", "expert_widths": {{"{block}": {{"{expert}": 4}}}}}}"#
        );
        WeightPlan::from_json("plan.json", &text).unwrap()
    };
    let mixtral = config("mixtral");
    assert!(Layout::new(&mixtral, &at(3, 7), &Capabilities::webgpu()).is_ok());
    assert!(refused(&mixtral, &at(4, 0)).contains("block 4"));
    let beyond = refused(&mixtral, &at(3, 8));
    assert!(beyond.contains("expert 8 of block 3") && beyond.contains("8 experts"), "{beyond}");
    assert!(refused(&config("llama"), &at(0, 0)).contains("an expert of block 0"));
    // A plan may also be put together by hand, and be for the reference alone.
    let floats = WeightPlan { experts: WeightFormat::F16, ..at(3, 7) };
    assert!(refused(&mixtral, &floats).contains("f16"));
    let none = |_: Slot, _: &[usize]| panic!("refused before anything is read");
    assert!(matches!(
        Weights::build(&mixtral, &at(3, 8), ProductPath::Float, none),
        Err(Error::Unsupported { .. })
    ));
}
