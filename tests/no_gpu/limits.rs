//! Descriptions beyond what kernels hold or count are refused, and the key is named.

use wattle::Error;
use wattle::kernels::expert_plan::MAX_EXPERTS;
use wattle::kernels::sample_best::MAX_VOCAB;
use wattle::model::config::{Experts, ModelConfig, Op};

use crate::models::config;

#[track_caller]
fn assert_refused(config: &ModelConfig, key: &str) {
    let error = config.validate().unwrap_err();
    assert!(matches!(&error, Error::Config { key: k, .. } if k.ends_with(key)), "{key}: {error:?}");
}

/// Mixtral with other experts in its first block.
fn with_experts(change: impl Fn(&mut Experts)) -> ModelConfig {
    let mut model = config("mixtral");
    for layer in &mut model.blocks[0].sublayers {
        if let Op::Experts(experts) = &mut layer.op {
            change(experts);
        }
    }
    model
}

#[test]
fn vocabularies_end_where_sampling_does() {
    let with = |vocab_size| ModelConfig { vocab_size, ..config("llama") };
    with(MAX_VOCAB).validate().unwrap();
    assert_refused(&with(MAX_VOCAB + 1), "vocab_size");
    assert_refused(&with(0), "vocab_size");
}

#[test]
fn a_norm_needs_an_epsilon() {
    let mut model = config("llama");
    model.final_norm.eps = 0.0;
    assert_refused(&model, "final_norm.eps");
}

#[test]
fn experts_end_where_workgroup_memory_does() {
    with_experts(|experts| experts.count = MAX_EXPERTS).validate().unwrap();
    assert_refused(&with_experts(|experts| experts.count = MAX_EXPERTS + 1), "experts.count");
}

#[test]
fn gates_of_experts_take_part_whole() {
    assert_refused(&with_experts(|experts| experts.expert.sparsity = Some(0.9)), "expert.sparsity");
}

#[test]
fn products_that_overflow_are_refused() {
    assert_refused(&with_experts(|experts| experts.expert.hidden = 1 << 31), "expert.hidden");
    let wide = with_experts(|experts| (experts.count, experts.expert.hidden) = (1024, 1 << 22));
    assert_refused(&wide, "experts.count");
    let model = ModelConfig { hidden_size: 1 << 30, ..config("mixtral") };
    assert_refused(&model, "experts.count");
}
