//! Models that are described and planned, but not loaded: as small as the golden ones, and as large as people run.

use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::config::ModelConfig;
use wattle::model::forward::Sampling;
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::model::presets::PRESETS;
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, family};
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

/// The least a device has, and one with everything.
pub fn devices() -> [Capabilities; 2] {
    let most = Capabilities {
        is_cpu: false,
        f16: true,
        subgroups: true,
        matrices_8: false,
        matrices_16: true,
        timestamps: true,
        max_binding_bytes: 1 << 32,
        max_buffer_bytes: 1 << 34,
        binding_alignment: 32,
        uniform_alignment: 64,
    };
    [Capabilities::webgpu(), most]
}

/// A plan with every matrix in the format of that name.
pub fn weights(format: &str) -> WeightPlan {
    WeightPlan::uniform(format.parse::<WeightFormat>().unwrap())
}

/// A session of a model on a device, with chunks of up to 512 tokens.
pub fn plan(config: &ModelConfig, device: &Capabilities, format: &str, context: u32) -> SessionPlan {
    plan_sampling(config, device, format, context, Sampling::GREEDY)
}

/// The same with inputs that become codes.
pub fn plan_integer(config: &ModelConfig, device: &Capabilities, format: &str, context: u32) -> SessionPlan {
    let greedy = SessionOptions::new(context, Sampling::GREEDY);
    plan_with(config, device, format, SessionOptions { path: ProductPath::Integer, ..greedy })
}

/// The same, and how it samples.
pub fn plan_sampling(
    config: &ModelConfig,
    device: &Capabilities,
    format: &str,
    context: u32,
    sampling: Sampling,
) -> SessionPlan {
    plan_with(config, device, format, SessionOptions::new(context, sampling))
}

fn plan_with(
    config: &ModelConfig,
    device: &Capabilities,
    format: &str,
    options: SessionOptions,
) -> SessionPlan {
    let layout = Layout::new(config, &weights(format), device).unwrap();
    let options = SessionOptions { max_chunk: 512, chunk_ops: u64::MAX, ..options };
    SessionPlan::new(config, &layout, device, &options).unwrap()
}

/// One row at that place.
pub fn one_row(position: u32) -> Span {
    Span { position, rows: 1 }
}

/// The published models: name and description.
pub fn large() -> Vec<(String, ModelConfig)> {
    let is_published = |name: &str| !name.starts_with("tiny");
    let published = PRESETS.iter().filter(|(name, _)| is_published(name));
    published.map(|(name, config)| ((*name).to_owned(), config())).collect()
}

/// Those of them that a device holds in int8.
pub fn large_on(device: &Capabilities) -> Vec<(String, ModelConfig)> {
    let fits = |config: &ModelConfig| Layout::new(config, &weights("int8"), device).is_ok();
    large().into_iter().filter(|(_, config)| fits(config)).collect()
}

/// The models of the golden data, and the bundled one.
pub fn small() -> Vec<(String, ModelConfig)> {
    let golden = crate::forward::MODELS.iter().map(|name| ((*name).to_owned(), crate::models::config(name)));
    let (bundled, _) = family::parse(include_str!("../../models/stories/config.json")).unwrap();
    golden.chain([("stories".to_owned(), bundled)]).collect()
}
