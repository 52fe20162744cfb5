// Every head has a logit more, whose share of the softmax goes nowhere (arXiv 2508.10925). It may be the largest of all: then
// everything is relative to it.
@group(0) @binding(8) var<storage, read> sinks: array<f32>;               // [H]

fn with_sink(head: u32, max_score: f32, sum: f32) -> vec2<f32> {
    let sink = sinks[head];
    let rescale = exp(max(min(max_score - sink, 0.0), -80.0));
    return vec2<f32>(rescale, sum * rescale + exp(max(min(sink - max_score, 0.0), -80.0)));
}
