// Nested planes h g q6q5 q4 q3 q2q1 q0 of the 8-bit codes; g = q7 ^ (q6 | q5), and h g is the slice of two bits in Gray
// code. A width reads as many as hold its bits and the next one. Needs: plane_words
// (codec/plane_words), bits2, bits1 (codec/plane), slice16 (codec/slice). Constants: WIDTH, EXTRA.
fn codes16(row: u32, piece: u32) -> vec4<u32> {
    let one = vec4<u32>(1u);
    var at = row * params.row_words;
    let next = plane_words(1u);
    if WIDTH == 2u && !EXTRA {
        let h = bits1(at, piece);
        return (h << one) | (h ^ bits1(at + next, piece));
    }
    let g = bits1(at + next, piece);
    at += 2u * next;
    let q65 = bits2(at, piece);
    let q7 = g ^ ((q65 | (q65 >> one)) & vec4<u32>(0x01010101u));
    var codes = (q7 << vec4<u32>(2u)) | q65;
    if WIDTH <= 2u { return slice16(codes, 3u); }
    at += plane_words(2u);
    codes = (codes << one) | bits1(at, piece);
    if WIDTH == 3u { return slice16(codes, 4u); }
    at += next;
    codes = (codes << one) | bits1(at, piece);
    if WIDTH == 4u { return slice16(codes, 5u); }
    at += next;
    codes = (codes << vec4<u32>(2u)) | bits2(at, piece);
    if WIDTH <= 6u { return slice16(codes, 7u); }
    at += plane_words(2u);
    codes = (codes << one) | bits1(at, piece);
    return slice16(codes, 8u);
}
