//! Kernels at small sizes, with numbers that they accept.

use std::sync::Arc;

use wattle::energy::Phase;
use wattle::fragments::{
    Activate, CacheFormat, CacheRows, CacheSlots, Codec, Epilogue, InputNorm, InputRows, MatrixSize, Reduce,
    ScoreBias, TokenIds,
};
use wattle::gpu::Capabilities;
use wattle::kernel::{AnyLaunch, Kernel, Launch};
use wattle::kernels::altup::AltupParams;
use wattle::kernels::attention::{Attention, AttentionParams};
use wattle::kernels::attention_coop::AttentionCoop;
use wattle::kernels::attention_merge::AttentionMergeParams;
use wattle::kernels::embed::{Embed, EmbedBy, EmbedParams};
use wattle::kernels::expert_plan::{ChosenSlots, ExpertShare, MoeSlotParams};
use wattle::kernels::kv_write::{KvWrite, KvWriteParams};
use wattle::kernels::latent_heads::{LatentHeads, LatentHeadsParams};
use wattle::kernels::linear::LinearParams;
use wattle::kernels::matmul::Matmul;
use wattle::kernels::matmul_coop::MatmulCoop;
use wattle::kernels::matvec::{Matvec, VecRows};
use wattle::kernels::moe_combine::MoeCombineParams;
use wattle::kernels::moe_route::MoeRouteParams;
use wattle::kernels::quantize::Quantize;
use wattle::kernels::rope::{QkNorm, Rope, RopeParams};
use wattle::kernels::sample_best::SampleBestParams;
use wattle::kernels::sample_pick::SamplePickParams;
use wattle::kernels::tile_rows::TileRows;
use wattle::quant::{WeightFormat, Width};

pub const ATTENTION: AttentionParams = AttentionParams {
    heads: 6,
    kv_heads: 2,
    slots: 20,
    pages: 3,
    chunk_slots: 9,
    reach: 0,
    split_keys: 8,
    max_splits: 4,
    scale: 1.0,
    softcap: 1.0,
    alibi_scale: 1.0,
};
pub const MERGE: AttentionMergeParams =
    AttentionMergeParams { heads: 6, head_dim: 10, reach: 0, split_keys: 8, max_splits: 4, slots: 31 };
pub const KV_WRITE: KvWriteParams = KvWriteParams { kv_heads: 2, slots: 20, pages: 3, chunk_slots: 9 };
pub const ALTUP: AltupParams =
    AltupParams { width: 33, active_stream: 1, eps: 1e-6, router_stride: 40, mixing_stride: 4 };
/// 24 rows of 33 inputs in int4.
pub const LATENT_HEADS: LatentHeadsParams = LatentHeadsParams {
    heads: 6,
    nope_dim: 4,
    rotary_dim: 2,
    in_features: 33,
    row_words: 8,
    blocks: 2,
    block_shift: 5,
    slots: 9,
    eps: 1e-6,
};
pub const ROPE: RopeParams = RopeParams {
    heads: 6,
    kv_heads: 2,
    rotary_dim: 4,
    slots: 9,
    pages: 3,
    eps: 1e-6,
    clip: f32::MAX,
    temperature_scale: 0.0,
    temperature_floor: 0,
};
pub const ROUTE: MoeRouteParams = MoeRouteParams::new(3, 6);
pub const COMBINE: MoeCombineParams =
    MoeCombineParams { hidden_size: 33, choices: 3, gate_stride: 6, gate_offset: 5 };
pub const SLOTS: MoeSlotParams = MoeSlotParams::new(5, 3);
/// Of 7 tokens, each of 5 experts takes 3.
pub const CHOSEN: ChosenSlots =
    ChosenSlots { experts: 5, share: ExpertShare { numerator: 1, denominator: 2, round: 0 } };
pub const BEST: SampleBestParams = SampleBestParams { vocab_size: 4097, inverse_temperature: 1.0 };
pub const PICK: SamplePickParams = SamplePickParams { vocab_size: 4097, max_samples: 11, top_p: 1.0 };

pub fn attention(phase: Phase) -> Attention {
    let (sinks, score_bias) = (phase == Phase::Prefill, ScoreBias::Alibi { bf16: false });
    let cache = CacheRows { slots: CacheSlots::Paged, format: CacheFormat::F16 };
    Attention { softcap: true, score_bias, sinks, cache, ..Attention::new(10, phase) }
}

/// The same of a prompt on cooperative matrices.
pub fn attention_on_matrices() -> AttentionCoop {
    let attention = attention(Phase::Prefill);
    AttentionCoop {
        attention: Attention { queries: AttentionCoop::QUERIES, ..attention },
        size: MatrixSize::Sixteen,
    }
}

pub const KV_WRITER: KvWrite = KvWrite { head_dim: 10, cache: CacheRows::PLAIN, values: true };

pub fn rope(to: Option<CacheRows>) -> Rope {
    Rope { qk_norm: QkNorm::Head, to, ..Rope::new(10) }
}

pub fn latent_heads(to: Option<CacheFormat>) -> LatentHeads {
    LatentHeads { codec: int4(), interleaved: true, key_dim: 33 + 2, to, reduce: Reduce::Workgroup }
}

pub fn matvec(rows: VecRows, norm: InputNorm, epilogue: Epilogue) -> Matvec {
    Matvec { norm, epilogue, rows, ..Matvec::new(int4(), 33) }
}

fn int4() -> Codec {
    Codec::of(WeightFormat::int(Width::Int4), &Capabilities::webgpu())
}

pub fn matmul(rows: TileRows, epilogue: Epilogue) -> Matmul {
    Matmul { epilogue, rows, ..Matmul::new(Codec::F16, 33) }
}

/// The same product with inputs that are codes.
pub fn in_i8(product: Matvec) -> Matvec {
    Matvec { inputs: InputRows::I8, ..product }
}

/// Products of codes with codes.
pub fn grouped_i8(rows: TileRows) -> Matmul {
    Matmul { codec: int4(), inputs: InputRows::I8, ..matmul(rows, GATED) }
}

pub fn quantize(norm: InputNorm) -> Quantize {
    Quantize { inputs: InputRows::Any, norm, last: false, chosen: false, reduce: Reduce::Workgroup }
}

pub fn on_matrices(product: Matmul) -> MatmulCoop {
    MatmulCoop { product, size: MatrixSize::Sixteen }
}

/// 12 rows of 33 inputs: 8 words of int4 in 2 blocks, 24 words of f16.
pub fn linear(format: &str) -> LinearParams {
    LinearParams::dense(format.parse().unwrap(), 12, 33)
}

/// The same for 3 of 5 experts, gate and up in pairs.
pub fn expert(format: &str, slots_per_input: u32) -> LinearParams {
    LinearParams { out_stride: 6, choices: 3, slots_per_input, max_tiles: 5, ..linear(format) }
}

pub const GATED: Epilogue = Epilogue { activate: Activate::Silu, gated: true, bias: true, ..Epilogue::NONE };
pub const WEIGHTED: Epilogue = Epilogue { slot_weight: true, bias: false, ..GATED };
pub const MULTIPLIED: Epilogue = Epilogue { activate: Activate::Silu, factor: true, ..Epilogue::NONE };
pub const ADDED: Epilogue = Epilogue { bias: true, residual: true, ..Epilogue::NONE };

pub fn embed(tokens: u32) -> Launch<Embed> {
    let format: WeightFormat = "int4".parse().unwrap();
    let variant = Embed { codec: int4(), by: EmbedBy::Token(TokenIds::ByRow) };
    Launch { variant, params: EmbedParams::new(format, [5 + tokens, 33], 5..5 + tokens, 1.0) }
}

pub fn positions(tokens: u32) -> Launch<Embed> {
    let variant = Embed { codec: Codec::F32, by: EmbedBy::Position };
    Launch { variant, params: EmbedParams::new(WeightFormat::F32, [5 + tokens, 33], 5..5 + tokens, 1.0) }
}

pub fn launch<K: Kernel>(variant: K, params: K::Params) -> Arc<dyn AnyLaunch> {
    Launch { variant, params }.shared()
}
