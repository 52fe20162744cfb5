// Row tiles that hold rows of one head each: the rows of all tokens, a weight matrix for each head. An index counts the rows
// of the first head, then those of the next. Constants: TILE_ROWS.
struct TileSite { expert: u32, first: u32, count: u32 }

fn tile_site(tile: u32) -> TileSite {
    let head = tile % params.choices;
    let first = tile / params.choices * TILE_ROWS;
    return TileSite(head, head * span.rows + first, min(TILE_ROWS, max(span.rows, first) - first));
}
