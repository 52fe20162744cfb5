//! Published blocks that are in the search space.

use super::space::{Activation, Block, Choice, Gating, Network, SUBLAYERS, SubLayer};

/// What others are compared with, by name.
pub const PUBLISHED: [(&str, Block); 3] =
    [("GLaM", GLAM), ("Brainformer 1", BRAINFORMER_1), ("Brainformer 2", BRAINFORMER_2)];

/// GLaM's block `afag` twice, in the sizes of its 0.1B model (arXiv 2112.06905, table 4): the dense network has a gate,
/// experts have none, each token takes two of them.
pub const GLAM: Block = {
    let (a, f) = (attention(12), dense(3072));
    let g = sparse(3072, Activation::Gelu, Choice::Top2, 2);
    Block { width: 768, sublayers: [a, f, a, g, a, f, a, g], own_widths: [None; SUBLAYERS] }
};

/// The first block that Brainformer found, `agfagfgf`, as far as parameter counts tell (arXiv 2306.00008, whose picture
/// alone has it).
pub const BRAINFORMER_1: Block = {
    let (a, f) = (attention(16), dense(3072));
    let g = sparse(2048, Activation::GatedGelu, Choice::Experts, 1);
    Block { width: 1024, sublayers: [a, g, f, a, g, f, g, f], own_widths: [None; SUBLAYERS] }
};

/// The second, `agfgagfg`, with the same reservation.
pub const BRAINFORMER_2: Block = {
    let (a, f) = (attention(16), dense(1536));
    let g = sparse(4096, Activation::Gelu, Choice::Experts, 2);
    Block { width: 1024, sublayers: [a, g, f, g, a, g, f, g], own_widths: [None; SUBLAYERS] }
};

const fn attention(heads: u32) -> SubLayer {
    SubLayer::Attention { heads }
}

const fn dense(hidden: u32) -> SubLayer {
    SubLayer::FeedForward(Network { hidden, activation: Activation::GatedGelu })
}

const fn sparse(hidden: u32, activation: Activation, by: Choice, factor: u32) -> SubLayer {
    SubLayer::Experts(Network { hidden, activation }, Gating { by, factor })
}
