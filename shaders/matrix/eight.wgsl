// Cooperative matrices of 8 by 8. A subgroup holds one of them in common.
alias Rows = coop_mat8x8<f16, A>;
alias Columns = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
const SIDE: u32 = 8u;
