// Slices of a width: a plane of 4, 2 or 1 bits for each one in the binary WIDTH, upper bits first; with EXTRA one more
// of 1 bit, which is added. Needs: plane_words (codec/plane_words), bits4, bits2, bits1 (codec/plane). Constants: WIDTH, EXTRA.
fn codes16(row: u32, piece: u32) -> vec4<u32> {
    var at = row * params.row_words;
    var codes = vec4<u32>();
    // WIDTH is constant: what is not stored costs nothing.
    if (WIDTH & 4u) != 0u {
        codes = bits4(at, piece);
        at += plane_words(4u);
    }
    if (WIDTH & 2u) != 0u {
        codes = (codes << vec4<u32>(2u)) | bits2(at, piece);
        at += plane_words(2u);
    }
    if (WIDTH & 1u) != 0u {
        codes = (codes << vec4<u32>(1u)) | bits1(at, piece);
        at += plane_words(1u);
    }
    if EXTRA {
        codes += bits1(at, piece);
    }
    return codes;
}
