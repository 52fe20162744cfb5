//! Weights as stored words: formats, and packing, slicing and unpacking on the CPU. No GPU here.

/// How a weight matrix `[rows, cols]` is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightFormat {
    /// 32-bit floats, one to a word.
    F32,
    /// 16-bit floats, two to a word.
    F16,
    /// Integer codes sliced from an 8-bit parent (arXiv 2502.06786, section 3).
    Int(IntFormat),
}

/// Integer codes: `bits` of the 8-bit parent, one scale and zero point for every block of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntFormat {
    /// Served bits: 8, 4 or 2.
    pub bits: u32,
    /// Inputs that share a scale and a zero point.
    pub block: QuantBlock,
}

/// How many neighbouring inputs of a row share a scale and a zero point; the last block may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantBlock {
    /// The whole row: one output channel.
    Channel,
    /// That many inputs: 32, 64 or 128.
    Inputs(u32),
}
