// There are queries alone: keys and values are another layer's.
fn store_key(at: u32, value: f32) {
}

fn store_value(at: u32, value: f32) {
}
