// The tokens of this call. Needs: Span (common/span_struct).
@group(0) @binding(1) var<uniform> span: Span;

// Which of the call's sequences a row belongs to: the last that begins no later.
fn sequence_of(row: u32) -> u32 {
    var least = 0u;
    var most = span.sequences - 1u;
    while least < most {
        let middle = (least + most + 1u) / 2u;
        if span.each[middle].first_row <= row {
            least = middle;
        } else {
            most = middle - 1u;
        }
    }
    return least;
}

// Tokens of its sequence before a row.
fn position_of(row: u32) -> u32 {
    let n = sequence_of(row);
    return span.each[n].position + row - span.each[n].first_row;
}

// The last row of the call's n-th sequence.
fn last_row(n: u32) -> u32 {
    return span.each[n].first_row + span.each[n].rows - 1u;
}
