//! Descriptions of layers that see others' keys, or read embeddings of their own, and what is counted of them.

use wattle::Error;
use wattle::model::config::{Attention, ModelConfig, Op};
use wattle::model::flops::Flops;
use wattle::model::parameters::Parameters;
use wattle::model::slot::{Stack, SubLayerPlace};

use crate::shapes::{devices, families, plan};

/// The golden model of Gemma 4 with both.
fn gemma4() -> ModelConfig {
    let (_, config) = families().into_iter().find(|(name, _)| name == "gemma4_text").unwrap();
    config
}

fn attention(config: &mut ModelConfig, block: usize) -> &mut Attention {
    match &mut config.blocks[block].sublayers[0].op {
        Op::Attention(attention) => attention,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_refused(change: impl FnOnce(&mut ModelConfig), key: &str) {
    let mut config = gemma4();
    change(&mut config);
    match config.validate() {
        Err(Error::Config { key: found, .. }) => assert_eq!(found, key),
        other => panic!("expected '{key}' to be refused, found {other:?}"),
    }
}

#[test]
fn sources_of_keys_that_do_not_fit_are_refused() {
    let key = "blocks.4.sublayers.0.attention.kv_from";
    let from = |block| Some(SubLayerPlace { stack: Stack::Decoder, block, sublayer: 0, branch: None });
    gemma4().validate().unwrap();
    for block in [4, 5, 9] {
        // Itself, a later one, none.
        assert_refused(|config| attention(config, 4).kv_from = from(block), key);
    }
    // A feed-forward network, a layer with other heads, one that sees equally far but has no keys of its own.
    let network = Some(SubLayerPlace { stack: Stack::Decoder, block: 3, sublayer: 1, branch: None });
    assert_refused(|config| attention(config, 4).kv_from = network, key);
    assert_refused(|config| attention(config, 4).kv_from = from(2), key);
    assert_refused(|config| attention(config, 4).window = Some(7), key);
    assert_refused(
        |config| {
            let sharing = config.blocks[4].clone();
            config.blocks.push(sharing);
            attention(config, 6).kv_from = from(4);
        },
        "blocks.6.sublayers.0.attention.kv_from",
    );
    assert_refused(|config| attention(config, 4).v_norm = true, "blocks[4].sublayers[0].attention.v_norm");
    assert_refused(|config| attention(config, 4).v_is_k = true, "blocks[4].sublayers[0].attention.v_is_k");
}

#[test]
fn embeddings_of_layers_go_together_with_their_readers() {
    assert_refused(|config| config.layer_inputs = None, "layer_inputs");
    assert_refused(
        |config| config.blocks.iter_mut().for_each(|block| block.sublayers.truncate(2)),
        "layer_inputs",
    );
    assert_refused(|config| config.layer_inputs.as_mut().unwrap().width = 0, "layer_inputs.width");
    assert_refused(|config| config.layer_inputs.as_mut().unwrap().vocab_size = 0, "layer_inputs.vocab_size");
    assert_refused(|config| config.layer_inputs.as_mut().unwrap().width = 1 << 31, "layer_inputs.width");
}

/// Six layers, of which four have keys: two with a window of 8 slots before a global one of 512, and one after it.
#[test]
fn layers_without_keys_have_no_cache() {
    for device in devices() {
        let named = plan(&gemma4(), &device, "f32", 512).named_bytes();
        let caches: Vec<_> = named.iter().filter(|(name, _)| name.ends_with("_cache")).collect();
        assert_eq!(caches.len(), 2 * 4, "{caches:?}");
        let bytes: u64 = caches.iter().map(|(_, bytes)| **bytes).sum();
        assert_eq!(bytes, 2 * 4 * (3 * 8 * 8 + 512 * 16));
    }
}

/// In a chunk of a prompt, no cache is written before its last reader has read it, and every one is then.
#[test]
fn caches_are_written_behind_their_last_reader() {
    let plan = plan(&gemma4(), &devices()[0], "f32", 512);
    let schedule = &plan.prefill.0;
    let of = |kernel: &str, block: usize| {
        let cache = format!("blocks.{block}.sublayers.0.k_cache");
        let steps = schedule.steps.iter().enumerate().filter(move |(_, step)| step.launch.name() == kernel);
        let uses = steps.filter(|(_, step)| {
            step.tensors.iter().any(|(_, id)| schedule.tensors[id.index()].name == cache)
        });
        uses.map(|(n, _)| n).collect::<Vec<_>>()
    };
    for (block, readers) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        let (read, written) = (of("attention", block), of("kv_write", block));
        assert_eq!([read.len(), written.len()], [readers, 1], "block {block}");
        assert!(read.iter().all(|read| *read < written[0]), "block {block}");
    }
}

/// Counted by hand from the shapes of the golden model.
#[test]
fn parameters_of_layers_that_share() {
    let counts = Parameters::of(&gemma4());
    assert_eq!(counts.layer_table, 107 * 48);
    assert_eq!(counts.layer_inputs, 48 * 40 + 6 * 2 * 8 * 40);
    let (local, global) = (40 * (32 + 32), 40 * (64 + 64));
    assert_eq!(counts.attention, 4 * local + 2 * global + 3 * 40 * 16 + 40 * 32);
    assert_eq!(counts.feed_forward, 3 * 40 * 56 * (4 + 2 * 2));
    // The golden description has 93 968: scales of the residual stream are no parameters to it.
    assert_eq!(counts.total(), 93_968 + 6);
    // Queries of all layers are multiplied with keys: four heads of 8 over 8 keys, four of 16 over 100.
    assert_eq!(Flops::of_token(&gemma4(), 100, 0).attention, 4 * (4 * 32 * 8 + 2 * 64 * 100));
}
