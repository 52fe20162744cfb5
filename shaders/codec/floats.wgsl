// Weights that are stored as numbers: decode16(row, piece) is weights 16 piece .. 16 piece + 15 of a row, four to a
// column. Needs: stored16 (codec/f*).
fn decode16(row: u32, piece: u32) -> mat4x4<f32> {
    return stored16(row, piece);
}

// What products of stored numbers with inputs, and the sum of those inputs, give as products of weights.
fn dequantize(row: u32, piece: u32, product: f32, input_sum: f32) -> f32 {
    return product;
}
