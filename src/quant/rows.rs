//! Rows of elements as words: planes one after the other, each padded with zeros to 16 bytes and 16 elements.

/// Words of a plane of `bits` bits for each of `cols` elements. Kernels load 16 bytes and decode 16 elements at a time.
pub(crate) fn plane_words(bits: u32, cols: usize) -> usize {
    cols.div_ceil(32 / bits as usize).next_multiple_of((bits as usize / 2).max(4))
}

/// Words of a row.
pub(crate) fn row_words(planes: &[u32], cols: usize) -> usize {
    planes.iter().map(|bits| plane_words(*bits, cols)).sum()
}

/// Word and bit at which element `col` begins in a plane of `bits` bits.
///
/// The elements of a word are neighbours. Of at most 8 bits they lie in fours, one in each byte, so that a shift and a
/// mask give four neighbours in the bytes of a word: what `dot4I8Packed` takes.
fn place(bits: u32, col: usize) -> (usize, u32) {
    let per_word = 32 / bits as usize;
    let within = (col % per_word) as u32;
    let bit = if bits <= 8 { 8 * (within % 4) + bits * (within / 4) } else { bits * within };
    (col / per_word, bit)
}

/// Elements as words, row after row. `element` takes a row-major index and gives the bits of all planes, the first
/// plane's uppermost.
pub(super) fn pack_rows(
    rows: usize,
    cols: usize,
    planes: &[u32],
    element: impl Fn(usize) -> u32,
) -> Vec<u32> {
    let row_words = row_words(planes, cols);
    let mut words = vec![0; rows * row_words];
    for row in 0..rows {
        for col in 0..cols {
            let element = element(row * cols + col);
            let (mut first, mut below) = (row * row_words, planes.iter().sum::<u32>());
            for &bits in planes {
                below -= bits;
                let (word, bit) = place(bits, col);
                words[first + word] |= ((element >> below) & mask(bits)) << bit;
                first += plane_words(bits, cols);
            }
        }
    }
    words
}

/// An element of a row that [`pack_rows`] packed.
pub(super) fn unpack_element(row: &[u32], cols: usize, planes: &[u32], col: usize) -> u32 {
    let (mut first, mut element) = (0, 0);
    for &bits in planes {
        let (word, bit) = place(bits, col);
        let part = (row[first + word] >> bit) & mask(bits);
        element = u32::checked_shl(element, bits).unwrap_or(0) | part;
        first += plane_words(bits, cols);
    }
    element
}

/// Which bits of word `word` of a plane belong to elements below `cols`.
pub(super) fn used_bits(bits: u32, cols: usize, word: usize) -> u32 {
    let per_word = 32 / bits as usize;
    let used = cols.saturating_sub(word * per_word).min(per_word);
    (0..used).fold(0, |all, within| all | mask(bits) << place(bits, within).1)
}

fn mask(bits: u32) -> u32 {
    u32::MAX >> (32 - bits)
}
