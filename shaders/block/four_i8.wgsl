// Codes of four rows' inputs. Needs: rows4_dot (block/rows4_i8).
fn block_dot(sites: Sites, step: u32, w: Codes) -> Block {
    return rows4_dot(sites.first, step, w);
}
