// Every row of the call, in order; one weight matrix.
struct RowSite { input: u32, output: u32, expert: u32 }

fn row_count() -> u32 {
    return span.rows;
}

fn has_row(row: u32) -> bool {
    return row < span.rows;
}

fn row_site(row: u32) -> RowSite {
    return RowSite(row, row, 0u);
}
