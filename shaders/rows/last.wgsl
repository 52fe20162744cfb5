// Only the last row of the call, written to row 0: the head after a prompt.
struct RowSite { input: u32, output: u32, expert: u32 }

fn has_row(row: u32) -> bool {
    return row == 0u;
}

fn row_site(row: u32) -> RowSite {
    return RowSite(span.rows - 1u, 0u, 0u);
}
