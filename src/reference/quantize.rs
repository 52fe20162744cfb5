//! Inputs as 8-bit codes: what products on the integer path start from.

/// Inputs of a block.
const BLOCK: usize = 32;

/// 32 neighbouring inputs of a row, or those that are left of it: `input = scale * code`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputBlock {
    /// From -127 to 127.
    pub codes: Vec<i8>,
    /// The largest magnitude over 127; 1 where all are zero.
    pub scale: f32,
}

impl InputBlock {
    /// What the codes stand for.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        self.codes.iter().map(|code| f32::from(*code) * self.scale)
    }
}

/// A row in blocks: `code = round(x / scale)`.
pub fn quantize(row: &[f32]) -> Vec<InputBlock> {
    row.chunks(BLOCK)
        .map(|inputs| {
            // Of magnitudes, NaN has the largest bits: a block with one has it as its scale.
            let most = f32::from_bits(inputs.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0));
            let is_zero = most < 1e-30;
            let inverse = if is_zero { 0.0 } else { 127.0 / most };
            InputBlock {
                codes: inputs.iter().map(|x| (inverse * x).round_ties_even() as i8).collect(),
                scale: if is_zero { 1.0 } else { most / 127.0 },
            }
        })
        .collect()
}
