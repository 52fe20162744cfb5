/// A table `[n, columns]` as `[columns, n]`.
pub fn transposed<T: Copy>(table: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| table.iter().skip(column).step_by(columns).copied()).collect()
}
