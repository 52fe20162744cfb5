// As many rows for every expert. Needs: capacity (capacity/share).
fn row_total() -> u32 {
    return params.experts * capacity();
}
