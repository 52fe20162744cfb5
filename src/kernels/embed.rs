//! Embedding by token and by position.

use super::linear::block_layout;
use crate::Result;
use crate::energy::{ByteClass, OpClass, Work};
use crate::fragments::{Codec, TokenIds};
use crate::kernel::check::{bytes, positive, require};
use crate::kernel::{Binding, Kernel, Span, params};
use crate::quant::WeightFormat;
use crate::shader::{Source, fragment};

params! {
    /// The uniform of `embed`.
    pub struct EmbedParams {
        /// Width of a row, `d`.
        pub in_features: u32,
        /// `u32` words of one table row, padding included.
        pub row_words: u32,
        /// Scale blocks of one table row.
        pub blocks: u32,
        /// log2 of the elements per block; 31 where a row is one block.
        pub block_shift: u32,
        /// First token, or position, of this shard of the table.
        pub first_token: u32,
        /// Tokens, or positions, in this shard.
        pub tokens: u32,
        /// Tokens in all shards: one beyond them has the first row.
        pub all_tokens: u32,
        /// Multiplies the row.
        pub scale: f32,
    }
}

impl EmbedParams {
    /// A shard of a `[all_tokens, in_features]` table stored as `format`.
    pub fn new(
        format: WeightFormat,
        [all_tokens, in_features]: [u32; 2],
        tokens: std::ops::Range<u32>,
        scale: f32,
    ) -> Self {
        let (blocks, block_shift) = block_layout(format, in_features);
        Self {
            in_features,
            row_words: format.row_words(in_features as usize) as u32,
            blocks,
            block_shift,
            first_token: tokens.start,
            tokens: tokens.end - tokens.start,
            all_tokens,
            scale,
        }
    }
}

/// Lanes of a workgroup.
const LANES: u32 = 64;

/// `y[r] = scale * table[token[r]]`, the first row for a token beyond the table: tokens `[rows]`, or one of each sequence, a shard of
/// the table `[tokens, d]`, output `[rows, d]`. Or `y[r] += scale * table[position of r]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Embed {
    /// How the table is stored.
    pub codec: Codec,
    /// What says which row of it.
    pub by: EmbedBy,
}

/// What says which row of a table belongs to a token: `shaders/embed_row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbedBy {
    /// Its id.
    Token(TokenIds),
    /// Its position; the row is added to what is there.
    Position,
}

impl Embed {
    fn ids(self) -> Option<TokenIds> {
        match self.by {
            EmbedBy::Token(ids) => Some(ids),
            EmbedBy::Position => None,
        }
    }
}

impl Kernel for Embed {
    type Params = EmbedParams;
    const NAME: &'static str = "embed";

    fn source(self) -> Source {
        let source = self.codec.add_to(Source::kernel(Self::NAME, fragment!("embed.wgsl")));
        let source = match self.ids() {
            Some(ids) => source.with(ids.fragment()),
            None => source,
        };
        source
            .with_span()
            .with(match self.by {
                EmbedBy::Token(_) => fragment!("embed_row/token.wgsl"),
                EmbedBy::Position => fragment!("embed_row/position.wgsl"),
            })
            .with(fragment!("entry/plain.wgsl"))
            .constant("WORKGROUP_SIZE", LANES)
    }

    fn bindings(self) -> Vec<Binding> {
        let ids = self.ids().map(|_| TokenIds::BINDING);
        [Binding::PARAMS, Binding::SPAN]
            .into_iter()
            .chain(ids)
            .chain([Binding::write(5, "y")])
            .chain(self.codec.bindings())
            .collect()
    }

    fn variants() -> Vec<Self> {
        // Positions are stored as they are.
        let of_positions = Self { codec: Codec::F32, by: EmbedBy::Position };
        let by_token = |codec| TokenIds::ALL.map(|ids| Self { codec, by: EmbedBy::Token(ids) });
        Codec::all().flat_map(by_token).chain([of_positions]).collect()
    }

    fn check(self, params: &EmbedParams) -> Result<()> {
        let EmbedParams {
            in_features, row_words, blocks, block_shift, first_token, tokens, all_tokens, ..
        } = *params;
        positive(Self::NAME, [("in_features", in_features), ("tokens", tokens)])?;
        let counted = first_token.checked_add(tokens).is_some_and(|end| end <= all_tokens);
        require(Self::NAME, "first_token", counted, format_args!("tokens of {all_tokens}"), first_token)?;
        self.codec.check_row(Self::NAME, in_features, row_words, (blocks, block_shift))
    }

    fn sizes(self, params: &EmbedParams, rows: u32) -> Vec<(&'static str, u64)> {
        let table = self.codec.sizes([1, params.tokens], params.row_words, params.blocks);
        let ids = self.ids().map(|_| TokenIds::size(rows));
        ids.into_iter().chain([("y", bytes([rows, params.in_features]))]).chain(table).collect()
    }

    fn workgroups(self, params: &EmbedParams, span: Span) -> u64 {
        (u64::from(span.rows) * u64::from(params.in_features.div_ceil(16))).div_ceil(u64::from(LANES))
    }

    fn work(self, params: &EmbedParams, span: Span) -> Work {
        let (rows, width) = (u64::from(span.rows), u64::from(params.in_features));
        let words = rows * self.codec.read_bytes(params.in_features);
        let scales = rows * self.codec.scale_bytes(params.blocks);
        let before = match self.by {
            EmbedBy::Token(_) => {
                Work::default().with_bytes(ByteClass::Index, rows * 4, rows * width.div_ceil(16) * 4)
            }
            EmbedBy::Position => Work::default()
                .with_bytes(ByteClass::ActIn, rows * width * 4, rows * width * 4)
                .with_ops(OpClass::F32Other, rows * width, rows * width),
        };
        let work = before
            .with_bytes(ByteClass::Weight, words, words)
            .with_bytes(ByteClass::ScaleZp, scales, scales)
            .with_bytes(ByteClass::ActOut, rows * width * 4, rows * width * 4)
            .with_ops(OpClass::F32Other, rows * width, rows * width);
        self.codec.work(rows * width, rows * width, work)
    }
}
