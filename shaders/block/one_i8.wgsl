// Codes of one row's inputs. Needs: input_block (linear/input_blocks), row_dot (step/i8).
fn block_dot(sites: Sites, step: u32, w: Codes) -> Block {
    return row_dot(input_block(sites.input, step), w);
}
