// From counts to places: where each expert's slots of each run start, and which rows each matmul tile takes.
// One workgroup; each lane has neighbouring experts. Entries without a tile get a count of 0.
// Needs: capacity (capacity/*), span. Constants: EXPERTS, TILE_ROWS, RUN.
struct Params { choices: u32, max_tiles: u32, share_numerator: u32, share_denominator: u32, share_round: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> counts: array<u32>;              // [runs, EXPERTS]
@group(0) @binding(3) var<storage, read_write> offsets: array<u32>;       // [runs, EXPERTS]
@group(0) @binding(4) var<storage, read_write> tile_map: array<vec4<u32>>;    // [max_tiles]: expert, first, count, 0
const WORKGROUP_SIZE: u32 = 256u;

const LANE_EXPERTS: u32 = (EXPERTS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;

var<workgroup> sums: array<vec2<u32>, WORKGROUP_SIZE>;     // slots, tiles: of a lane's experts, then of all up to them

fn run(workgroup: u32, lane: u32) {
    if workgroup > 0u {
        return;
    }
    let runs = (span.rows * params.choices + RUN - 1u) / RUN;
    let end = min((lane + 1u) * LANE_EXPERTS, EXPERTS);
    var totals = array<u32, LANE_EXPERTS>();
    var own = vec2<u32>();
    for (var e = lane * LANE_EXPERTS; e < end; e += 1u) {
        var total = 0u;
        for (var r = 0u; r < runs; r += 1u) {
            total += counts[r * EXPERTS + e];
        }
        total = min(total, capacity());
        totals[e % LANE_EXPERTS] = total;
        own += vec2<u32>(total, (total + TILE_ROWS - 1u) / TILE_ROWS);
    }
    sums[lane] = own;
    workgroupBarrier();
    for (var stride = 1u; stride < WORKGROUP_SIZE; stride *= 2u) {
        var sum = sums[lane];
        if lane >= stride {
            sum += sums[lane - stride];
        }
        workgroupBarrier();
        sums[lane] = sum;
        workgroupBarrier();
    }
    for (var t = lane; t < params.max_tiles; t += WORKGROUP_SIZE) {
        tile_map[t] = vec4<u32>();
    }
    storageBarrier();
    let used = sums[WORKGROUP_SIZE - 1u].y;
    var next = sums[lane] - own;
    for (var e = lane * LANE_EXPERTS; e < end; e += 1u) {
        let total = totals[e % LANE_EXPERTS];
        var slot = next.x;
        for (var r = 0u; r < runs; r += 1u) {
            offsets[r * EXPERTS + e] = slot;
            slot += counts[r * EXPERTS + e];
        }
        for (var done = 0u; done < total; done += TILE_ROWS) {
            let tile = spread(next.y + done / TILE_ROWS, used);
            tile_map[tile] = vec4<u32>(e, next.x + done, min(TILE_ROWS, total - done), 0u);
        }
        next += vec2<u32>(total, (total + TILE_ROWS - 1u) / TILE_ROWS);
    }
}

// Where the map has a tile: empty ones lie between those with rows, because some devices give each of their cores one
// stretch of what a call has tiles for. That is as many tiles as there can be (`max_tiles` in expert_plan.rs), where the map
// is as long.
fn spread(tile: u32, used: u32) -> u32 {
    // As long as the product has 32 bits.
    if used > 0xffffu {
        return tile;
    }
    let slots = span.rows * params.choices;
    let hit = min(EXPERTS, slots);
    let tiles = max(used, min((slots - hit) / TILE_ROWS + hit, params.max_tiles));
    return tile * (tiles / used) + tile * (tiles % used) / used;
}
