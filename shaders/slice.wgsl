// Slices of the parent's 8-bit codes, packed in the planes that codec/sliced reads: one lane for 32 codes of a row, which
// are whole words of every plane.
// Needs: codes16 (codec/parent), plane_words (codec/plane_words), span. Constants: WORKGROUP_SIZE, WIDTH, EXTRA.
struct Params {
    in_features: u32,
    row_words: u32,         // of the parent
    sliced_row_words: u32,
    first_row: u32,         // where the first row goes
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read_write> sliced: array<u32>;        // [first_row + rows, sliced_row_words]

fn run(workgroup: u32, lane: u32) {
    let chunks = (params.in_features + 31u) / 32u;
    let i = workgroup * WORKGROUP_SIZE + lane;
    let row = i / chunks;
    if row >= span.rows {
        return;
    }
    let chunk = i % chunks;
    var low = codes16(row, 2u * chunk);
    var high = vec4<u32>();
    if 32u * chunk + 16u < params.in_features {
        high = codes16(row, 2u * chunk + 1u);
    }
    let width = vec4<u32>(WIDTH);
    let ones = vec4<u32>(0x01010101u);
    // Codes of 2^WIDTH are held as one less, and the last plane adds it.
    let low_above = (low >> width) & ones;
    let high_above = (high >> width) & ones;
    low -= low_above;
    high -= high_above;

    var at = (params.first_row + row) * params.sliced_row_words;
    var below = WIDTH;
    if (WIDTH & 4u) != 0u {
        below -= 4u;
        let a = (low >> vec4<u32>(below)) & (15u * ones);
        let b = (high >> vec4<u32>(below)) & (15u * ones);
        sliced[at + 4u * chunk] = a.x | (a.y << 4u);
        sliced[at + 4u * chunk + 1u] = a.z | (a.w << 4u);
        sliced[at + 4u * chunk + 2u] = b.x | (b.y << 4u);
        sliced[at + 4u * chunk + 3u] = b.z | (b.w << 4u);
        at += plane_words(4u);
    }
    if (WIDTH & 2u) != 0u {
        below -= 2u;
        sliced[at + 2u * chunk] = joined((low >> vec4<u32>(below)) & (3u * ones), 2u);
        sliced[at + 2u * chunk + 1u] = joined((high >> vec4<u32>(below)) & (3u * ones), 2u);
        at += plane_words(2u);
    }
    if (WIDTH & 1u) != 0u {
        sliced[at + chunk] = joined(low & ones, 1u) | (joined(high & ones, 1u) << 4u);
        at += plane_words(1u);
    }
    if EXTRA {
        sliced[at + chunk] = joined(low_above, 1u) | (joined(high_above, 1u) << 4u);
    }
}

// Four codes of each byte side by side.
fn joined(codes: vec4<u32>, bits: u32) -> u32 {
    return codes.x | (codes.y << bits) | (codes.z << (2u * bits)) | (codes.w << (3u * bits));
}
