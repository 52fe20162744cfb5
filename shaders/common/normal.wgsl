// A normal number, the quantile of a uniform one by the polynomials of Giles ("Approximating the erfinv function", GPU
// Computing Gems, Jade edition, 2011). Needs: uniform_random (common/random).
fn normal_random(seed: u32, draw: u32, index: u32) -> f32 {
    let x = 2.0 * uniform_random(seed, draw, index) - 1.0;
    var w = -log((1.0 - x) * (1.0 + x));
    if w < 5.0 {
        w -= 2.5;
        var p = 2.81022636e-8;
        p = p * w + 3.43273939e-7;
        p = p * w - 3.5233877e-6;
        p = p * w - 4.39150654e-6;
        p = p * w + 0.00021858087;
        p = p * w - 0.00125372503;
        p = p * w - 0.00417768164;
        p = p * w + 0.246640727;
        p = p * w + 1.50140941;
        return 1.41421356 * p * x;
    }
    w = sqrt(w) - 3.0;
    var p = -0.000200214257;
    p = p * w + 0.000100950558;
    p = p * w + 0.00134934322;
    p = p * w - 0.00367342844;
    p = p * w + 0.00573950773;
    p = p * w - 0.0076224613;
    p = p * w + 0.00943887047;
    p = p * w + 1.00167406;
    p = p * w + 2.83297682;
    return 1.41421356 * p * x;
}
