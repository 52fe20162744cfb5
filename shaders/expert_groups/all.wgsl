// Every expert can be chosen.
fn rule_out(lane: u32) {}
