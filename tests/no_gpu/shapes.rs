//! Models that are described and planned, but not loaded: as small as the golden ones, and as large as people run.

use wattle::gpu::Capabilities;
use wattle::kernel::Span;
use wattle::model::config::{
    Activation, Block, Capacity, Experts, FeedForward, GrantOrder, Head, Hierarchical, Later, ModelConfig,
    Norm, NormKind, Op, Routing, Score, Share, SubLayer, Topk,
};
use wattle::model::forward::{Paging, Sampling};
use wattle::model::layout::Layout;
use wattle::model::plan::WeightPlan;
use wattle::model::presets::PRESETS;
use wattle::model::session::SessionPlan;
use wattle::model::{SessionOptions, family};
use wattle::quant::WeightFormat;
use wattle::tuning::ProductPath;

use crate::golden_claimed::MODELS;
use crate::support::golden::directory;

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

/// The same for many sequences, in pages.
pub fn plan_many(config: &ModelConfig, device: &Capabilities, format: &str, sequences: u32) -> SessionPlan {
    let greedy = SessionOptions::new(config.context_length, Sampling::GREEDY);
    let paging = Some(Paging { page_tokens: 16, pages: 64 });
    plan_with(config, device, format, SessionOptions { sequences, paging, task: Some(0), ..greedy })
}

/// The same as trained, or not.
pub fn plan_trained(config: &ModelConfig, device: &Capabilities, training: Option<u32>) -> SessionPlan {
    let options = SessionOptions::new(config.context_length, Sampling::GREEDY);
    plan_with(config, device, "int4", SessionOptions { training, task: Some(0), ..options })
}

/// The same in chunks of so many tokens.
pub fn plan_chunk(config: &ModelConfig, device: &Capabilities, max_chunk: u32) -> SessionPlan {
    let options = SessionOptions::new(config.context_length, Sampling::GREEDY);
    let layout = Layout::new(config, &weights("int4"), device).unwrap();
    let options = SessionOptions { max_chunk, task: Some(0), ..options };
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

/// Every family of checkpoints that is read, as its golden model describes it.
pub fn families() -> Vec<(String, ModelConfig)> {
    let read = |name: &&str| {
        let path = directory().join(name).join("config.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (config, _) = family::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        ((*name).to_owned(), config)
    };
    MODELS.iter().map(read).collect()
}

/// A layer of experts with each routing there is, and with capacities.
pub fn routings() -> Vec<(String, ModelConfig)> {
    let hierarchical = Hierarchical { groups: 4, top_groups: 2 };
    let topk = |topk: Topk| (Routing::Topk(topk), 2);
    let softmax = Topk::of(Score::Softmax);
    let every = [
        topk(Topk { noise: true, ..softmax }),
        topk(Topk { later: Later::Sampled { share: 0.2 }, ..softmax }),
        topk(Topk { later: Later::AtLeast { share: 0.2 }, ..softmax }),
        topk(Topk { selection_bias: true, ..Topk::of(Score::Sigmoid) }),
        (Routing::SparseMixer { jitter: 0.1 }, 2),
        (Routing::Hierarchical(hierarchical), 4),
        (Routing::ExpertChoice { factor: 2.0 }, 1),
        (Routing::Sinkhorn { iterations: 8 }, 1),
        (Routing::Base { epsilon: 1e-3 }, 1),
        (Routing::Hash, 2),
        (Routing::Task { tasks: 3 }, 2),
        (Routing::Random { seed: 1 }, 2),
    ];
    let mut all = Vec::new();
    for (routing, top_k) in every {
        let experts = Experts::new(16, top_k, routing, FeedForward::gated(24, Activation::Silu));
        all.push((format!("{routing:?}"), one_layer(experts)));
        for order in [GrantOrder::ChoiceMajor, GrantOrder::TokenMajor, GrantOrder::Priority] {
            // As trained, a balance of a router of its own leaves no room for an order of tokens within the budget.
            let is_full = routing.has_balance() && order == GrantOrder::Priority;
            if !matches!(routing, Routing::ExpertChoice { .. }) && !is_full {
                let capacity = Some(Capacity { factor: 1.25, share: Share::PerChoice, order });
                let config = one_layer(Experts { capacity, ..experts });
                all.push((format!("{routing:?}, {order:?}"), config));
            }
        }
    }
    all
}

/// A model of one layer of experts.
pub fn one_layer(experts: Experts) -> ModelConfig {
    let norm = Norm { kind: NormKind::Rms, eps: 1e-6 };
    ModelConfig {
        name: "one layer".into(),
        vocab_size: 64,
        hidden_size: 32,
        context_length: 512,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: vec![Block { sublayers: vec![SubLayer::new(norm, Op::Experts(experts))] }],
        final_norm: norm,
        head: Head { tied: true, ..Head::default() },
    }
}
