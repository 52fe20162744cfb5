//! What a `config.json` may leave out or write in another way, and what tensors are then called.

use serde_json::{Value, json};
use wattle::model::config::{Activation, ModelConfig, Op, RopeScaling};
use wattle::model::family;
use wattle::model::naming::Naming;
use wattle::model::slot::{Place, Role, Slot, Stack};

fn parse(value: &Value) -> (ModelConfig, Naming) {
    family::parse(&value.to_string()).unwrap_or_else(|e| panic!("{value}: {e}"))
}

/// A description with some keys changed.
fn with(base: &Value, changes: Value) -> Value {
    let mut value = base.clone();
    value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    value
}

#[track_caller]
fn assert_same(a: &Value, b: &Value) {
    assert_eq!(parse(a).0, parse(b).0);
}

fn window(config: &ModelConfig, block: usize) -> Option<u32> {
    match &config.blocks[block].sublayers[0].op {
        Op::Attention(attention) => attention.window,
        other => panic!("{other:?}"),
    }
}

/// Every family's defaults, spelled out as transformers 5.23.0 writes them.
fn spelled_out() -> [Value; 4] {
    let gemma = json!({
        "attention_bias": false, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304,
        "intermediate_size": 9216, "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6, "sliding_window": 4096, "tie_word_embeddings": true,
    });
    let layer_types = |period: usize| -> Vec<_> {
        (1..=26).map(|nth| if nth % period == 0 { "full_attention" } else { "sliding_attention" }).collect()
    };
    let plain = |theta: f64| json!({"rope_theta": theta, "rope_type": "default"});
    [
        with(
            &gemma,
            json!({
                "model_type": "gemma2", "vocab_size": 256_000, "max_position_embeddings": 8192,
                "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "layer_types": layer_types(2),
                "rope_parameters": plain(1e4), "use_bidirectional_attention": null,
            }),
        ),
        with(
            &gemma,
            json!({
                "model_type": "gemma3_text", "vocab_size": 262_208, "max_position_embeddings": 131_072,
                "attn_logit_softcapping": null, "final_logit_softcapping": null, "layer_types": layer_types(6),
                "rope_parameters": {"full_attention": plain(1e6), "sliding_attention": plain(1e4)},
                "use_bidirectional_attention": false, "_sliding_window_pattern": 6,
            }),
        ),
        json!({
            "model_type": "llama", "attention_bias": false, "head_dim": 128, "hidden_act": "silu", "mlp_bias": false,
            "hidden_size": 4096, "intermediate_size": 11_008, "max_position_embeddings": 2048,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "rms_norm_eps": 1e-6,
            "rope_parameters": plain(1e4), "tie_word_embeddings": false, "vocab_size": 32_000,
        }),
        json!({
            "model_type": "mixtral", "head_dim": null, "hidden_act": "silu", "hidden_size": 4096,
            "intermediate_size": 14_336, "max_position_embeddings": 131_072, "num_attention_heads": 32,
            "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
            "rms_norm_eps": 1e-5, "rope_parameters": plain(1e6), "sliding_window": null,
            "tie_word_embeddings": false, "vocab_size": 32_000,
        }),
    ]
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    for full in spelled_out() {
        assert_same(&json!({"model_type": full["model_type"]}), &full);
    }
}

#[test]
fn null_is_not_absent() {
    let (gemma2, _) = parse(&json!({"model_type": "gemma2", "final_logit_softcapping": null}));
    assert_eq!(gemma2.head.softcap, None);
    let mixtral = json!({"model_type": "mixtral", "num_key_value_heads": null});
    assert_same(&mixtral, &with(&mixtral, json!({"num_key_value_heads": 32})));
}

#[test]
fn rope_in_every_style() {
    let new = |scaling: Value| json!({"model_type": "llama", "rope_parameters": scaling});
    let old = |theta: f64, scaling: Value| json!({"model_type": "llama", "rope_theta": theta, "rope_scaling": scaling});
    let linear = new(json!({"rope_type": "linear", "factor": 4, "rope_theta": 5e5}));
    assert_same(&linear, &old(5e5, json!({"rope_type": "linear", "factor": 4.0})));
    assert_same(&linear, &old(5e5, json!({"type": "linear", "factor": 4.0})));
    assert_same(&old(1e4, Value::Null), &new(json!({"rope_type": "default"})));
    // The context that Llama 3's stretching starts from is by default the model's own.
    let llama3 = json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4});
    let explicit =
        with(&llama3, json!({"original_max_position_embeddings": 2048, "partial_rotary_factor": 1.0}));
    assert_same(&new(llama3.clone()), &new(explicit));
    // A length beside the rotation goes before the one within.
    let within = with(&llama3, json!({"original_max_position_embeddings": 64}));
    let beside = with(&new(within), json!({"original_max_position_embeddings": 128}));
    let only = with(&llama3, json!({"original_max_position_embeddings": 128}));
    assert_same(&beside, &new(only));
    // An old key that is there and says nothing does not hide the new one.
    assert_same(&with(&linear, json!({"rope_scaling": {}})), &linear);
}

#[test]
fn gemma3_scales_global_layers_only() {
    let old = json!({
        "model_type": "gemma3_text", "rope_theta": 3e6, "rope_local_base_freq": 2e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8}
    });
    let new = json!({"model_type": "gemma3_text", "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 3e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }});
    assert_same(&old, &new);
    let rope = |block: usize| match &parse(&old).0.blocks[block].sublayers[0].op {
        Op::Attention(attention) => attention.rope.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((rope(0).theta, rope(0).scaling), (2e4, RopeScaling::None));
    assert_eq!((rope(5).theta, rope(5).scaling), (3e6, RopeScaling::Linear { factor: 8.0 }));
    // The old key goes over the new ones, key by key.
    let plain = with(
        &new,
        json!({"rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 3e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
        }}),
    );
    assert_same(&with(&plain, json!({"rope_scaling": {"rope_type": "linear", "factor": 8}})), &new);
}

#[test]
fn layer_types_and_patterns() {
    let gemma3 = json!({"model_type": "gemma3_text", "num_hidden_layers": 3, "sliding_window": 9});
    let (config, _) = parse(&with(&gemma3, json!({"sliding_window_pattern": 2})));
    assert_eq!([0, 1, 2].map(|block| window(&config, block)), [Some(9), None, Some(9)]);
    let types = ["full_attention", "sliding_attention", "full_attention"];
    let (config, _) = parse(&with(&gemma3, json!({"layer_types": types})));
    assert_eq!([0, 1, 2].map(|block| window(&config, block)), [None, Some(9), None]);
    let all_full = json!({"layer_types": vec!["full_attention"; 3], "sliding_window": null});
    assert_eq!(window(&parse(&with(&gemma3, all_full)).0, 0), None);
}

#[test]
fn experts_by_either_name() {
    let mixtral = json!({"model_type": "mixtral", "num_local_experts": 5});
    assert_same(&mixtral, &json!({"model_type": "mixtral", "num_experts": 5}));
}

#[test]
fn a_multimodal_gemma_3_is_read_as_its_text_part() {
    let text = json!({"model_type": "gemma3_text", "num_hidden_layers": 2});
    assert_same(&json!({"model_type": "gemma3", "text_config": text.clone()}), &text);
}

const ATTENTION: Place = Place::sublayer(3, 0);
const FEED_FORWARD: Place = Place::sublayer(3, 1);

#[test]
fn names_of_gemma() {
    for model_type in ["gemma2", "gemma3_text"] {
        let (_, naming) = parse(&json!({"model_type": model_type}));
        let name = |place, role| naming.tensor_name(Slot::weight(place, role));
        let layer = |rest: &str| format!("model.layers.3.{rest}.weight");
        assert_eq!(name(ATTENTION, Role::Norm), layer("input_layernorm"));
        assert_eq!(name(ATTENTION, Role::PostNorm), layer("post_attention_layernorm"));
        assert_eq!(name(FEED_FORWARD, Role::Norm), layer("pre_feedforward_layernorm"));
        assert_eq!(name(FEED_FORWARD, Role::PostNorm), layer("post_feedforward_layernorm"));
        assert_eq!(name(ATTENTION, Role::QNorm), layer("self_attn.q_norm"));
        assert_eq!(name(FEED_FORWARD, Role::Gate), layer("mlp.gate_proj"));
        assert_eq!(name(Place::Model, Role::FinalNorm), "model.norm.weight");
    }
}

#[test]
fn names_of_llama_and_mixtral() {
    for model_type in ["llama", "mixtral"] {
        let (_, naming) = parse(&json!({"model_type": model_type}));
        let norm = naming.tensor_name(Slot::weight(FEED_FORWARD, Role::Norm));
        assert_eq!(norm, "model.layers.3.post_attention_layernorm.weight");
        let q_bias = naming.tensor_name(Slot::bias(ATTENTION, Role::Q));
        assert_eq!(q_bias, "model.layers.3.self_attn.q_proj.bias");
    }
}

/// Experts are numbered, and their matrices are what a family calls them; or all are in one tensor.
#[test]
fn names_of_experts() {
    for (model_type, router, expert) in [
        ("mixtral", "block_sparse_moe.gate", ["experts.6.w1", "experts.6.w3", "experts.6.w2"]),
        ("phimoe", "block_sparse_moe.gate", ["experts.6.w1", "experts.6.w3", "experts.6.w2"]),
        ("qwen3_moe", "mlp.gate", ["experts.6.gate_proj", "experts.6.up_proj", "experts.6.down_proj"]),
    ] {
        let (_, naming) = parse(&json!({"model_type": model_type}));
        let name = |place, role| naming.tensor_name(Slot::weight(place, role));
        assert_eq!(name(FEED_FORWARD, Role::Router), format!("model.layers.3.{router}.weight"));
        let module = router.split_once('.').unwrap().0;
        for (role, matrix) in [Role::Gate, Role::Up, Role::Down].into_iter().zip(expert) {
            let expected = format!("model.layers.3.{module}.{matrix}.weight");
            assert_eq!(name(FEED_FORWARD.expert(6), role), expected, "{model_type}");
        }
    }
    let (_, naming) = parse(&json!({"model_type": "gpt_oss"}));
    let of_expert =
        |slot: fn(Place, Role) -> Slot, role| naming.tensor_name(slot(FEED_FORWARD.expert(6), role));
    let fused = "model.layers.3.mlp.experts";
    assert_eq!(of_expert(Slot::weight, Role::Gate), format!("{fused}.gate_up_proj"));
    assert_eq!(of_expert(Slot::weight, Role::Up), format!("{fused}.gate_up_proj"));
    assert_eq!(of_expert(Slot::bias, Role::Down), format!("{fused}.down_proj_bias"));
}

#[test]
fn native_names() {
    let name = |slot| Naming::Native.tensor_name(slot);
    assert_eq!(name(Slot::weight(Place::Model, Role::Embedding)), "embedding.weight");
    assert_eq!(name(Slot::bias(ATTENTION, Role::PostNorm)), "blocks.3.sublayers.0.post_norm.bias");
    let gate = Slot::weight(FEED_FORWARD.expert(2), Role::Gate);
    assert_eq!(name(gate), "blocks.3.sublayers.1.experts.2.gate.weight");
}

#[test]
fn prefixes_are_detected() {
    let (_, naming) = parse(&json!({"model_type": "gemma3_text"}));
    for (embedding, norm, head) in [
        ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"),
        (
            "language_model.model.embed_tokens.weight",
            "language_model.model.norm.weight",
            "language_model.lm_head.weight",
        ),
        ("model.language_model.embed_tokens.weight", "model.language_model.norm.weight", "lm_head.weight"),
        ("embed_tokens.weight", "norm.weight", "lm_head.weight"),
    ] {
        let naming = naming.detect_prefix(|name| name == norm);
        let names = [Role::Embedding, Role::FinalNorm, Role::Head]
            .map(|role| naming.tensor_name(Slot::weight(Place::Model, role)));
        assert_eq!(names, [embedding, norm, head]);
    }
    assert_eq!(naming.detect_prefix(|_| false), naming);
    assert_eq!(Naming::Native.detect_prefix(|_| true), Naming::Native);
}

/// The defaults of T5 and of Switch Transformers, spelled out.
#[test]
fn defaults_of_encoders_with_decoders() {
    let t5 = json!({
        "model_type": "t5", "vocab_size": 32_128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6,
        "num_decoder_layers": null, "num_heads": 8, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6, "feed_forward_proj": "relu",
        "is_encoder_decoder": true, "pad_token_id": 0, "decoder_start_token_id": 0, "tie_word_embeddings": true,
        "scale_decoder_outputs": true,
    });
    assert_same(&json!({"model_type": "t5"}), &t5);
    let switch = json!({
        "model_type": "switch_transformers", "vocab_size": 32_128, "d_model": 768, "d_kv": 64, "d_ff": 2048,
        "expert_capacity": 64, "num_layers": 12, "num_sparse_encoder_layers": 3, "num_decoder_layers": 12,
        "num_sparse_decoder_layers": 3, "num_heads": 12, "num_experts": 8, "router_bias": false,
        "router_dtype": "float32", "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6, "dense_act_fn": "relu", "tie_word_embeddings": true,
    });
    assert_same(&json!({"model_type": "switch_transformers"}), &switch);
}

#[test]
fn heads_and_gates_of_t5() {
    let of = |changes: Value| parse(&with(&json!({"model_type": "t5", "d_model": 64}), changes)).0;
    let head = |changes| {
        let head = of(changes).head;
        (head.tied, head.scale)
    };
    assert_eq!(head(json!({})), (true, 0.125));
    assert_eq!(head(json!({"tie_word_embeddings": false})), (false, 1.0));
    assert_eq!(head(json!({"scale_decoder_outputs": false})), (true, 1.0));
    for (name, activation, gated) in [
        ("relu", Activation::Relu, false),
        ("gelu", Activation::GeluErf, false),
        ("gated-gelu", Activation::GeluTanh, true),
        ("gated-silu", Activation::Silu, true),
    ] {
        let config = of(json!({"feed_forward_proj": name}));
        let last = &config.blocks[0].sublayers[2].op;
        let Op::FeedForward(ffn) = last else { panic!("{last:?}") };
        assert_eq!((ffn.activation, ffn.gated), (activation, gated), "{name}");
    }
    let deeper = of(json!({"num_decoder_layers": 4, "num_layers": 2, "decoder_start_token_id": 7}));
    let encoder = deeper.encoder.unwrap();
    assert_eq!((encoder.blocks.len(), deeper.blocks.len(), encoder.start_id), (2, 4, 7));
}

/// Every how many layers there are experts: what a file says, or what comes of how many there are.
#[test]
fn sparse_layers_of_switch_transformers() {
    let sparse = |changes: Value| {
        let base = json!({"model_type": "switch_transformers", "num_layers": 6, "num_decoder_layers": 6});
        let config = parse(&with(&base, changes)).0;
        [Stack::Encoder, Stack::Decoder].map(|stack| {
            let layers = config.ops_of(stack).filter(|(_, op)| matches!(op, Op::Experts(_)));
            layers.map(|(place, _)| place.at().unwrap().block).collect::<Vec<_>>()
        })
    };
    assert_eq!(sparse(json!({})), [[1, 3, 5], [1, 3, 5]]);
    assert_eq!(
        sparse(json!({"encoder_sparse_step": 1, "decoder_sparse_step": 3})),
        [vec![0, 1, 2, 3, 4, 5], vec![1, 4]]
    );
    assert_eq!(
        sparse(json!({"num_sparse_encoder_layers": 2, "decoder_sparse_step": 0})),
        [vec![1, 4], vec![]]
    );
}

#[test]
fn names_of_t5() {
    let (_, naming) = parse(&json!({"model_type": "t5", "feed_forward_proj": "gated-gelu"}));
    let name = |place: Place, role| naming.tensor_name(Slot::weight(place, role));
    let encoder = |sublayer| Place::sublayer(3, sublayer).of(Stack::Encoder);
    let bias = "SelfAttention.relative_attention_bias.weight";
    assert_eq!(name(Place::Encoder, Role::RelativeBias), format!("encoder.block.0.layer.0.{bias}"));
    assert_eq!(name(Place::Model, Role::RelativeBias), format!("decoder.block.0.layer.0.{bias}"));
    assert_eq!(name(Place::Encoder, Role::FinalNorm), "encoder.final_layer_norm.weight");
    assert_eq!(name(encoder(0), Role::Q), "encoder.block.3.layer.0.SelfAttention.q.weight");
    assert_eq!(name(encoder(1), Role::Gate), "encoder.block.3.layer.1.DenseReluDense.wi_0.weight");
    assert_eq!(name(Place::sublayer(3, 1), Role::Out), "decoder.block.3.layer.1.EncDecAttention.o.weight");
    assert_eq!(name(Place::sublayer(3, 2), Role::Up), "decoder.block.3.layer.2.DenseReluDense.wi_1.weight");
    assert_eq!(name(Place::sublayer(3, 2), Role::Norm), "decoder.block.3.layer.2.layer_norm.weight");
    // A tied table may lie in a file once, under any of three names.
    for table in ["shared", "encoder.embed_tokens", "decoder.embed_tokens"] {
        let found = naming.detect_prefix(|name| name == format!("{table}.weight"));
        assert_eq!(found.tensor_name(Slot::weight(Place::Model, Role::Embedding)), format!("{table}.weight"));
    }
    let as_head = naming.with_table_as_head().tensor_name(Slot::weight(Place::Model, Role::Embedding));
    assert_eq!(as_head, "lm_head.weight");

    let (_, naming) = parse(&json!({"model_type": "switch_transformers"}));
    let name = |place: Place, role| naming.tensor_name(Slot::weight(place, role));
    assert_eq!(name(encoder(1), Role::Up), "encoder.block.3.layer.1.mlp.wi.weight");
    assert_eq!(name(encoder(1), Role::Router), "encoder.block.3.layer.1.mlp.router.classifier.weight");
    let expert = name(Place::sublayer(1, 2).expert(4), Role::Down);
    assert_eq!(expert, "decoder.block.1.layer.2.mlp.experts.expert_4.wo.weight");
}

/// The last layers see the keys of the last layer of their own type that has some, and are twice as wide where a file says so.
#[test]
fn last_layers_of_small_gemmas_share_keys() {
    let types =
        ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"];
    let file = json!({"model_type": "gemma4_text", "num_hidden_layers": 5, "num_kv_shared_layers": 2,
        "layer_types": types, "intermediate_size": 96, "use_double_wide_mlp": true});
    let (config, _) = parse(&file);
    let source = |block: usize| match &config.blocks[block].sublayers[0].op {
        Op::Attention(attention) => attention.kv_from.map(|source| source.block),
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2, 3, 4].map(source), [None, None, None, Some(2), Some(1)]);
    let hidden = |block: usize| match &config.blocks[block].sublayers[1].op {
        Op::FeedForward(ffn) => ffn.hidden,
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2, 3, 4].map(hidden), [96, 96, 96, 192, 192]);
    let (narrow, _) = parse(&with(&file, json!({"use_double_wide_mlp": false})));
    assert!(narrow.blocks.iter().all(|block| block.sublayers[1] == narrow.blocks[0].sublayers[1]));
}

/// Embeddings of each layer are there unless they are 0 wide; the layer's scalar then comes after its own.
#[test]
fn layers_of_gemma_4_have_embeddings() {
    let (config, naming) = parse(&json!({"model_type": "gemma4_text", "num_hidden_layers": 3}));
    let inputs = config.layer_inputs.unwrap();
    assert_eq!([inputs.width, inputs.vocab_size], [256, 262_144]);
    assert_eq!(config.layer_input_places().count(), 3);
    let scaled = |config: &ModelConfig| -> Vec<bool> {
        config.blocks[0].sublayers.iter().map(|sublayer| sublayer.output_scale).collect()
    };
    assert_eq!(scaled(&config), [false, false, true]);
    let name = |place, role| naming.tensor_name(Slot::weight(place, role));
    let layer = Place::sublayer(1, 2);
    assert_eq!(name(Place::Model, Role::LayerTable), "model.embed_tokens_per_layer.weight");
    assert_eq!(name(Place::Model, Role::LayerProjection), "model.per_layer_model_projection.weight");
    assert_eq!(name(layer, Role::PostNorm), "model.layers.1.post_per_layer_input_norm.weight");
    assert_eq!(name(layer, Role::InputGate), "model.layers.1.per_layer_input_gate.weight");
    let (without, _) = parse(&json!({"model_type": "gemma4_text", "hidden_size_per_layer_input": 0}));
    assert_eq!(without.layer_inputs, None);
    assert_eq!(scaled(&without), [false, true]);
}

/// What a Gemma 3n file leaves out is as transformers has it.
#[test]
fn gemma3n_is_spelled_out() {
    let types: Vec<_> =
        (1..=35).map(|nth| if nth % 5 == 0 { "full_attention" } else { "sliding_attention" }).collect();
    let shares = [vec![0.95; 10], vec![0.0; 25]].concat();
    let full = json!({
        "model_type": "gemma3n_text", "vocab_size": 262_400, "hidden_size": 2048, "intermediate_size": vec![16_384; 35],
        "num_hidden_layers": 35, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 32_768, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": true, "attention_bias": false, "sliding_window": 512, "layer_types": types,
        "final_logit_softcapping": 30.0, "vocab_size_per_layer_input": 262_144, "hidden_size_per_layer_input": 256,
        "altup_active_idx": 0, "altup_coef_clip": 120.0, "altup_correct_scale": true, "altup_num_inputs": 4,
        "num_kv_shared_layers": 15, "laurel_rank": 64,
        "activation_sparsity_pattern": shares,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1e6, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
        },
    });
    assert_same(&json!({"model_type": "gemma3n_text"}), &full);
    let (config, _) = parse(&full);
    let sparsity = |block: usize| match &config.blocks[block].sublayers[1].op {
        Op::FeedForward(ffn) => ffn.sparsity,
        other => panic!("{other:?}"),
    };
    assert_eq!([9, 10].map(sparsity), [Some(0.95), None]);
    // Ten layers are all dense.
    let (short, _) =
        parse(&json!({"model_type": "gemma3n_text", "num_hidden_layers": 10, "num_kv_shared_layers": 5}));
    let is_dense = |op: &Op| !matches!(op, Op::FeedForward(ffn) if ffn.sparsity.is_some());
    assert!(short.ops().all(|(_, op)| is_dense(op)));
}

#[test]
fn tensors_of_gemma3n_have_their_names() {
    let (_, naming) = parse(&json!({"model_type": "gemma3n_text"}));
    let name = |place, role| naming.tensor_name(Slot::weight(place, role));
    let [attention, laurel] = [0, 1].map(|branch| Place::sublayer(2, 0).branch(branch));
    for (place, role, expected) in [
        (Place::Stream(1), Role::StreamProjection, "model.altup_projections.0.weight"),
        (Place::Stream(3), Role::StreamJoin, "model.altup_unembed_projections.2.weight"),
        (Place::Block(2), Role::Router, "model.layers.2.altup.modality_router.weight"),
        (Place::Block(2), Role::RouterNorm, "model.layers.2.altup.router_norm.weight"),
        (Place::Block(2), Role::Prediction, "model.layers.2.altup.prediction_coefs.weight"),
        (Place::Block(2), Role::StreamScale, "model.layers.2.altup.correct_output_scale"),
        (Place::sublayer(2, 0), Role::Norm, "model.layers.2.input_layernorm.weight"),
        (attention, Role::Q, "model.layers.2.self_attn.q_proj.weight"),
        (attention, Role::PostNorm, "model.layers.2.post_attention_layernorm.weight"),
        (laurel, Role::Up, "model.layers.2.laurel.linear_left.weight"),
        (laurel, Role::Down, "model.layers.2.laurel.linear_right.weight"),
        (laurel, Role::PostNorm, "model.layers.2.laurel.post_laurel_norm.weight"),
        (Place::sublayer(2, 1), Role::Up, "model.layers.2.mlp.up_proj.weight"),
    ] {
        assert_eq!(name(place, role), expected);
    }
}
