// Only the last row of each of the call's sequences: the head after a prompt. Needs: span, last_row
// (common/span).
struct RowSite { input: u32, output: u32, expert: u32 }

fn has_row(row: u32) -> bool {
    return row < span.sequences;
}

fn row_site(row: u32) -> RowSite {
    return RowSite(last_row(row), span.first_output + row, 0u);
}
