//! Layout strings of published models: what a block of theirs is made of.

/// The transformer: attention and a feed-forward network by turns (arXiv 1706.03762, section 3.1).
pub const DENSE: &str = "af";

/// Experts in place of every feed-forward network (Switch-C, arXiv 2101.03961, table 9).
pub const SWITCH: &str = "ag";

/// Experts in place of every other feed-forward network (GShard, arXiv 2006.16668, section 2.2; GLaM, arXiv 2112.06905,
/// section 4).
pub const GSHARD: &str = "afag";

/// Experts in every fourth layer, and after them a dense feed-forward network with a norm of its own (sparse-dense:
/// ST-MoE, arXiv 2202.08906). The published counts of ST-MoE are those without that network.
pub const SPARSE_DENSE: &str = "afafafagf";

/// Attention and feed-forward network side by side (PaLM, arXiv 2204.02311, section 2).
pub const PARALLEL: &str = "(af)";

/// The first block of Brainformer (arXiv 2306.00008). The paper has it as a picture; the letters are the ones that
/// agree with its counts of parameters.
pub const BRAINFORMER_1: &str = "agfagfgf";

/// The second block of Brainformer, as certain as the first.
pub const BRAINFORMER_2: &str = "agfgagfg";

/// The block of six sub-layers that others have built after Brainformer.
pub const BRAINFORMER_SIX: &str = "agfgfg";

/// The sandwich order of `layers` layers: `coefficient` attentions first and as many feed-forward networks last, at
/// most one of a layer each; between them both by turns (arXiv 1911.03864, section 4).
pub fn sandwich(layers: usize, coefficient: usize) -> String {
    let ends = coefficient.min(layers);
    ["a".repeat(ends), "af".repeat(layers - ends), "f".repeat(ends)].concat()
}
