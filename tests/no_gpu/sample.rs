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

#[test]
fn a_nucleus_is_the_shortest_prefix() {
    let kept = |top_k, top_p| nucleus(&LOGITS, 1.0, top_k, top_p).iter().map(|(t, _)| *t).collect::<Vec<_>>();
    assert_eq!(kept(3, 1.0), [2, 6, 3], "ties go to the lower token");
    assert_eq!(kept(0, 0.0), [2], "one at least");
    assert_eq!(kept(100, 1.0).len(), LOGITS.len());
    // 0.265 twice, then 0.240, 0.098, 0.059.
    assert_eq!(kept(100, 0.5), [2, 6]);
    assert_eq!(kept(100, 0.54), [2, 6, 3]);
    assert_eq!(kept(2, 0.9), [2, 6], "top_p is of the whole, not of the top_k");
}

#[test]
fn a_nucleus_is_drawn_from_by_weight() {
    for (seed, top_k, top_p) in [(1, 3, 1.0), (2, 9, 0.8), (3, 1, 1.0), (4, 9, 1.0)] {
        let nucleus = nucleus(&LOGITS, 1.0, top_k, top_p);
        let tokens: Vec<u32> = (0..20_000).map(|draw| sample_nucleus(&nucleus, seed, draw)).collect();
        let mut expected = vec![0.0; LOGITS.len()];
        nucleus.iter().for_each(|&(token, p)| expected[token as usize] = p);
        assert_follows(&format!("top_k {top_k}, top_p {top_p}"), &tokens, &expected);
    }
    assert_eq!(sample_nucleus(&[], 1, 1), 0);
}
