// Words of a plane of a row.
fn plane_words(bits: u32) -> u32 {
    return 4u * ((params.in_features * bits + 127u) / 128u);
}
