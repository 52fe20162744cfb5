// Values are a part of the keys.
fn write_value(slot_at: u32, source_at: u32) {}
