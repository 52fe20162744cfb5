// What every product with a weight matrix knows. Mirrors `LinearParams`.
struct Params {
    in_features: u32,
    out_features: u32,      // rows of one weight matrix: of one expert, of one shard
    row_words: u32,         // u32 words of one weight row, padding included
    blocks: u32,            // scale blocks of one weight row
    block_shift: u32,       // log2 of the inputs per block; 31: one block
    out_stride: u32,        // elements between two rows of y
    out_offset: u32,        // where this matrix's outputs start in a row of y
    choices: u32,           // experts per token; 1 where there are none
    slots_per_input: u32,   // rows of work that read the same row of x: `choices` into the experts, 1 out of them
    max_tiles: u32,         // entries of the tile map; 0 where there is none
    eps: f32,               // of the fused norm
    scale: f32,             // of activation/scaled and activation/softcap
    softcap: f32,           // of activation/softcap
    logit_scale: f32,       // of activation/softcap and activation/scale
    glu_alpha: f32,         // of glu/clamped
    glu_limit: f32,
    factor_stride: u32,     // of factor/stored: elements between two rows of the factors
    factor_offset: u32,     // and where those of the first output start in a row
}
@group(0) @binding(0) var<uniform> params: Params;
