//! What tests of attention share: sequences, caches, expected outputs and their tolerances.

use wattle::fragments::{CacheFormat, MatrixSize, Reach};
use wattle::kernels::attention::{AttentionParams, Values};
use wattle::model::config::RelativeBias;
use wattle::reference::attention::{Attention, KeyValues, Mask, ScoreBias, attention};
use wattle::reference::cache_rows::{pack, stored, unpack};
use wattle::reference::relative_bias::by_distance;

use crate::bound::{EPS, abs, exp_roundings, roundings};
use crate::harness::POISON;
use crate::support::random::Random;

/// Rows `[rows, heads, width]` as `[heads, slots, width]`, each in its slot if it has one; NaN elsewhere.
pub fn by_head(
    x: &[f32],
    heads: usize,
    width: usize,
    slots: usize,
    slot: impl Fn(usize) -> Option<usize>,
) -> Vec<f32> {
    let mut y = vec![f32::NAN; heads * slots * width];
    for (row, x) in x.chunks(heads * width).enumerate() {
        for (head, x) in x.chunks(width).enumerate() {
            if let Some(slot) = slot(row) {
                y[(head * slots + slot) * width..][..width].copy_from_slice(x);
            }
        }
    }
    y
}

/// The values that are the first elements of keys.
fn in_keys(k: &[f32], head_dim: usize, dim: u32) -> Vec<f32> {
    k.chunks(head_dim).flat_map(|key| &key[..dim as usize]).copied().collect()
}

/// Rows as a cache has them; what reads one that is NaN gets NaN.
pub fn packed(format: CacheFormat, rows: &[f32], width: usize) -> Vec<u32> {
    let nan = match format {
        CacheFormat::F32 | CacheFormat::Int8 => f32::NAN.to_bits(),
        CacheFormat::F16 => 0x7e00_7e00,
    };
    let row = |row: &[f32]| match row[0].is_nan() {
        true => vec![nan; format.row_words(width as u32) as usize],
        false => pack(format, row, width),
    };
    rows.chunks(width).flat_map(row).collect()
}

/// What a cache's rows are read as; NaN where none was written.
pub fn unpacked(format: CacheFormat, words: &[u32], width: usize) -> Vec<f32> {
    let row = |row: &[u32]| match row.iter().all(|word| *word == POISON) {
        true => vec![f32::NAN; width],
        false => unpack(format, row, width),
    };
    words.chunks(format.row_words(width as u32) as usize).flat_map(row).collect()
}

/// How far elements of rows may be from what was stored.
pub fn storing_tolerances(format: CacheFormat, rows: &[f32], width: usize) -> Vec<f32> {
    let of_row = |row: &[f32]| -> Vec<f32> {
        let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        row.iter()
            .map(|x| match format {
                CacheFormat::F32 => 0.0,
                // Devices may round either way.
                CacheFormat::F16 => 2f32.powi(-10) * x.abs() + 2f32.powi(-24),
                CacheFormat::Int8 => 0.501 * most / 127.0,
            })
            .collect()
    };
    rows.chunks(width).flat_map(of_row).collect()
}

/// An attention layer in the middle of a sequence: `rows` queries from `position` on, and all keys up to the last.
#[derive(Clone)]
pub struct Sequence {
    pub layer: Attention,
    pub values: Values,
    pub position: usize,
    pub rows: usize,
    /// `[rows, H, h]`.
    pub q: Vec<f32>,
    /// `[position + rows, G, h]`.
    pub k: Vec<f32>,
    /// `[position + rows, G, v]`.
    pub v: Vec<f32>,
    /// `[H]`.
    pub sinks: Option<Vec<f32>>,
    /// What is added to scores, `[buckets, H]`.
    pub bias: Option<(RelativeBias, Vec<f32>)>,
    /// How many of its queries share a workgroup, where it is not as many as a prompt's.
    pub queries: Option<u32>,
    /// The cooperative matrices that compute it, if any do.
    pub on: Option<MatrixSize>,
}

/// How far back queries see: a window or a chunk of so many tokens, or all.
pub fn mask(reach: Reach, tokens: u32) -> Mask {
    let tokens = (tokens > 0).then_some(tokens);
    match reach {
        Reach::Window => Mask { causal: true, window: tokens, chunk: None },
        Reach::Chunk => Mask { causal: true, window: None, chunk: tokens },
        Reach::Both | Reach::Encoder => Mask::default(),
    }
}

impl Sequence {
    /// Random queries, keys and values. Scores get as large as `size`, about.
    pub fn random(
        (layer, values): (Attention, Values),
        position: usize,
        rows: usize,
        size: f32,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        let mut q = random.gaussian(rows * layer.heads * layer.head_dim);
        let keys = (position + rows) * layer.kv_heads;
        let k = random.gaussian(keys * layer.head_dim);
        let v = match values {
            Values::Own(dim) => random.gaussian(keys * dim as usize),
            Values::InKeys(dim) => in_keys(&k, layer.head_dim, dim),
        };
        q.iter_mut().for_each(|q| *q *= size);
        Self { layer, values, position, rows, q, k, v, sinks: None, bias: None, queries: None, on: None }
    }

    /// Elements of a value.
    pub fn value_dim(&self) -> usize {
        self.values.dim() as usize
    }

    /// Elements of the output.
    pub fn outputs(&self) -> usize {
        self.rows * self.layer.heads * self.value_dim()
    }

    /// The same with sinks, of which some are larger than any score.
    pub fn with_sinks(self, seed: u64) -> Self {
        let sinks = Random::new(seed).gaussian(self.layer.heads);
        let size = |head: usize| if head % 3 == 2 { 30.0 } else { 2.0 };
        // Kernels take what is e^-80 of the largest for no less than that.
        let sink = |(head, sink): (usize, &f32)| (size(head) * sink).clamp(-60.0, 60.0);
        let sinks = sinks.iter().enumerate().map(sink).collect();
        Self { sinks: Some(sinks), ..self }
    }

    /// The same with a bias by distance, which is of one kind from so many on.
    pub fn with_bias(self, max_distance: u32, seed: u64) -> Self {
        let both_ways = !self.layer.mask.causal;
        let relative = RelativeBias { buckets: if both_ways { 8 } else { 4 }, max_distance };
        let table = Random::new(seed + 1).gaussian(relative.buckets as usize * self.layer.heads);
        Self { bias: Some((relative, table)), ..self }
    }

    /// The bias as kernels read it.
    pub fn bias_by_distance(&self) -> Option<Vec<f32>> {
        let (relative, table) = self.bias.as_ref()?;
        Some(by_distance(*relative, !self.layer.mask.causal, table))
    }

    /// A layer with `h^-1/2` as its scale; a window or a cap of 0 is none.
    pub fn layer(heads: usize, kv_heads: usize, head_dim: usize, window: u32, softcap: f32) -> Attention {
        Attention {
            heads,
            kv_heads,
            head_dim,
            scale: (head_dim as f32).sqrt().recip(),
            alibi: None,
            softcap: (softcap > 0.0).then_some(softcap),
            mask: mask(Reach::Window, window),
        }
    }

    /// The same where the keys and values before `end` have been stored.
    pub fn with_stored(&self, format: CacheFormat, end: usize) -> Self {
        let of = |rows: &[f32]| {
            let (width, at) = (self.width(rows), end * self.layer.kv_heads * self.width(rows));
            [stored(format, &rows[..at], width), rows[at..].to_vec()].concat()
        };
        let k = of(&self.k);
        let v = match self.values {
            Values::Own(_) => of(&self.v),
            Values::InKeys(dim) => in_keys(&k, self.layer.head_dim, dim),
        };
        Self { k, v, ..self.clone() }
    }

    /// The row at `position + row` alone, after all before it.
    pub fn decode(&self, row: usize) -> Self {
        let width = self.layer.heads * self.layer.head_dim;
        let seen = (self.position + row + 1) * self.layer.kv_heads;
        let q = self.q[row * width..][..width].to_vec();
        let (k, v) =
            (self.k[..seen * self.layer.head_dim].to_vec(), self.v[..seen * self.value_dim()].to_vec());
        let (values, sinks, bias) = (self.values, self.sinks.clone(), self.bias.clone());
        let position = self.position + row;
        Self { layer: self.layer, values, position, rows: 1, q, k, v, sinks, bias, queries: None, on: None }
    }

    /// The uniform, but for the sizes of buffers.
    pub fn params(&self) -> AttentionParams {
        AttentionParams {
            heads: self.layer.heads as u32,
            kv_heads: self.layer.kv_heads as u32,
            slots: 0,
            pages: 0,
            chunk_slots: 0,
            reach: self.layer.mask.window.or(self.layer.mask.chunk).unwrap_or(0),
            split_keys: 0,
            max_splits: 0,
            scale: self.layer.scale,
            softcap: self.layer.softcap.unwrap_or(1.0),
            alibi_scale: self.layer.alibi.map_or(0.0, |alibi| alibi.scale),
        }
    }

    /// Keys or values before `end` in a ring of so many slots.
    pub fn ring(&self, x: &[f32], slots: usize, end: usize) -> Vec<f32> {
        let stays = |row: usize| (row < end && row + slots >= end).then_some(row % slots);
        by_head(x, self.layer.kv_heads, self.width(x), slots, stays)
    }

    /// Those of page `at`, of so many tokens.
    pub fn page(&self, x: &[f32], tokens: usize, at: usize, end: usize) -> Vec<f32> {
        let is_here = |row: usize| (row < end && row / tokens == at).then_some(row % tokens);
        by_head(x, self.layer.kv_heads, self.width(x), tokens, is_here)
    }

    /// Elements of a row of keys or of values.
    pub fn width(&self, x: &[f32]) -> usize {
        x.len() / ((self.position + self.rows) * self.layer.kv_heads)
    }

    /// Keys and values beside each other, `[slots, 2, G, h]`, as an encoder leaves them, or keys alone where they are the values;
    /// NaN where there is none.
    pub fn beside(&self, slots: usize, v_is_k: bool) -> Vec<f32> {
        let row = self.layer.kv_heads * self.layer.head_dim;
        let (k, v) = (self.k.chunks(row), self.v.chunks(row));
        let mut beside: Vec<f32> = match v_is_k {
            true => self.k.clone(),
            false => k.zip(v).flat_map(|(k, v)| [k, v].concat()).collect(),
        };
        beside.resize(slots * if v_is_k { 1 } else { 2 } * row, f32::NAN);
        beside
    }

    /// The output `[rows, H, v]`.
    pub fn expected(&self) -> Vec<f32> {
        self.attention(&self.v)
    }

    /// An output moves by the error of the weights times how far values are from it, and by the roundings of the sum.
    /// A weight is off by the error of its score, which is that of `q . k`, and by that of `exp`, of which the far keys'
    /// counts little; every tile of keys rescales what came before. Besides, kernels take no weight for less than e^-80 of the largest.
    pub fn tolerances(&self) -> Vec<f32> {
        let (width, keys) = (self.layer.head_dim, self.k.len() / (self.layer.kv_heads * self.layer.head_dim));
        let exp = 2.0 * exp_roundings((keys as f32).ln() + 2.0);
        let rescaled = exp_roundings(1.0) * keys.div_ceil(32) as f32;
        let cap = self.layer.softcap.map_or(0.0, |cap| 16.0 * cap);
        // A slope is good to 5 units in the last place and is multiplied twice; a key that is down by more than 16 hardly counts.
        let alibi = self.layer.alibi.map_or(0.0, |_| 16.0 * (2.0 * 5.0 + 2.0));
        let sizes = self.attention(&abs(&self.v));
        let most = self.v.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let of_query = |(at, sizes): (usize, &[f32])| {
            let (row, head) = (at / self.layer.heads, at % self.layer.heads);
            let score = self.largest_score(row, head) * roundings(width) + cap + alibi;
            let c = 2.0 * score + exp + rescaled + roundings(keys);
            let (of_size, least) = self.on.map_or((0.0, (-80f32).exp()), |_| self.in_f16(row, head));
            let least = least * keys as f32 * most;
            sizes.iter().map(|size| (2.0 * c * EPS + of_size) * size + least).collect::<Vec<f32>>()
        };
        sizes.chunks(self.value_dim()).enumerate().flat_map(of_query).collect()
    }

    /// What rounding to f16 adds: in proportion to `sum |a v|`, and for each key to the largest value. WGSL lets a conversion go to
    /// either neighbour. Weights below 2^-20 of the largest may become 0.
    fn in_f16(&self, row: usize, head: usize) -> (f32, f32) {
        let Attention { heads, head_dim, scale, .. } = self.layer;
        let unit = 2f32.powi(-10);
        let q = &self.q[(row * heads + head) * head_dim..][..head_dim];
        // A key below 2^-14 may become 0.
        let of_keys = scale * 2f32.powi(-14) * q.iter().map(|q| q.abs()).sum::<f32>();
        let of_score = 2.0 * unit * self.largest_score(row, head) + of_keys;
        // Where a score of 1e4 is rounded, any key may be the one that counts.
        let of_size = (2.0 * of_score).exp_m1().min(1e6) + 4.0 * unit;
        (of_size, 2f32.powi(-20))
    }

    fn attention(&self, values: &[f32]) -> Vec<f32> {
        let positions: Vec<u32> = (0..(self.position + self.rows) as u32).collect();
        let sinks = self.sinks.as_deref();
        let both_ways = !self.layer.mask.causal;
        let bias =
            self.bias.as_ref().map(|(relative, table)| ScoreBias { relative: *relative, both_ways, table });
        let kv = KeyValues { keys: &self.k, values, positions: &positions, sinks, bias };
        attention(&self.layer, &self.q, &positions[self.position..], kv)
    }

    /// `scale * sum |q k|` of the key for which it is largest.
    fn largest_score(&self, row: usize, head: usize) -> f32 {
        let Attention { heads, kv_heads, head_dim, scale, mask, .. } = self.layer;
        let q = &self.q[(row * heads + head) * head_dim..][..head_dim];
        let key = |s: usize| &self.k[(s * kv_heads + head / (heads / kv_heads)) * head_dim..][..head_dim];
        let score = |s| scale * q.iter().zip(key(s)).map(|(q, k)| (q * k).abs()).sum::<f32>();
        let own = self.position + row;
        let keys = 0..self.position + self.rows;
        let bias = self.bias.iter().flat_map(|(_, table)| table).map(|bias| bias.abs()).fold(0.0, f32::max);
        bias + keys.filter(|&s| mask.visible(own as u32, s as u32)).map(score).fold(0.0, f32::max)
    }
}
