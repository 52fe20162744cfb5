// An expert takes all that chose it.
fn capacity() -> u32 {
    return 0xffffffffu;
}
