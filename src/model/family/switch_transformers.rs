//! Switch Transformers (arXiv 2101.03961): T5 with experts in some layers, one for each token, that take so many tokens of a call.

use super::decoder::activation_named;
use super::keys::Keys;
use super::t5::{Defaults, T5};
use crate::Result;
use crate::model::config::{Capacity, Experts, FeedForward, GrantOrder, ModelConfig, Op, Routing, Share};
use crate::model::naming::{Naming, T5 as Names, T5Names};

const DEFAULTS: Defaults = Defaults { d_model: 768, layers: 12, heads: 12 };

pub(super) fn read(keys: &Keys<'_>) -> Result<(ModelConfig, Naming)> {
    let t5 = T5::read(keys, &DEFAULTS)?;
    let activation = activation_named(keys, "dense_act_fn", &keys.or("dense_act_fn", "relu".to_owned())?)?;
    keys.only("router_dtype", "float32".to_owned(), "routers are computed in f32")?;
    let dense = FeedForward::plain(t5.hidden, activation);
    let capacity = keys.or::<u32>("expert_capacity", 64)?;
    let experts = Experts {
        capacity: Some(Capacity {
            factor: capacity as f32,
            share: Share::Tokens,
            order: GrantOrder::TokenMajor,
        }),
        router_bias: keys.or("router_bias", false)?,
        ..Experts::new(keys.or("num_experts", 8)?, 1, Routing::softmax_topk(false), dense)
    };
    let [encoder, decoder] = t5.layers;
    let steps = [
        T5::sparse_step(keys, ["encoder_sparse_step", "num_sparse_encoder_layers"], encoder)?,
        T5::sparse_step(keys, ["decoder_sparse_step", "num_sparse_decoder_layers"], decoder)?,
    ];
    let is_sparse = |stack: usize, layer: usize| match steps[stack] {
        0 => false,
        step => step == 1 || layer % step == 1,
    };
    let scaled = t5.tied;
    let model = t5.model("switch_transformers", scaled, |stack, layer| {
        if is_sparse(stack, layer) { Op::Experts(experts) } else { Op::FeedForward(dense) }
    });
    Ok((model, Naming::T5(Names::new(T5Names { feed_forward: "mlp", gated: false }))))
}
