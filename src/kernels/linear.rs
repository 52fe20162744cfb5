//! The numbers of a product with a weight matrix, one set for `matvec` and `matmul`: `shaders/linear`.

use crate::Result;
use crate::fragments::{Activate, Codec, Epilogue, InputRows};
use crate::kernel::check::{positive, require};
use crate::kernel::{Span, params};
use crate::quant::{QuantBlock, WeightFormat};

params! {
    /// The uniform of `matvec` and `matmul`.
    pub struct LinearParams {
        /// Inputs of a row, `K`.
        pub in_features: u32,
        /// Rows of one weight matrix (of one expert, of one shard), `N`.
        pub out_features: u32,
        /// `u32` words of one weight row, padding included.
        pub row_words: u32,
        /// Scale blocks of one weight row.
        pub blocks: u32,
        /// log2 of the inputs per block; 31 where a row is one block.
        pub block_shift: u32,
        /// Elements between two rows of the output.
        pub out_stride: u32,
        /// Where this matrix's outputs start in a row of the output.
        pub out_offset: u32,
        /// Experts per token; 1 where there are none.
        pub choices: u32,
        /// Rows of work that read the same input row: `choices` on the way into the experts, else 1.
        pub slots_per_input: u32,
        /// Entries of the tile map of a grouped product; 0 where there is none.
        pub max_tiles: u32,
        /// Of the fused norm.
        pub eps: f32,
        /// Multiplies outputs of the scaled and of the soft-capped epilogue.
        pub scale: f32,
        /// Of the soft-capped epilogue.
        pub softcap: f32,
        /// Of the scaled and of the soft-capped epilogue.
        pub logit_scale: f32,
        /// Steepness of the clamped gate.
        pub glu_alpha: f32,
        /// Limit of the clamped gate.
        pub glu_limit: f32,
        /// Elements between two rows of what outputs are multiplied by; 0 where there is none.
        pub factor_stride: u32,
        /// Where the factors of a row of the output start in theirs.
        pub factor_offset: u32,
    }
}

impl LinearParams {
    /// A dense product with a `[rows, cols]` matrix stored as `format`.
    pub fn dense(format: WeightFormat, rows: u32, cols: u32) -> Self {
        let (blocks, block_shift) = block_layout(format, cols);
        Self {
            in_features: cols,
            out_features: rows,
            row_words: format.row_words(cols as usize) as u32,
            blocks,
            block_shift,
            out_stride: rows,
            out_offset: 0,
            choices: 1,
            slots_per_input: 1,
            max_tiles: 0,
            eps: 0.0,
            scale: 1.0,
            softcap: 1.0,
            logit_scale: 1.0,
            glu_alpha: 1.0,
            glu_limit: 1.0,
            factor_stride: 0,
            factor_offset: 0,
        }
    }

    /// Bytes that are read of one matrix: codes, then scales and zero points.
    pub fn weight_bytes(&self, codec: Codec) -> (u64, u64) {
        let rows = u64::from(self.out_features);
        (rows * codec.read_bytes(self.in_features), rows * codec.scale_bytes(self.blocks))
    }

    /// Bytes of the scales that reading one matrix asks for: those of its block for every step over the inputs.
    pub(crate) fn scale_requests(&self, codec: Codec, inputs: InputRows) -> u64 {
        u64::from(self.out_features) * codec.scale_bytes(self.in_features.div_ceil(inputs.step() as u32))
    }

    /// Checks the numbers of a product; `per_choice` tells whether it has a row for every (token, choice).
    pub(crate) fn check(
        &self,
        kernel: &'static str,
        codec: Codec,
        epilogue: Epilogue,
        per_choice: bool,
    ) -> Result<()> {
        let (choices, shared) = (self.choices, self.slots_per_input);
        positive(
            kernel,
            [
                ("in_features", self.in_features),
                ("out_features", self.out_features),
                ("choices", choices),
                ("slots_per_input", shared),
            ],
        )?;
        require(kernel, "choices", per_choice || choices == 1, "1 where there are no experts", choices)?;
        let whole = [1, choices].contains(&shared);
        require(kernel, "slots_per_input", whole, format_args!("1 or the {choices} choices"), shared)?;
        let paired = !epilogue.gated || self.out_features.is_multiple_of(2);
        require(kernel, "out_features", paired, "pairs of gate and up", self.out_features)?;
        let width = if epilogue.gated { self.out_features / 2 } else { self.out_features };
        let end = u64::from(self.out_offset) + u64::from(width);
        let fits = end <= u64::from(self.out_stride);
        require(kernel, "out_stride", fits, format_args!("at least {end}"), self.out_stride)?;
        let clamped = epilogue.activate == Activate::ClampedGlu;
        require(kernel, "activate", !clamped || epilogue.gated, "pairs of gate and up", "single outputs")?;
        let limited = !clamped || self.glu_limit > 0.0;
        require(kernel, "glu_limit", limited, "a positive number", self.glu_limit)?;
        let weighted = !epilogue.slot_weight || (per_choice && !epilogue.bias);
        require(kernel, "slot_weight", weighted, "one only of experts without biases", "one")?;
        let single = !(epilogue.factor && epilogue.gated);
        require(kernel, "factor", single, "none of pairs of gate and up", "one")?;
        let end = u64::from(self.factor_offset) + u64::from(self.out_stride);
        let fits = !epilogue.factor || end <= u64::from(self.factor_stride);
        require(kernel, "factor_stride", fits, format_args!("at least {end}"), self.factor_stride)?;
        let capped = epilogue.activate != Activate::Softcap || self.softcap > 0.0;
        require(kernel, "softcap", capped, "a positive number", self.softcap)?;
        codec.check_row(kernel, self.in_features, self.row_words, (self.blocks, self.block_shift))
    }

    /// Rows of the input that so many rows of work over the tokens of a call read, each counted once.
    pub(crate) fn distinct_inputs(&self, rows: u64, span: Span) -> u64 {
        if self.slots_per_input == 1 { rows } else { u64::from(span.rows) }
    }

    /// Rows of the input that a token has.
    pub(crate) fn inputs_per_token(&self) -> u32 {
        if self.slots_per_input == 1 { self.choices } else { 1 }
    }
}

/// Scale blocks of a row of `cols` inputs, and the shift from an input to its block.
pub(crate) fn block_layout(format: WeightFormat, cols: u32) -> (u32, u32) {
    match format {
        WeightFormat::F32 | WeightFormat::F16 => (0, 31),
        WeightFormat::Int(int) => match int.block {
            QuantBlock::Channel => (1, 31),
            QuantBlock::Inputs(len) => (cols.div_ceil(len), len.trailing_zeros()),
        },
    }
}
