//! Tokens and a router that leave no doubt which experts a token has.

use wattle::quant::{PackedMatrix, WeightFormat};

use crate::layer::Layer;
use crate::support::Result;

/// Which experts tokens have.
pub struct Routes {
    /// `[experts, width]`.
    pub router: Vec<f32>,
    /// `[tokens, choices]`; those of a token in ascending order.
    pub experts: Vec<u32>,
}

/// The least difference between the logits of a token's last expert and of the next. Logits have a variance of about 1, and
/// rounding inputs to f16 or to 8 bits moves them by less.
const MARGIN: f64 = 0.03;

impl Routes {
    /// Random tokens, `[tokens, width]`, without those whose choice is a near thing.
    pub fn draw(layer: Layer) -> (Vec<f32>, Self) {
        let (width, choices) = (layer.width as usize, layer.choices as usize);
        let router = PackedMatrix::random(WeightFormat::F32, 0..layer.experts as usize, width, 1).unpack();
        let (mut x, mut experts) = (Vec::new(), Vec::new());
        for candidate in 0.. {
            if x.len() == layer.tokens as usize * width {
                break;
            }
            let row = PackedMatrix::random(WeightFormat::F32, candidate..candidate + 1, width, 2).unpack();
            let row: Vec<f32> = row.into_iter().map(|value| value * (width as f32).sqrt()).collect();
            let logits: Vec<f64> = router.chunks(width).map(|expert| product(&row, expert)).collect();
            let mut order: Vec<u32> = (0..layer.experts).collect();
            order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
            let logit = |place: usize| order.get(place).map_or(f64::MIN, |expert| logits[*expert as usize]);
            if logit(choices - 1) - logit(choices) >= MARGIN {
                x.extend(row);
                order.truncate(choices);
                order.sort_unstable();
                experts.extend(order);
            }
        }
        (x, Self { router, experts })
    }

    /// Refuses others, in whatever order a token's are.
    pub fn check(&self, layer: Layer, found: &[u32]) -> Result<()> {
        let mut found = found.to_vec();
        found.chunks_mut(layer.choices as usize).for_each(<[u32]>::sort_unstable);
        match found == self.experts {
            true => Ok(()),
            false => Err("tokens have other experts".into()),
        }
    }
}

/// The sum of the products, in f64.
pub fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
