//! Models of the golden data, described by hand.

use wattle::model::config::{
    Activation, Attention, Block, Experts, FeedForward, Head, ModelConfig, Norm, NormKind, Op, Rope,
    RopeLayout, RopeScaling, Routing, SubLayer,
};

pub fn rope(theta: f64, rotary_dim: u32, scaling: RopeScaling) -> Option<Rope> {
    Some(Rope { theta, rotary_dim, layout: RopeLayout::HalfSplit, scaling })
}

/// Attention as most have it.
pub fn attention(heads: u32, kv_heads: u32, head_dim: u32, rope: Option<Rope>) -> Attention {
    Attention {
        heads,
        kv_heads,
        head_dim,
        scale: (f64::from(head_dim).sqrt().recip()) as f32,
        rope,
        ..Attention::default()
    }
}

pub fn feed_forward(hidden: u32, activation: Activation) -> FeedForward {
    FeedForward::gated(hidden, activation)
}

/// Two of `count` experts.
fn experts(count: u32, hidden: u32) -> Op {
    let expert = feed_forward(hidden, Activation::Silu);
    Op::Experts(Experts::new(count, 2, Routing::softmax_topk(true), expert))
}

/// Two sub-layers a block, all with the same norms.
pub fn model(
    sizes: [u32; 2],
    norm: Norm,
    post_norm: Option<Norm>,
    layers: Vec<(Attention, Op)>,
) -> ModelConfig {
    let sublayer = |op| SubLayer { post_norm, ..SubLayer::new(norm, op) };
    let block = |(attention, op)| Block { sublayers: vec![sublayer(Op::Attention(attention)), sublayer(op)] };
    ModelConfig {
        name: String::new(),
        vocab_size: sizes[0],
        hidden_size: sizes[1],
        context_length: 512,
        encoder: None,
        relative_bias: None,
        embedding_scale: 1.0,
        learned_positions: false,
        layer_inputs: None,
        streams: None,
        blocks: layers.into_iter().map(block).collect(),
        final_norm: norm,
        head: Head::default(),
    }
}

/// The model whose checkpoint is in the golden directory of that name.
pub fn config(name: &str) -> ModelConfig {
    let rms = |eps| Norm { kind: NormKind::Rms, eps };
    let gemma = Norm { kind: NormKind::RmsUnitOffset, eps: 1e-6 };
    let config = match name {
        "llama" => {
            let scaling = RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 64,
            };
            let attention = attention(6, 2, 8, rope(5e5, 8, scaling));
            let ffn = Op::FeedForward(feed_forward(104, Activation::Silu));
            model([137, 48], rms(1e-5), None, vec![(attention, ffn); 4])
        }
        "llama_bias" => {
            let attention = attention(4, 4, 10, rope(1e4, 10, RopeScaling::Linear { factor: 2.0 }));
            let attention = Attention { qkv_bias: true, out_bias: true, ..attention };
            let ffn = Op::FeedForward(FeedForward { bias: true, ..feed_forward(72, Activation::Silu) });
            let model = model([111, 40], rms(1e-6), None, vec![(attention, ffn); 3]);
            ModelConfig { head: Head { tied: true, ..Head::default() }, ..model }
        }
        "gemma2" => {
            let layer = |l: u32| {
                let attention = Attention {
                    scale: 24f32.sqrt().recip(),
                    softcap: Some(5.0),
                    window: l.is_multiple_of(2).then_some(8),
                    ..attention(4, 2, 16, rope(1e4, 16, RopeScaling::None))
                };
                (attention, Op::FeedForward(feed_forward(80, Activation::GeluTanh)))
            };
            let model = model([127, 48], gemma, Some(gemma), (0..4).map(layer).collect());
            let head = Head { tied: true, softcap: Some(8.0), ..Head::default() };
            ModelConfig { embedding_scale: 48f32.sqrt(), head, ..model }
        }
        "gemma3_text" => {
            let layer = |l: u32| {
                let (theta, scaling, window) = match l {
                    5 => (1e6, RopeScaling::Linear { factor: 8.0 }, None),
                    _ => (1e4, RopeScaling::None, Some(8)),
                };
                let attention = attention(4, 2, 12, rope(theta, 12, scaling));
                let attention = Attention { qk_norm: Some(gemma), window, ..attention };
                (attention, Op::FeedForward(feed_forward(64, Activation::GeluTanh)))
            };
            let model = model([113, 40], gemma, Some(gemma), (0..7).map(layer).collect());
            ModelConfig {
                embedding_scale: 40f32.sqrt(),
                layer_inputs: None,
                streams: None,
                head: Head { tied: true, ..Head::default() },
                ..model
            }
        }
        "mixtral" => {
            let attention = attention(4, 2, 10, rope(1e6, 10, RopeScaling::None));
            model([125, 40], rms(1e-5), None, vec![(attention, experts(8, 40)); 4])
        }
        "mixtral_swa" => {
            let attention = attention(4, 2, 10, rope(1e6, 10, RopeScaling::None));
            let attention = Attention { window: Some(7), ..attention };
            model([101, 40], rms(1e-5), None, vec![(attention, experts(4, 32)); 3])
        }
        other => panic!("no description of {other}"),
    };
    config.validate().unwrap();
    config
}
