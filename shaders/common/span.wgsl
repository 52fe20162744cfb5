// The tokens of this call. Needs: Span (common/span_struct).
@group(0) @binding(1) var<uniform> span: Span;
