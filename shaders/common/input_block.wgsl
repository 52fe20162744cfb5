// 32 neighbouring inputs of a row as signed 8-bit codes, four to a word: input = scale * code.
struct InputBlock {
    low: vec4<u32>,         // the first 16
    high: vec4<u32>,        // the other 16; past the row's end codes are zero
    scale: f32,
    sum: f32,               // of the codes: a whole number, exact
}
