// What routers take logits for. Constants: LARGEST_LOGIT.
const LOWEST: f32 = -LARGEST_LOGIT;         // minus infinity and NaN count as it, infinity as its opposite
const RULED_OUT: f32 = -3.3e38;             // below any key: chosen only when nothing else is left
const TAKEN: f32 = -3.4e38;                 // below that: chosen already

fn number(logit: f32) -> f32 {
    let is_nan = (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u;
    return select(clamp(logit, LOWEST, -LOWEST), LOWEST, is_nan);
}
