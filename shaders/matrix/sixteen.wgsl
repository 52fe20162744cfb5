// Cooperative matrices of 16 by 16. A subgroup holds one of them in common.
alias Rows = coop_mat16x16<f16, A>;
alias Columns = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
const SIDE: u32 = 16u;
