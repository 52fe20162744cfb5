// Row tiles that hold rows of one expert each, as planned by moe_scan and moe_place. A folded grid has workgroups
// beyond the last tile, and what follows the map in its buffer is no tile; nor is there one for an expert whose weights
// are elsewhere. Needs: params.max_tiles, place_of, ELSEWHERE (members/*).
@group(0) @binding(9) var<storage, read> tile_map: array<vec4<u32>>;      // [tiles]: expert, first, count, 0
@group(0) @binding(10) var<storage, read> slot_of_place: array<u32>;      // [slots], sorted by expert
struct TileSite { expert: u32, first: u32, count: u32 }

fn tile_site(tile: u32) -> TileSite {
    if tile >= params.max_tiles {
        return TileSite();
    }
    let entry = tile_map[tile];
    let place = place_of(entry.x);
    return TileSite(place, entry.y, select(entry.z, 0u, place == ELSEWHERE));
}

fn slot_at(index: u32) -> u32 {
    return slot_of_place[index];
}
