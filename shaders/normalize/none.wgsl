fn normalized(choice: u32, sum: f32) -> f32 {
    return chosen_weight[choice];
}
