//! What products with a weight matrix check alike.

use super::{Activate, Codec, Epilogue, InputNorm, LinearParams};
use crate::Result;
use crate::kernel::check::{bytes, positive, require};

impl LinearParams {
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
        let capped = epilogue.activate != Activate::Softcap || self.softcap > 0.0;
        require(kernel, "softcap", capped, "a positive number", self.softcap)?;
        codec.check_row(kernel, self.in_features, self.row_words, (self.blocks, self.block_shift))
    }

    /// Rows of the input that a token has.
    pub(crate) fn inputs_per_token(&self) -> u32 {
        if self.slots_per_input == 1 { self.choices } else { 1 }
    }
}

impl Codec {
    /// Checks that a stored row holds its inputs, and has a scale for each.
    pub(crate) fn check_row(
        self,
        kernel: &'static str,
        inputs: u32,
        row_words: u32,
        (blocks, block_shift): (u32, u32),
    ) -> Result<()> {
        let least = inputs.div_ceil(32 / self.bits());
        let whole = row_words >= least && row_words.is_multiple_of(4);
        let expected = format_args!("a multiple of 4 from {least} on");
        require(kernel, "row_words", whole, expected, row_words)?;
        if !self.is_int() {
            return Ok(());
        }
        require(kernel, "block_shift", (2..=31).contains(&block_shift), "2 to 31", block_shift)?;
        let least = (inputs.saturating_sub(1) >> block_shift) + 1;
        require(kernel, "blocks", blocks >= least, format_args!("at least {least}"), blocks)
    }

    fn bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F16 | Self::F16Native => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
            Self::Int2 => 2,
        }
    }

    /// Bytes of the words and scales of so many matrices of so many rows.
    pub(crate) fn sizes(
        self,
        [matrices, rows]: [u32; 2],
        row_words: u32,
        blocks: u32,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let scales = self.is_int().then_some(("scales", bytes([matrices, rows, blocks, 2])));
        [("words", bytes([matrices, rows, row_words]))].into_iter().chain(scales)
    }
}

impl Epilogue {
    /// Bytes of the output of so many rows for so many tokens, and of what is added to it.
    pub(crate) fn sizes(
        self,
        params: &LinearParams,
        matrices: u32,
        [tokens, rows]: [u32; 2],
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let y = bytes([tokens, rows, params.out_stride]);
        let bias = self.bias.then_some(("bias", bytes([matrices, params.out_features])));
        let residual = self.residual.then_some(("residual", y));
        bias.into_iter().chain(residual).chain([("y", y)])
    }
}

impl InputNorm {
    /// Bytes of its weight.
    pub(crate) fn size(self, width: u32) -> Option<(&'static str, u64)> {
        let vectors = match self {
            Self::None => return None,
            Self::Rms => 1,
            Self::Layer => 2,
        };
        Some(("norm_weight", bytes([vectors, width])))
    }
}
