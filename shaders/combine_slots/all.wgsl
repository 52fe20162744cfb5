// Every choice of a token has a row.
const NONE: u32 = 0xffffffffu;

fn slot_count(token: u32) -> u32 {
    return params.choices;
}

fn combined_slot(token: u32, n: u32) -> u32 {
    return token * params.choices + n;
}
