//! Attention in a row: the same queries with keys and values in other memory each time.

use burn_tensor::activation::softmax;
use burn_tensor::module::attention;
use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{Bool, Device, Tensor, TensorData};

use super::Result;
use super::work::{Layout, Store, Way, Work, floats, quickest, read, write};

/// Of each sequence the last `rows` of its `tokens` ask; a window of 0 is none.
#[derive(Clone, Copy)]
pub struct Shape {
    pub sequences: usize,
    pub rows: usize,
    pub tokens: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub width: usize,
    pub window: usize,
}

/// How queries meet keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// By burn's own function, each query head with a copy of its keys and values where it wants them.
    Fused,
    /// Two products with a softmax between them, the query heads of a key/value head as rows of one product.
    Plain,
}

struct Layers {
    /// Of keys; values always lie by tokens.
    keys: Store,
    shape: Shape,
    meeting: Meeting,
    /// `[sequences, kv_heads, heads of each x rows, width]`.
    q: Tensor<4>,
    /// What is added to scores, where a query does not see everything: `[1, 1, heads of each x rows, tokens]`.
    bias: Option<Tensor<4>>,
    /// Where a query does not see what a window has left behind: `[1, heads, rows, tokens]`.
    hidden: Option<Tensor<4, Bool>>,
    /// Keys `[sequences, kv_heads, width, tokens]`, values `[sequences, kv_heads, tokens, width]`.
    caches: Vec<[Tensor<4>; 2]>,
}

/// Reads `x.f32`, `[sequences, rows, heads, width]`, and `w.f32`: keys, then values, `[tokens, kv_heads, width]`.
pub fn prepare(device: &Device, format: &str, copies: usize, shape: Shape) -> Result<Box<dyn Work>> {
    let with = |meeting, layout| -> Result<Box<dyn Work>> {
        Ok(Box::new(Layers::new(device, format, copies, shape, meeting, layout)?))
    };
    let is_coded = Store::new(device, format, Layout::Outputs)?.is_quantized();
    let ways = [
        (Meeting::Fused, Layout::Outputs),
        (Meeting::Plain, Layout::Outputs),
        (Meeting::Plain, Layout::Inputs),
    ];
    // Of codes, burn's function would want floats first.
    let ways = ways.into_iter().filter(|(meeting, _)| !is_coded || *meeting == Meeting::Plain);
    let with = &with;
    quickest(
        &ways.map(|(meeting, layout)| Box::new(move || with(meeting, layout)) as Way).collect::<Vec<_>>(),
    )
}

impl Layers {
    fn new(
        device: &Device,
        format: &str,
        copies: usize,
        shape: Shape,
        meeting: Meeting,
        layout: Layout,
    ) -> Result<Self> {
        let Shape { sequences, rows, tokens, heads, kv_heads, width, window } = shape;
        let (keys, values) =
            (Store::new(device, format, layout)?, Store::new(device, format, Layout::Inputs)?);
        let numbers = read("w.f32")?;
        let (k, v) = numbers.split_at(numbers.len() / 2);
        // A matrix of a head has tokens as outputs with keys, as inputs with values.
        let k: Vec<f32> = in_order(k, [tokens, kv_heads, width], [1, 0, 2]).repeat(sequences);
        let v: Vec<f32> = in_order(v, [tokens, kv_heads, width], [1, 2, 0]).repeat(sequences);
        let cache = || {
            [
                keys.weights(&k, [sequences, kv_heads, tokens, width]),
                values.weights(&v, [sequences, kv_heads, width, tokens]),
            ]
        };
        let group = heads / kv_heads;
        let q = keys.floats(read("x.f32")?, [sequences, rows, kv_heads, group * width]);
        let q = q.reshape([sequences, rows, kv_heads, group, width]).permute([0, 2, 3, 1, 4]);
        let q = q.reshape([sequences, kv_heads, group * rows, width]);
        let sees = |at: usize| {
            let (position, token) = (tokens - rows + at / tokens % rows, at % tokens);
            (token <= position, window == 0 || position < token + window)
        };
        let bias = (rows > 1).then(|| {
            let term = |at| if sees(at) == (true, true) { 0.0 } else { f32::NEG_INFINITY };
            let terms = (0..rows * tokens).map(term).collect::<Vec<_>>().repeat(group);
            keys.floats(terms, [1, 1, group * rows, tokens])
        });
        let hidden = (window > 0).then(|| {
            let left = (0..rows * tokens).map(|at| !sees(at).1).collect::<Vec<_>>().repeat(heads);
            Tensor::<4, Bool>::from_data(TensorData::new(left, [1, heads, rows, tokens]), device)
        });
        let caches = (0..copies).map(|_| cache()).collect();
        Ok(Self { keys, shape, meeting, q, bias, hidden, caches })
    }

    /// `[sequences, kv_heads, heads of each x rows, width]`.
    fn layer(&self, [keys, values]: &[Tensor<4>; 2]) -> Tensor<4> {
        match self.meeting {
            Meeting::Fused => self.fused(keys.clone().transpose(), values.clone()),
            Meeting::Plain => {
                let scores = self.q.clone().matmul(keys.clone()) * (self.shape.width as f64).sqrt().recip();
                let scores = match &self.bias {
                    Some(bias) => scores + bias.clone(),
                    None => scores,
                };
                softmax(scores, 3).matmul(values.clone())
            }
        }
    }

    fn fused(&self, keys: Tensor<4>, values: Tensor<4>) -> Tensor<4> {
        let Shape { sequences, rows, tokens, heads, kv_heads, width, .. } = self.shape;
        if rows == 1 {
            // All see everything: the query heads of a key/value head are so many rows.
            return attention(self.q.clone(), keys, values, None, None, AttentionModuleOptions::default());
        }
        let group = heads / kv_heads;
        let of_each = |tensor: Tensor<4>| match group {
            1 => tensor,
            _ => tensor
                .reshape([sequences, kv_heads, 1, tokens, width])
                .repeat_dim(2, group)
                .reshape([sequences, heads, tokens, width]),
        };
        let q = self.q.clone().reshape([sequences, heads, rows, width]);
        let options = AttentionModuleOptions { is_causal: true, ..AttentionModuleOptions::default() };
        let out = attention(q, of_each(keys), of_each(values), self.hidden.clone(), None, options);
        out.reshape([sequences, kv_heads, group * rows, width])
    }
}

impl Work for Layers {
    fn device(&self) -> &Device {
        &self.keys.device
    }

    fn submit(&self) -> Result<()> {
        for cache in &self.caches {
            drop(self.layer(cache));
        }
        Ok(())
    }

    fn note(&self) -> String {
        format!("{} {}", self.keys.note(), format!("{:?}", self.meeting).to_lowercase())
    }

    fn write(&self) -> Result<()> {
        let Shape { sequences, rows, heads, kv_heads, width, .. } = self.shape;
        let cache = self.caches.first().ok_or("no cache")?;
        let y = self.layer(cache).reshape([sequences, kv_heads, heads / kv_heads, rows, width]);
        write("y.f32", &floats(y.permute([0, 3, 1, 2, 4]))?)?;
        // Of the first sequence, by tokens.
        let stored = |by_tokens: Tensor<4>| floats(by_tokens.narrow(0, 0, 1).swap_dims(1, 2));
        let [keys, values] =
            cache.clone().map(|tensor| if self.keys.is_quantized() { tensor.dequantize() } else { tensor });
        write("stored.f32", &[stored(keys.transpose())?, stored(values)?].concat())
    }
}

/// An array with its dimensions in another order.
fn in_order(values: &[f32], shape: [usize; 3], order: [usize; 3]) -> Vec<f32> {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let [a, b, c] = order.map(|dimension| (shape[dimension], strides[dimension]));
    let mut all = Vec::with_capacity(values.len());
    for (x, y) in (0..a.0).flat_map(|x| (0..b.0).map(move |y| (x, y))) {
        all.extend((0..c.0).map(|z| values[x * a.1 + y * b.1 + z * c.1]));
    }
    all
}
