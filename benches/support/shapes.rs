//! What is multiplied: rows of the input x outputs x inputs.

/// Rows of the input, outputs, inputs.
pub type Shape = [u32; 3];

/// Rows of the input: of one sequence that is decoded, of a few, and of many or a prompt.
pub const ROWS: [u32; 5] = [1, 4, 16, 128, 512];

/// Outputs x inputs small enough for a software driver.
pub const SMALL: [[u32; 2]; 2] = [[1024, 1024], [2048, 2048]];

/// Outputs x inputs of projections of models.
pub const MODELS: [[u32; 2]; 12] = [
    // Gemma 3 1B: feed-forward network.
    [6912, 1152],
    [1152, 6912],
    // Gemma 3 4B: queries, feed-forward network.
    [2048, 2560],
    [10_240, 2560],
    [2560, 10_240],
    // Gemma 3 27B: queries, feed-forward network.
    [4096, 5376],
    [21_504, 5376],
    [5376, 21_504],
    // Mixtral 8x7B: an expert.
    [14_336, 4096],
    [4096, 14_336],
    // Qwen3 30B A3B: an expert.
    [768, 2048],
    [2048, 768],
];

/// Every matrix with every number of rows.
pub fn shapes(matrices: &[[u32; 2]], rows: &[u32]) -> Vec<Shape> {
    let with_rows = |[outputs, inputs]: [u32; 2]| rows.iter().map(move |rows| [*rows, outputs, inputs]);
    matrices.iter().copied().flat_map(with_rows).collect()
}

/// `1x2x3`, or what is wrong with it.
pub fn parse(text: &str) -> Result<Shape, String> {
    let numbers = text.split('x').map(str::parse).collect::<Result<Vec<u32>, _>>();
    let shape = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    shape.ok_or_else(|| format!("'{text}' is no shape; one is 16x1024x1024: rows, outputs, inputs"))
}

/// For people.
pub fn title([rows, outputs, inputs]: Shape) -> String {
    format!("{rows} x {outputs} x {inputs}")
}
