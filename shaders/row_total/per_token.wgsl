// As many rows for every token.
fn row_total() -> u32 {
    return span.rows * params.rows_per_token;
}
