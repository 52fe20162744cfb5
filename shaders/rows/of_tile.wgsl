// The rows of tiles, one by one. Needs: tile_site (rows/*_tile), input_at, slot_at (tile_rows/*). Constants: TILE_ROWS.
struct RowSite { input: u32, output: u32, expert: u32 }

fn has_row(row: u32) -> bool {
    return row % TILE_ROWS < tile_site(row / TILE_ROWS).count;
}

fn row_site(row: u32) -> RowSite {
    let tile = tile_site(row / TILE_ROWS);
    let index = tile.first + row % TILE_ROWS;
    return RowSite(input_at(index), slot_at(index), tile.expert);
}
