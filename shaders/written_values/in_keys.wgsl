// Values are a part of the keys.
const HAS_VALUES: bool = false;

fn chunk_value(at: u32) -> f32 {
    return 0.0;
}
