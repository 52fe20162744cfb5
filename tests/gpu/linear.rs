//! What tests of `matvec` and `matmul` share: a layer with random numbers, its expected outputs and their tolerances.

use wattle::fragments::{Activate, Codec, Epilogue, InputNorm};
use wattle::kernels::linear::LinearParams;
use wattle::model::config::{Activation, GateClamp, Norm, NormKind};
use wattle::quant::{IntFormat, PackedMatrix, QuantBlock, WeightFormat};
use wattle::reference::activation::{activate, clamped_gated};
use wattle::reference::matmul::matmul;
use wattle::reference::norm::norm;
use wattle::reference::quantize::{InputBlock, quantize};
use wattle::reference::softmax::softcap;

use crate::bound::{EPS, abs, roundings, scaled};
use crate::harness::{Outputs, POISON, Run};
use crate::select::every;
use crate::support::compare::Tolerance;
use crate::support::random::Random;

/// A format for [`every`] codec, others and the blocks by turns.
pub fn formats(turn: usize) -> impl Iterator<Item = WeightFormat> {
    let mut codecs: Vec<_> = Codec::all().filter(|codec| *codec != Codec::F16Native).enumerate().collect();
    let first = turn % codecs.len();
    codecs.rotate_left(first);
    every(1, codecs).map(move |(n, codec)| {
        let formats = formats_of(codec);
        formats[(n + turn) % formats.len()]
    })
}

/// The formats that a codec reads.
pub fn formats_of(codec: Codec) -> Vec<WeightFormat> {
    let (codes, scales) = match codec {
        Codec::F32 => return vec![WeightFormat::F32],
        Codec::F16 | Codec::F16Native => return vec![WeightFormat::F16],
        Codec::Int(codes, scales) => (codes, scales),
    };
    let blocks =
        [QuantBlock::Inputs(32), QuantBlock::Channel, QuantBlock::Inputs(64), QuantBlock::Inputs(128)];
    blocks.map(|block| WeightFormat::Int(IntFormat { codes, block, scales })).to_vec()
}

/// Rows of work: which row of x, which expert, which row of y.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub input: usize,
    pub output: usize,
    pub expert: usize,
}

/// Sizes of a random layer.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of x.
    pub rows: usize,
    /// `K`.
    pub inputs: usize,
    /// `N`; one more where pairs of rows are gated and it is odd.
    pub outputs: usize,
    pub experts: usize,
}

/// A product with a weight matrix and everything fused with it.
#[derive(Clone)]
pub struct Linear {
    pub params: LinearParams,
    pub norm: InputNorm,
    pub epilogue: Epilogue,
    pub matrix: PackedMatrix,
    pub x: Vec<f32>,
    pub bias: Vec<f32>,
    pub residual: Vec<f32>,
    pub slot_weights: Vec<f32>,
    /// What outputs are multiplied by, `[rows, factor_stride]`.
    pub factors: Vec<f32>,
    /// Scale, then shift.
    pub norm_weight: Vec<f32>,
    /// Whether the kernel multiplies codes, and scales the sums.
    pub by_codes: bool,
    /// Whether the kernel rounds what it multiplies to f16.
    pub in_f16: bool,
    /// Whether inputs are codes, and are multiplied with codes.
    pub in_i8: bool,
}

impl Linear {
    /// Nothing but the product of `x` with the matrices of so many experts.
    pub fn plain(matrix: PackedMatrix, experts: usize, x: Vec<f32>) -> Self {
        let params = LinearParams::dense(matrix.format, (matrix.rows / experts) as u32, matrix.cols as u32);
        let nothing = Vec::new;
        let (bias, residual, slot_weights, norm_weight) = (nothing(), nothing(), nothing(), nothing());
        let factors = nothing();
        Self {
            params,
            norm: InputNorm::None,
            epilogue: Epilogue::NONE,
            matrix,
            x,
            bias,
            residual,
            slot_weights,
            factors,
            norm_weight,
            by_codes: false,
            in_f16: false,
            in_i8: false,
        }
    }

    /// Random numbers; odd seeds leave room around the outputs.
    pub fn random(
        format: WeightFormat,
        norm: InputNorm,
        epilogue: Epilogue,
        shape: Shape,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        let outputs = if epilogue.gated { shape.outputs.next_multiple_of(2) } else { shape.outputs };
        let (inputs, rows) = (shape.inputs, shape.experts * outputs);
        let mut weights = random.gaussian(rows * inputs);
        // One outlier, a constant channel and one of zeros.
        weights[0] *= 30.0;
        for (row, value) in [(1, 0.25), (2, 0.0)] {
            weights
                .iter_mut()
                .skip(row * inputs)
                .take(if row < rows { inputs } else { 0 })
                .for_each(|w| *w = value);
        }
        let matrix = PackedMatrix::pack(format, rows, inputs, &weights).unwrap();
        let x = rows_of_every_size(&mut random, shape.rows, inputs);
        let mut layer = Self::plain(matrix, shape.experts, x);
        let width = if epilogue.gated { outputs / 2 } else { outputs };
        let room = if seed % 2 == 1 { 2 } else { 0 };
        layer.params.out_stride = (width + 2 * room) as u32;
        layer.params.out_offset = room as u32;
        // Of the size of the small rows' squares, so that they notice it.
        layer.params.eps = 1e-5;
        (layer.params.softcap, layer.params.logit_scale) = (5.0, 0.7);
        if epilogue.factor {
            layer.params.factor_offset = 3;
            layer.params.factor_stride = layer.params.out_stride + 5;
        }
        (layer.params.glu_alpha, layer.params.glu_limit) = (1.7, 2.0);
        layer.bias = random.gaussian(rows);
        layer.norm_weight = random.gaussian(2 * inputs);
        Self { norm, epilogue, ..layer }
    }

    /// Runs a kernel over these sites and compares; `y` has as many rows as there are sites.
    pub fn check(&mut self, sites: &[Site], run: impl FnOnce(LinearParams) -> Run) -> Outputs {
        self.check_some(sites, sites.len(), run)
    }

    /// The same where `y` has more rows than there are sites: what is of no site must be left alone.
    pub fn check_some(
        &mut self,
        sites: &[Site],
        rows: usize,
        run: impl FnOnce(LinearParams) -> Run,
    ) -> Outputs {
        let words = rows * self.params.out_stride as usize;
        self.residual = Random::new(words as u64).gaussian(words);
        self.slot_weights = Random::new(rows as u64).gaussian(rows);
        self.factors = Random::new(rows as u64 + 1).gaussian(rows * self.params.factor_stride as usize);
        let (expected, tolerances) = self.expected(sites, rows);
        let outputs = self.bind(run(self.params)).out("y", words).go();
        outputs.close("y", &expected, Tolerance::Each(&tolerances));
        outputs
    }

    /// Binds what the layer has, all but the output.
    pub fn bind(&self, run: Run) -> Run {
        let run = run.with("words", &self.matrix.words);
        let run = match self.in_i8 {
            true => run.with("x", &input_blocks(&self.x, self.matrix.cols)),
            false => run.with("x", &self.x),
        };
        let is_int = matches!(self.matrix.format, WeightFormat::Int(_));
        let run = if is_int { run.with("scales", &self.matrix.scales) } else { run };
        let run = if self.epilogue.bias { run.with("bias", &self.bias) } else { run };
        let run = if self.epilogue.residual { run.with("residual", &self.residual) } else { run };
        let run = if self.epilogue.factor { run.with("factors", &self.factors) } else { run };
        let is_weighted = self.epilogue.slot_weight;
        let run = if is_weighted { run.with("weight_of_slot", &self.slot_weights) } else { run };
        match self.norm {
            InputNorm::None => run,
            InputNorm::Rms => run.with("norm_weight", &self.norm_weight[..self.matrix.cols]),
            InputNorm::Layer | InputNorm::Affine => run.with("norm_weight", &self.norm_weight),
        }
    }

    /// Outputs, NaN where there is none, and tolerances.
    fn expected(&self, sites: &[Site], rows: usize) -> (Vec<f32>, Vec<f32>) {
        let (inputs, outputs) = (self.matrix.cols, self.params.out_features as usize);
        let (stride, offset) = (self.params.out_stride as usize, self.params.out_offset as usize);
        let weights = self.matrix.unpack();
        let magnitudes = self.magnitudes(&weights);
        let mut y = vec![f32::NAN; rows * stride];
        let mut tolerances = y.clone();
        for site in sites {
            let (x, size, c) = self.normed(&self.x[site.input * inputs..][..inputs]);
            let expert = site.expert * outputs..(site.expert + 1) * outputs;
            let of_expert = expert.start * inputs..expert.end * inputs;
            let bias = |n: usize| if self.epilogue.bias { self.bias[expert.start + n] } else { 0.0 };
            // The weight of a slot multiplies its sums, and no bias.
            let weight = if self.epilogue.slot_weight { self.slot_weights[site.output] } else { 1.0 };
            let sums = matmul(&x, &weights[of_expert.clone()], None, inputs);
            let sizes = matmul(&size, &magnitudes[of_expert.clone()], None, inputs);
            let weighted = |values: Vec<f32>, weight: f32, sign: fn(f32) -> f32| -> Vec<f32> {
                values.iter().enumerate().map(|(n, value)| value * weight + sign(bias(n))).collect()
            };
            let (sums, sizes) =
                (weighted(sums, weight, |bias| bias), weighted(sizes, weight.abs(), f32::abs));
            let mut errors = scaled(c + 1.0, &sizes);
            if self.in_f16 {
                let more = rounded_to_f16(&x, &weights[of_expert]);
                errors.iter_mut().zip(more).for_each(|(error, more)| *error += weight.abs() * more);
            }
            let at = site.output * stride + offset;
            let stored: Vec<(f32, f32)> = if self.epilogue.gated {
                (0..outputs / 2).map(|j| self.gated(&sums[2 * j..][..2], &errors[2 * j..][..2])).collect()
            } else {
                (0..outputs)
                    .map(|n| self.with_residual(sums[n], errors[n], site.output, offset + n))
                    .collect()
            };
            for (n, (value, tolerance)) in stored.into_iter().enumerate() {
                (y[at + n], tolerances[at + n]) = (value, tolerance);
            }
        }
        (y, tolerances)
    }

    /// What the rounding of a product with each weight is relative to: the code's part and the zero point's, where they
    /// are multiplied apart.
    fn magnitudes(&self, weights: &[f32]) -> Vec<f32> {
        let cols = self.matrix.cols;
        let zero_part = |at| match self.matrix.scale_zero(at / cols, at % cols) {
            // Codes of 8 bits are multiplied with 128 taken from them.
            Some([scale, zero]) if self.in_i8 => scale * (zero.abs() + 128.0),
            Some([scale, zero]) if self.by_codes => (scale * zero).abs(),
            _ => 0.0,
        };
        weights.iter().enumerate().map(|(at, w)| w.abs() + 2.0 * zero_part(at)).collect()
    }

    /// A row as the product sees it, what its rounding is relative to, and the roundings of a sum over it.
    fn normed(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>, f32) {
        let (scale, shift) = self.norm_weight.split_at(self.norm_weight.len() / 2);
        let sum = roundings(x.len());
        match self.norm {
            InputNorm::None if self.in_i8 => {
                let stood_for: Vec<f32> = quantize(x).iter().flat_map(InputBlock::values).collect();
                let size = abs(&stood_for);
                // A block is exact but for its scales.
                (stood_for, size, 4.0 + roundings(x.len().div_ceil(32)))
            }
            InputNorm::None => (x.to_vec(), abs(x), sum),
            kind => {
                let (y, size) = normed(kind, self.params.eps, x, scale, shift);
                (y, size, sum + norm_roundings(kind, x.len()))
            }
        }
    }

    fn with_residual(&self, sum: f32, error: f32, row: usize, column: usize) -> (f32, f32) {
        let (y, error) = self.activated(sum, error);
        let factor_at =
            row * self.params.factor_stride as usize + self.params.factor_offset as usize + column;
        let factor = if self.epilogue.factor { self.factors[factor_at] } else { 1.0 };
        let (y, error) = (y * factor, error * factor.abs() + EPS * (y * factor).abs());
        let at = row * self.params.out_stride as usize + column;
        let residual = if self.epilogue.residual { self.residual[at] } else { 0.0 };
        (residual + y, error + 2.0 * EPS * (residual.abs() + y.abs()))
    }

    fn gated(&self, sums: &[f32], errors: &[f32]) -> (f32, f32) {
        if self.epilogue.activate == Activate::ClampedGlu {
            let (alpha, limit) = (self.params.glu_alpha, self.params.glu_limit);
            let clamp = GateClamp { alpha, limit };
            let y = clamped_gated(clamp, &sums[..1], &sums[1..2])[0];
            let (gate, up) = (sums[0].min(limit).abs(), sums[1].abs().min(limit) + 1.0);
            // The gate's part is no steeper than 1.1, and clamping makes nothing steeper.
            let error = 1.1 * errors[0] * (up + errors[1]) + (gate + errors[0]) * errors[1];
            return (y, error + 16.0 * EPS * (gate + errors[0]) * up);
        }
        let (gate, gate_error) = self.activated(sums[0], errors[0]);
        let y = gate * sums[1];
        (y, gate_error * (sums[1].abs() + errors[1]) + gate.abs() * errors[1] + 2.0 * EPS * y.abs())
    }

    /// The activation, and how far off it may be where its argument is off by `error`: its steepest slope times that,
    /// and its own roundings, those of `exp` and a division being a few.
    fn activated(&self, x: f32, error: f32) -> (f32, f32) {
        let of = |activation| activate(activation, x);
        let (y, slope, own) = match self.epilogue.activate {
            // A clamped pair has no function of one number.
            Activate::Identity | Activate::ClampedGlu => (x, 1.0, 0.0),
            Activate::Scale => {
                let scale = self.params.logit_scale;
                (scale * x, scale.abs(), EPS * (scale * x).abs())
            }
            Activate::Softcap => {
                let (cap, scale) = (self.params.softcap, self.params.logit_scale);
                (softcap(Some(cap), scale * x), scale.abs(), 16.0 * EPS * cap)
            }
            Activate::Relu => (of(Activation::Relu), 1.0, 0.0),
            Activate::Relu2 => (of(Activation::Relu2), 2.0 * (x.abs() + error), 2.0 * EPS * x * x),
            Activate::Silu => (of(Activation::Silu), 1.1, 12.0 * EPS * x.abs()),
            Activate::GeluTanh => (of(Activation::GeluTanh), 1.13, 12.0 * EPS * x.abs()),
            // The shader's erf is a polynomial good to 1.5e-7.
            Activate::GeluErf => (of(Activation::GeluErf), 1.13, (12.0 * EPS + 0.75e-7) * x.abs()),
        };
        (y, slope * error + own)
    }
}

/// What rounding to f16 adds to the error of the sums of a row: `sum |x w|` of the roundings, plus what a unit that cuts
/// off each sum instead of rounding it loses.
fn rounded_to_f16(x: &[f32], weights: &[f32]) -> Vec<f32> {
    let inputs = x.len();
    let most = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    // Rows are scaled so that the largest is above 2^14; what is then below 2^-14 may be flushed to zero.
    let x_errors: Vec<f32> = x.iter().map(|x| f16_error(x.abs(), most * 2f32.powi(-28))).collect();
    let w_errors: Vec<f32> = weights.iter().map(|w| f16_error(w.abs(), 2f32.powi(-14))).collect();
    let larger = |values: &[f32], errors: &[f32]| -> Vec<f32> {
        values.iter().zip(errors).map(|(value, error)| value.abs() + error).collect()
    };
    let x_found = larger(x, &x_errors);
    let of_x = matmul(&x_errors, &larger(weights, &w_errors), None, inputs);
    let of_w = matmul(&abs(x), &w_errors, None, inputs);
    let terms = matmul(&x_found, &larger(weights, &w_errors), None, inputs);
    let cut = 2.0 * EPS * inputs as f32;
    of_x.iter().zip(&of_w).zip(&terms).map(|((x, w), terms)| x + w + cut * terms).collect()
}

/// How far a magnitude may move: WGSL lets a conversion go to either neighbour, and subnormals to zero.
fn f16_error(magnitude: f32, least_normal: f32) -> f32 {
    if magnitude < least_normal { magnitude } else { magnitude * 2f32.powi(-10) }
}

/// Rows as the kernel `quantize` writes them.
pub fn input_blocks(x: &[f32], width: usize) -> Vec<u32> {
    let words = |block: InputBlock| {
        let mut codes = block.codes;
        let sum: f32 = codes.iter().map(|code| f32::from(*code)).sum();
        codes.resize(32, 0);
        let four = |codes: &[i8]| codes.iter().rev().fold(0, |word, code| word << 8 | u32::from(*code as u8));
        let mut words: Vec<u32> = codes.chunks(4).map(four).collect();
        // Nothing may come of what only aligns the next block.
        words.extend([block.scale.to_bits(), sum.to_bits(), POISON, POISON]);
        words
    };
    x.chunks(width).flat_map(quantize).flat_map(words).collect()
}

/// Rows of ordinary, small, zero, large and shifted numbers, by turns.
pub fn rows_of_every_size(random: &mut Random, rows: usize, width: usize) -> Vec<f32> {
    let sizes = [(1.0, 0.0), (1e-3, 0.0), (0.0, 0.0), (300.0, 0.0), (1.0, 3.0)];
    let row = |r: usize| {
        let (size, shift) = sizes[r % sizes.len()];
        random.gaussian(width).into_iter().map(move |v| size * v + shift)
    };
    (0..rows).flat_map(row).collect()
}

/// A normed row, and what its roundings are relative to.
pub fn normed(kind: InputNorm, eps: f32, x: &[f32], scale: &[f32], shift: &[f32]) -> (Vec<f32>, Vec<f32>) {
    if kind == InputNorm::Affine {
        let terms = |i: usize| (x[i] * scale[i], shift[i]);
        let y = (0..x.len()).map(|i| (f64::from(x[i]) * f64::from(scale[i]) + f64::from(shift[i])) as f32);
        return (y.collect(), (0..x.len()).map(terms).map(|(a, b)| a.abs() + b.abs()).collect());
    }
    if kind == InputNorm::Rms {
        let y = norm(Norm { kind: NormKind::Rms, eps }, x, scale, None);
        let size = abs(&y);
        return (y, size);
    }
    let y = norm(Norm { kind: NormKind::LayerNormBias, eps }, x, scale, Some(shift));
    // What is rounded before the mean is subtracted is relative to the element and to the mean.
    let mean = x.iter().map(|x| x.abs()).sum::<f32>() / x.len() as f32;
    let one = norm(Norm { kind: NormKind::LayerNorm, eps }, x, &vec![1.0; x.len()], None);
    let center = x.iter().sum::<f32>() / x.len() as f32;
    let deviation = x.iter().map(|x| (x - center).powi(2)).sum::<f32>() / x.len() as f32;
    let inverse = 1.0 / (deviation + eps).sqrt();
    let size = (0..x.len())
        .map(|i| (inverse * (x[i].abs() + mean) + one[i].abs()) * scale[i].abs() + shift[i].abs());
    (y, size.collect())
}

/// Roundings of a normed element: a sum of squares, of which the root halves the error, a reciprocal root good to two
/// units in the last place, three products. Of a scaled and shifted one: the product, the sum.
pub fn norm_roundings(kind: InputNorm, width: usize) -> f32 {
    if kind == InputNorm::Affine { 2.0 } else { 8.0 + roundings(width) }
}
