//! Layers of experts: tokens x width x width of an expert x experts x experts of a token.

/// The numbers of a layer.
#[derive(Clone, Copy)]
pub struct Layer {
    /// Rows of the input.
    pub tokens: u32,
    /// Width of a row.
    pub width: u32,
    /// Width of one branch of an expert.
    pub hidden: u32,
    /// How many experts there are.
    pub experts: u32,
    /// How many a token has.
    pub choices: u32,
}

/// Tokens of one sequence that is decoded, of a few, and of many or a prompt.
const TOKENS: [u32; 4] = [1, 4, 64, 512];

/// Small enough for a software driver.
pub const SMALL: [[u32; 4]; 2] = [[512, 256, 8, 2], [256, 256, 64, 8]];

/// Mixtral 8x7B, Qwen3 30B A3B, OLMoE.
pub const MODELS: [[u32; 4]; 3] = [[4096, 14_336, 8, 2], [2048, 768, 128, 8], [2048, 1024, 64, 8]];

impl Layer {
    /// Every layer with every number of tokens.
    pub fn all(layers: &[[u32; 4]]) -> Vec<Self> {
        let with_tokens = |[width, hidden, experts, choices]: [u32; 4]| {
            TOKENS.map(|tokens| Self { tokens, width, hidden, experts, choices })
        };
        layers.iter().copied().flat_map(with_tokens).collect()
    }

    /// `1x2x3x4x5`, or what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.split('x').map(str::parse).collect::<Result<Vec<u32>, _>>();
        match numbers.ok().and_then(|numbers| <[u32; 5]>::try_from(numbers).ok()) {
            Some([tokens, width, hidden, experts, choices]) if (1..=experts).contains(&choices) => {
                Ok(Self { tokens, width, hidden, experts, choices })
            }
            _ => Err(format!(
                "'{text}' is no layer; one is 64x512x256x8x2: tokens, width, width of an expert, experts, experts of a token"
            )),
        }
    }

    /// For people.
    pub fn title(self) -> String {
        let Self { tokens, width, hidden, experts, choices } = self;
        format!("{tokens}, {choices} of {experts}, {width} x {hidden}")
    }

    /// The most experts that tokens go to.
    pub fn most_hit(self) -> u32 {
        self.experts.min(self.tokens * self.choices)
    }

    /// Weights of one of the three matrices of one expert.
    pub fn matrix(self) -> usize {
        self.width as usize * self.hidden as usize
    }
}
