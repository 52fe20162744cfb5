// How many rows come before each: those with larger keys, and the earlier ones of equal keys. Numbers not above 0 are alike.
// Four rows per lane, so that each key that is read is compared four times.
// Needs: span; of the kernel: number(row, column). Constants: WORKGROUP_SIZE.
const ROWS_PER_WORKGROUP: u32 = 4u * WORKGROUP_SIZE;

var<workgroup> keys: array<vec4<u32>, WORKGROUP_SIZE>;

// Bits of numbers above 0 sort as they do. Rows after the last come after all others.
fn key(row: u32, column: u32) -> u32 {
    if row >= span.rows {
        return 0u;
    }
    let x = number(row, column);
    return select(0u, bitcast<u32>(x), x > 0.0);
}

fn four_keys(row: u32, column: u32) -> vec4<u32> {
    return vec4<u32>(key(row, column), key(row + 1u, column), key(row + 2u, column), key(row + 3u, column));
}

// The ranks of four rows from `row` on, a multiple of 4. Everybody in a workgroup is to come here.
fn ranks(row: u32, column: u32, lane: u32) -> vec4<u32> {
    let own = four_keys(row, column);
    // Of the four themselves.
    var rank = vec4<u32>(0u, u32(own.x == own.y), 0u, 0u);
    rank.z = u32(own.x == own.z) + u32(own.y == own.z);
    rank.w = u32(own.x == own.w) + u32(own.y == own.w) + u32(own.z == own.w);
    for (var first = 0u; first < span.rows; first += ROWS_PER_WORKGROUP) {
        keys[lane] = four_keys(first + 4u * lane, column);
        workgroupBarrier();
        let length = min(WORKGROUP_SIZE, (span.rows - first + 3u) / 4u);
        for (var i = 0u; i < length; i += 1u) {
            let other = keys[i];
            // An equal key counts only in earlier rows.
            let least = own + u32(first + 4u * i >= row);
            rank += vec4<u32>(other.xxxx >= least) + vec4<u32>(other.yyyy >= least);
            rank += vec4<u32>(other.zzzz >= least) + vec4<u32>(other.wwww >= least);
        }
        workgroupBarrier();
    }
    return rank;
}
