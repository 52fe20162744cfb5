//! Several residual streams: what descriptions are refused, what is counted, and the reference's parts against hand-made numbers.

use wattle::Error;
use wattle::model::config::{ModelConfig, NormKind, Op, SubLayer};
use wattle::model::parameters::Parameters;
use wattle::reference::altup::{Mixing, matched, mean, take};
use wattle::reference::sparse_gate::{normal_quantile, sparse_gate};

use crate::shapes::families;

/// The golden model of Gemma 3n.
fn gemma3n() -> ModelConfig {
    let (_, config) = families().into_iter().find(|(name, _)| name == "gemma3n_text").unwrap();
    config
}

#[track_caller]
fn assert_refused(change: impl FnOnce(&mut ModelConfig), key: &str) {
    let mut config = gemma3n();
    change(&mut config);
    match config.validate() {
        Err(Error::Config { key: found, .. }) => assert_eq!(found, key),
        other => panic!("expected '{key}' to be refused, found {other:?}"),
    }
}

#[test]
fn streams_that_do_not_fit_are_refused() {
    gemma3n().validate().unwrap();
    for count in [0, 1, 9] {
        assert_refused(|config| config.streams.as_mut().unwrap().count = count, "streams.count");
    }
    assert_refused(|config| config.streams.as_mut().unwrap().active = 3, "streams.active");
    assert_refused(
        |config| config.streams.as_mut().unwrap().norm.kind = NormKind::LayerNorm,
        "streams.norm.kind",
    );
    // What reads an embedding of its own comes last, and is normed.
    assert_refused(|config| config.blocks[1].sublayers.swap(1, 2), "blocks[1].sublayers[2]");
    assert_refused(
        |config| config.blocks[1].sublayers[2].post_norm = None,
        "blocks[1].sublayers[2].layer_input",
    );
}

#[test]
fn kept_inputs_and_factors_that_do_not_fit_are_refused() {
    assert_refused(
        |config| config.blocks[0].sublayers[1].keep_input = true,
        "blocks[0].sublayers[1].keep_input",
    );
    let last = |config: &mut ModelConfig| match &mut config.blocks[0].sublayers[0].op {
        Op::Parallel(branches) => branches.pop().unwrap(),
        other => panic!("{other:?}"),
    };
    let put = |config: &mut ModelConfig, branch| match &mut config.blocks[0].sublayers[0].op {
        Op::Parallel(branches) => branches.push(branch),
        other => panic!("{other:?}"),
    };
    // Nothing is normed last, and a kept input goes with a norm.
    let unnormed = |config: &mut ModelConfig, keep_input| {
        let branch = last(config);
        put(config, SubLayer { post_norm: None, keep_input, ..branch });
    };
    assert_refused(|config| unnormed(config, false), "blocks[0].sublayers[0].output_factor");
    assert_refused(
        |config| {
            config.blocks[0].sublayers[0].output_factor = None;
            unnormed(config, true);
        },
        "blocks[0].sublayers[0].parallel[1].keep_input",
    );
    assert_refused(
        |config| {
            let branch = last(config);
            put(config, SubLayer { output_factor: Some(2.0), ..branch });
        },
        "blocks[0].sublayers[0].parallel[1].output_factor",
    );
}

#[test]
fn sparsity_that_does_not_fit_is_refused() {
    for (share, gated) in [(0.0, true), (1.0, true), (f32::NAN, true), (0.5, false)] {
        let change = |config: &mut ModelConfig| {
            let Op::FeedForward(ffn) = &mut config.blocks[2].sublayers[1].op else {
                panic!("a network second")
            };
            (ffn.sparsity, ffn.gated) = (Some(share), gated);
        };
        assert_refused(change, "blocks[2].sublayers[1].feed_forward.sparsity");
    }
}

/// Counted by hand from the shapes of the golden model, and its description.
#[test]
fn parameters_of_streams() {
    let counts = Parameters::of(&gemma3n());
    assert_eq!(counts.streams, 2 * 2 * 32 * 32 + 5 * (3 * 32 + 9 * 3 + 3 * 3));
    assert_eq!(counts.layer_table, 95 * 40);
    assert_eq!(counts.routers, 0);
    assert_eq!(counts.total(), 55_348);
}

/// Two streams of one element: with weights that are large, a route is the sign of what it reads.
#[test]
fn streams_mix_as_the_paper_says() {
    let mixing = Mixing {
        count: 2,
        active: 1,
        router: &[100.0, -100.0],
        prediction: &[1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 4.0],
        correction: &[1.0, 0.0, 0.0, 0.5],
    };
    // Routes are 1 and -1, so c is [[1, -2], [3, -4]]: 10 + 1 10 - 2 100, 100 + 3 10 - 4 100.
    assert_eq!(mixing.predict(&[10.0, 100.0], &[1.0]), [-180.0, -270.0]);
    // Corrections are 1 + 1 and 1 - 1/2 of what the layer added to the active stream, 7.
    assert_eq!(mixing.correct(&[10.0, 100.0], &[107.0], &[1.0]), [24.0, 103.5]);
}

#[test]
fn projections_are_as_large_as_the_first_stream() {
    let (x, projections) = ([3.0, 4.0], [vec![0.0, 10.0], vec![0.0, 0.0]]);
    let streams = matched(&x, &projections, 2, 1e-5);
    assert_eq!(streams, [3.0, 4.0, 0.0, 5.0, 0.0, 0.0]);
    assert_eq!(take(&streams, 3, 2, 1), [0.0, 5.0]);
    assert_eq!(mean(&streams, 3, 2), [1.0, 3.0]);
}

/// To ten digits, from tables.
#[test]
fn quantiles_of_a_normal_distribution() {
    for (share, expected) in [
        (0.5, 0.0),
        (0.95, 1.644_853_626_951),
        (0.9, 1.281_551_565_545),
        (0.8, 0.841_621_233_573),
        (0.025, -1.959_963_984_540),
        (1e-9, -5.997_807_015_0),
    ] {
        let found = normal_quantile(share);
        assert!((found - expected).abs() < 1e-9, "{share}: {found}");
    }
}

#[test]
fn only_the_largest_gates_stay() {
    // Mean 2, standard deviation 2: a cutoff of 3.
    assert_eq!(sparse_gate(&[0.0, 4.0, 0.0, 4.0], 4, 0.5), [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(sparse_gate(&[5.0, 5.0], 1, 1.0), [0.0, 0.0]);
}
