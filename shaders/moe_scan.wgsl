// From counts to places: where each expert's slots of each run start, and which rows each matmul tile takes.
// One workgroup; lanes stride over the experts. Tiles beyond the last get a count of 0.
// Needs: span. Constants: EXPERTS, TILE_ROWS, RUN.
struct Params { choices: u32, max_tiles: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> counts: array<u32>;              // [runs, EXPERTS]
@group(0) @binding(3) var<storage, read_write> offsets: array<u32>;       // [runs, EXPERTS]
@group(0) @binding(4) var<storage, read_write> tile_map: array<vec4<u32>>;    // [max_tiles]: expert, first, count, 0
const WORKGROUP_SIZE: u32 = 256u;

var<workgroup> totals: array<u32, EXPERTS>;
var<workgroup> first_slot: array<u32, EXPERTS>;
var<workgroup> first_tile: array<u32, EXPERTS>;
var<workgroup> tile_total: u32;

fn run(workgroup: u32, lane: u32) {
    if workgroup > 0u {
        return;
    }
    let runs = (span.rows * params.choices + RUN - 1u) / RUN;
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        var total = 0u;
        for (var r = 0u; r < runs; r += 1u) {
            total += counts[r * EXPERTS + e];
        }
        totals[e] = total;
    }
    workgroupBarrier();
    if lane == 0u {
        var slot = 0u;
        var tile = 0u;
        for (var e = 0u; e < EXPERTS; e += 1u) {
            first_slot[e] = slot;
            first_tile[e] = tile;
            slot += totals[e];
            tile += (totals[e] + TILE_ROWS - 1u) / TILE_ROWS;
        }
        tile_total = tile;
    }
    workgroupBarrier();
    for (var e = lane; e < EXPERTS; e += WORKGROUP_SIZE) {
        var slot = first_slot[e];
        for (var r = 0u; r < runs; r += 1u) {
            offsets[r * EXPERTS + e] = slot;
            slot += counts[r * EXPERTS + e];
        }
        let tiles = (totals[e] + TILE_ROWS - 1u) / TILE_ROWS;
        for (var t = 0u; t < tiles; t += 1u) {
            let done = t * TILE_ROWS;
            tile_map[first_tile[e] + t] = vec4<u32>(e, first_slot[e] + done, min(TILE_ROWS, totals[e] - done), 0u);
        }
    }
    for (var t = tile_total + lane; t < params.max_tiles; t += WORKGROUP_SIZE) {
        tile_map[t] = vec4<u32>();
    }
}
