//! Products whose inputs and weights are transformed are the same products.

use std::hash::{DefaultHasher, Hash, Hasher};

use wattle::model::plan::WeightPlan;
use wattle::model::slot::{Part, Place, Role, Slot};
use wattle::quant::{Parent, QuantBlock};
use wattle::reference::matmul::matmul;
use wattle::reference::transform::transform;
use wattle::reference::weights::{Linear, OpWeights, Weights};
use wattle::tuning::ProductPath;

use crate::models::config;
use crate::support::random::Random;

/// Half the distance from 1 to the next f32.
const EPS: f64 = f32::EPSILON as f64 / 2.0;

/// Gaussian numbers that belong to a slot.
fn numbers(slot: Slot, count: usize) -> Vec<f32> {
    let mut hasher = DefaultHasher::new();
    slot.hash(&mut hasher);
    Random::new(hasher.finish()).gaussian(count)
}

/// Large shifts, and scales between 1/4 and 4.
fn learned(slot: Slot, inputs: usize) -> Option<Vec<f32>> {
    let numbers = numbers(slot, inputs);
    match slot.part {
        Part::Delta => Some(numbers),
        Part::Scale => Some(numbers.into_iter().map(|x| x.clamp(-2.0, 2.0).exp2()).collect()),
        _ => None,
    }
}

/// The output projection of a model's first attention.
fn first_out(weights: &Weights) -> &Linear {
    match &weights.blocks[0][0].op {
        OpWeights::Attention(attention) => &attention.out,
        _ => panic!("attention comes first"),
    }
}

/// How far each output may be from `w x + b`: every weight is half a step away at most, an f32 is rounded wherever one
/// is kept (the input, a code's zero point, the weight, the bias, the output), and code and zero point add up apart.
fn bound(coded: &Linear, parent: &Parent, x: &[f32], y: &[f32]) -> Vec<f64> {
    let of = |row: usize| {
        let (scale, zero) = (f64::from(parent.scale[row]), f64::from(parent.zero[row].abs()));
        let weights = &coded.weight[row * x.len()..];
        let products = x.iter().zip(weights).map(|(x, weight)| {
            let rounded = f64::from(weight.abs()) + scale * (zero + 255.0);
            f64::from(x.abs()) * (scale / 2.0 + 4.0 * EPS * rounded)
        });
        let bias = coded.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row].abs()));
        products.sum::<f64>() + 2.0 * EPS * (bias + f64::from(y[row].abs()))
    };
    (0..y.len()).map(of).collect()
}

#[test]
fn a_transformed_product_is_the_product() {
    // With a bias of its own, and without.
    for model in ["llama_bias", "llama"] {
        let config = config(model);
        let fetch = |slot: Slot, shape: &[usize]| Ok(numbers(slot, shape.iter().product()));
        let plan = |format: &str| WeightPlan::uniform(format.parse().unwrap());
        let plain = Weights::build(&config, &plan("f32"), ProductPath::Float, fetch).unwrap();
        let plain = first_out(&plain);
        let [rows, inputs] = [config.hidden_size as usize, plain.weight.len() / config.hidden_size as usize];
        let of_width = |slot: Slot, _: &[Vec<usize>]| {
            // Only the projection that is looked at has an input of this width for certain.
            Ok(if slot.role == Role::Out { learned(slot, inputs) } else { None })
        };
        let coded =
            Weights::build_learned(&config, &plan("int8:channel"), ProductPath::Float, fetch, of_width)
                .unwrap();
        let coded = first_out(&coded);

        let at = Slot::weight(Place::sublayer(0, 0), Role::Out);
        let [delta, s] = [Part::Delta, Part::Scale].map(|part| learned(Slot { part, ..at }, inputs).unwrap());
        let scaled: Vec<f32> = plain.weight.iter().enumerate().map(|(at, w)| w * s[at % inputs]).collect();
        let parent = Parent::quantize(&scaled, rows, inputs, QuantBlock::Channel).unwrap();

        for (at, (found, w)) in coded.weight.iter().zip(&scaled).enumerate() {
            // Half a step, and what rounding a weight of up to 255 steps from the zero point adds.
            let most = 0.5001 * parent.scale[at / inputs];
            assert!((found - w).abs() <= most, "{model}, weight {at}: {found} stands for {w}");
        }
        let x = Random::new(5).gaussian(inputs);
        let expected = matmul(&x, &plain.weight, plain.bias.as_deref(), inputs);
        let by = coded.transform.as_ref().unwrap();
        assert_eq!((&by.delta, &by.s), (&delta, &s), "{model}");
        let x = transform(&x, &by.delta, &by.s);
        let found = matmul(&x, &coded.weight, coded.bias.as_deref(), inputs);
        for (row, bound) in bound(coded, &parent, &x, &expected).into_iter().enumerate() {
            let distance = (f64::from(found[row]) - f64::from(expected[row])).abs();
            assert!(distance <= bound, "{model}, output {row}: {distance} is more than {bound}");
        }
        // What is learned for codes is nothing to floats.
        let float =
            Weights::build_learned(&config, &plan("f32"), ProductPath::Float, fetch, of_width).unwrap();
        assert_eq!(first_out(&float), plain, "{model}");
    }
}
