use wattle::reference::sample::{argmax, nucleus, sample_nucleus, sample_softmax, uniform_random};
use wattle::reference::softmax::softmax;

use crate::support::frequency::assert_follows;

const LOGITS: [f32; 9] = [0.5, -1.0, 2.0, 1.9, 0.0, -3.0, 2.0, 1.0, -0.5];

fn probabilities(inverse_temperature: f32) -> Vec<f64> {
    let scaled: Vec<f32> = LOGITS.iter().map(|logit| logit * inverse_temperature).collect();
    softmax(&scaled).into_iter().map(f64::from).collect()
}

#[test]
fn uniform_numbers_are_uniform_f32_between_0_and_1() {
    let all = (0..100_000).map(|i| uniform_random(7, i % 100, i / 100));
    let tenths: Vec<u32> = all
        .inspect(|&u| assert!(u > 0.0 && u < 1.0 && f64::from(u as f32) == u, "{u}"))
        .map(|u| (10.0 * u) as u32)
        .collect();
    assert_follows("tenths", &tenths, &[0.1; 10]);
}

#[test]
fn the_largest_noisy_logit_follows_the_softmax() {
    for (seed, inverse_temperature) in [(1, 1.0), (2, 0.5), (3, 2.0)] {
        let tokens: Vec<u32> =
            (0..20_000).map(|draw| sample_softmax(&LOGITS, inverse_temperature, seed, draw)).collect();
        assert_follows("softmax", &tokens, &probabilities(inverse_temperature));
    }
    assert_eq!(sample_softmax(&LOGITS, 1e6, 4, 0), argmax(&[0.0, 0.0, 1.0]));
}

fn tokens(logits: &[f32], temperature: f32, kept: usize, renormalize: bool, top_p: f32) -> Vec<u32> {
    let nucleus = nucleus(logits, 1.0 / temperature, kept, renormalize, top_p);
    nucleus.iter().map(|(token, _)| *token).collect()
}

#[test]
fn a_nucleus_is_the_shortest_prefix() {
    let whole = |kept, top_p| tokens(&LOGITS, 1.0, kept, false, top_p);
    assert_eq!(whole(3, 1.0), [2, 6, 3], "ties go to the lower token");
    assert_eq!(whole(0, 0.0), [2], "one at least");
    assert_eq!(whole(100, 1.0).len(), LOGITS.len());
    // 0.265 twice, then 0.240, 0.098, 0.059.
    assert_eq!(whole(100, 0.5), [2, 6]);
    assert_eq!(whole(100, 0.54), [2, 6, 3]);
    assert_eq!(whole(5, 0.9), [2, 6, 3, 7, 0]);
    let of_kept = |kept, top_p| tokens(&LOGITS, 1.0, kept, true, top_p);
    assert_eq!(of_kept(5, 0.9), [2, 6, 3, 7], "the five hold 0.928 of the whole");
    assert_eq!(of_kept(2, 0.5), [2], "one holds half of the two, and no more is asked");
    assert_eq!(of_kept(2, 0.51), [2, 6]);
    assert_eq!(of_kept(100, 0.54), whole(100, 0.54), "all are kept");
}

/// What `TemperatureLogitsWarper`, `TopKLogitsWarper` and `TopPLogitsWarper` of Hugging Face transformers 5.23 leave,
/// one after the other; the middle one only where there is a `top_k`. Without ties, whose order is not theirs to say.
#[test]
fn nuclei_are_those_of_transformers() {
    let logits = [0.5, -1.0, 2.0, 1.9, 0.0, -3.0, 2.1, 1.0, -0.5];
    let cases: [(f32, usize, f32, &[u32]); 14] = [
        (1.0, 2, 0.5, &[6]),
        (1.0, 2, 0.9, &[6, 2]),
        (1.0, 3, 0.67, &[6, 2]),
        (1.0, 3, 0.7, &[6, 2, 3]),
        (1.0, 4, 0.8, &[6, 2, 3]),
        (1.0, 5, 0.05, &[6]),
        (0.5, 5, 0.9, &[6, 2, 3]),
        (1.0, 5, 0.9, &[6, 2, 3, 7]),
        (2.0, 5, 0.8, &[6, 2, 3, 7]),
        (2.0, 5, 0.9, &[6, 2, 3, 7, 0]),
        (1.0, 0, 0.8, &[6, 2, 3, 7]),
        (2.0, 0, 0.8, &[6, 2, 3, 7, 0]),
        (1.0, 0, 0.9, &[6, 2, 3, 7, 0]),
        (2.0, 0, 0.9, &[6, 2, 3, 7, 0, 4, 8]),
    ];
    for (temperature, top_k, top_p, expected) in cases {
        let kept = if top_k > 0 { top_k } else { logits.len() };
        let found = tokens(&logits, temperature, kept, top_k > 0, top_p);
        assert_eq!(found, expected, "temperature {temperature}, top_k {top_k}, top_p {top_p}");
    }
}

#[test]
fn a_nucleus_is_drawn_from_by_weight() {
    let cases =
        [(1, 3, true, 1.0), (2, 9, false, 0.8), (3, 1, true, 1.0), (4, 9, true, 1.0), (5, 5, true, 0.9)];
    for (seed, kept, renormalize, top_p) in cases {
        let nucleus = nucleus(&LOGITS, 1.0, kept, renormalize, top_p);
        let tokens: Vec<u32> = (0..20_000).map(|draw| sample_nucleus(&nucleus, seed, draw)).collect();
        let mut expected = vec![0.0; LOGITS.len()];
        nucleus.iter().for_each(|&(token, p)| expected[token as usize] = p);
        assert_follows(&format!("{kept} kept, top_p {top_p}"), &tokens, &expected);
    }
    assert_eq!(sample_nucleus(&[], 1, 1), 0);
}
