// Keys and values go where attention reads them.
@group(0) @binding(5) var<storage, read_write> k_out: array<f32>;         // [G, slots, HEAD_DIM]
@group(0) @binding(6) var<storage, read_write> v_out: array<f32>;         // [G, slots, HEAD_DIM]

fn store_key(at: u32, value: f32) {
    k_out[at] = value;
}

fn store_value(at: u32, value: f32) {
    v_out[at] = value;
}
