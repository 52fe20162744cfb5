// Row tiles that hold rows of one expert each, as planned by moe_scan or by moe_expert_choice. A folded grid has workgroups
// beyond the last tile, and what follows the map in its buffer is no tile; nor is there one for an expert whose weights
// are elsewhere. Needs: params.max_tiles, place_of, ELSEWHERE (members/*).
@group(0) @binding(9) var<storage, read> tile_map: array<vec4<u32>>;      // [tiles]: expert, first, count, 0
struct TileSite { expert: u32, first: u32, count: u32 }

fn tile_site(tile: u32) -> TileSite {
    if tile >= params.max_tiles {
        return TileSite();
    }
    let entry = tile_map[tile];
    let place = place_of(entry.x);
    return TileSite(place, entry.y, select(entry.z, 0u, place == ELSEWHERE));
}
