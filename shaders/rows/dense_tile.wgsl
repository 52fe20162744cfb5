// Row tiles over every row of the call, in order; one weight matrix. Constants: TILE_ROWS.
struct TileSite { expert: u32, first: u32, count: u32 }

fn tile_site(tile: u32) -> TileSite {
    let first = tile * TILE_ROWS;
    return TileSite(0u, first, min(TILE_ROWS, max(span.rows, first) - first));
}
