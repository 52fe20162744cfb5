// Stores a head of keys or values in f32. Needs: stored_head (its elements, in workgroup memory). Constants: HEAD_DIM, WORKGROUP_SIZE.
@group(0) @binding(5) var<storage, read_write> k_out: array<f32>;         // [any, G, slots, HEAD_DIM]
@group(0) @binding(6) var<storage, read_write> v_out: array<f32>;         // [any, G, slots, HEAD_DIM]

fn store_row(is_value: bool, row: u32, lane: u32) {
    for (var d = lane; d < HEAD_DIM; d += WORKGROUP_SIZE) {
        if is_value {
            v_out[row * HEAD_DIM + d] = stored_head[d];
        } else {
            k_out[row * HEAD_DIM + d] = stored_head[d];
        }
    }
}
