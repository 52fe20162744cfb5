//! Models beside each other: experts beside dense networks of as many parameters, and published blocks, made narrower.

use wattle::model::config::{Capacity, GrantOrder, ModelConfig, Op, Share, SubLayer};
use wattle::model::presets::{brainformer1_1b_64e, brainformer2_1b_64e, glam_1700m_64e};

use super::layer::{Kind, Layer, VOCAB};
use super::support::Result;

/// A layer of experts; networks of as many parameters as a token uses, and as there are.
pub fn sparse_and_dense(base: &Layer) -> [ModelConfig; 3] {
    let dense = |times| Layer { kind: Kind::Dense, hidden: base.hidden * times, ..*base };
    [*base, dense(4), dense(64)].map(|layer| layer.config())
}

/// GLaM's blocks and Brainformer's two.
pub fn orders(divisor: u32) -> Result<[ModelConfig; 3]> {
    let of = |preset| narrower(preset, divisor);
    Ok([of(glam_1700m_64e())?, of(brainformer1_1b_64e())?, of(brainformer2_1b_64e())?])
}

/// GLaM where experts take 1.25 times their even share at most, and 2.0 times: ST-MoE's question (arXiv 2202.08906, table 9), asked of
/// a decoder, whose step is one pass.
pub fn limited_glam(divisor: u32) -> Result<[ModelConfig; 2]> {
    let glam = narrower(glam_1700m_64e(), divisor)?;
    Ok([1.25, 2.0].map(|factor| {
        let mut limited = glam.clone();
        limited.name += &format!(", at most {factor}");
        for sublayer in limited.blocks.iter_mut().flat_map(|block| &mut block.sublayers) {
            if let Op::Experts(experts) = &mut sublayer.op {
                let (share, order) = (Share::PerChoice, GrantOrder::ChoiceMajor);
                experts.capacity = Some(Capacity { factor, share, order });
            }
        }
        limited
    }))
}

/// The model with every width divided, heads and not what they hold, and a small vocabulary.
fn narrower(mut model: ModelConfig, divisor: u32) -> Result<ModelConfig> {
    let mut widths = vec![&mut model.hidden_size];
    for block in &mut model.blocks {
        for sublayer in &mut block.sublayers {
            add_widths(sublayer, &mut widths);
        }
    }
    for width in widths {
        if *width % divisor != 0 {
            return Err(
                format!("--divide {divisor} does not divide {width}, a width of {}", model.name).into()
            );
        }
        *width /= divisor;
    }
    model.vocab_size = VOCAB;
    model.name = format!("{} / {divisor}", model.name);
    Ok(model)
}

fn add_widths<'a>(sublayer: &'a mut SubLayer, widths: &mut Vec<&'a mut u32>) {
    widths.extend(&mut sublayer.width);
    match &mut sublayer.op {
        Op::Attention(attention) | Op::CrossAttention(attention) => {
            widths.extend([&mut attention.heads, &mut attention.kv_heads]);
        }
        Op::LayerInput(_) => {}
        Op::LatentAttention(attention) => widths.push(&mut attention.heads),
        Op::FeedForward(network) => widths.push(&mut network.hidden),
        Op::Experts(experts) => {
            widths.push(&mut experts.expert.hidden);
            widths.extend(experts.shared.as_mut().map(|shared| &mut shared.expert.hidden));
        }
        Op::Parallel(branches) => branches.iter_mut().for_each(|branch| add_widths(branch, widths)),
    }
}
