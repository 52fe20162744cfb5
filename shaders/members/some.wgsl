// The matrices of some of the experts: a table says which is whose.
@group(0) @binding(11) var<storage, read> place_of_expert: array<u32>;    // [experts]; ELSEWHERE: none of these
const ELSEWHERE: u32 = 0xffffffffu;

fn place_of(expert: u32) -> u32 {
    // A slot without an expert has a number that no table reaches.
    if expert == ELSEWHERE {
        return ELSEWHERE;
    }
    return place_of_expert[expert];
}
