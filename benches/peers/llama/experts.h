// Layers of experts in a row: the same input with weights in other memory each time.
#pragma once

#include <algorithm>
#include <cmath>

#include "common.h"

struct experts_shape {
    int64_t tokens, width, hidden, count, choices;
};

struct experts : work {
    // Gate and up of each expert: one matrix below the other, or apart.
    struct stacks {
        ggml_tensor *gate_up, *gate, *up, *down;
    };

    ggml_type type;
    experts_shape shape;
    bool merged;
    ggml_tensor *x, *router;
    std::vector<stacks> weights;
    // Of the first layer: all experts of each token from the best to the worst, and the output.
    ggml_tensor *order = nullptr, *y = nullptr;

    experts(ggml_type type, experts_shape shape, int copies, bool merged)
        : work(2 + copies * (32 + 3 * shape.choices)), type(type), shape(shape), merged(merged) {
        const auto [tokens, width, hidden, count, choices] = shape;
        x = ggml_new_tensor_2d(context, GGML_TYPE_F32, width, tokens);
        router = ggml_new_tensor_2d(context, GGML_TYPE_F32, width, count);
        for (int n = 0; n < copies; n++) {
            const auto stack = [&](int64_t inputs, int64_t outputs) {
                return ggml_new_tensor_3d(context, type, inputs, outputs, count);
            };
            stacks layer = {};
            if (merged) {
                layer.gate_up = stack(width, 2 * hidden);
            } else {
                layer.gate = stack(width, hidden);
                layer.up = stack(width, hidden);
            }
            layer.down = stack(hidden, width);
            weights.push_back(layer);
            compute(layer);
        }
        allocate();
        fill();
        run(1);
    }

    std::string note() const override {
        return std::string(ggml_type_name(type)) + (merged ? " merged" : " apart");
    }

    // What came out, and what it was computed with: `order` has all experts of a token, of which the first are chosen.
    void write_results() const override {
        write("y.f32", download<float>(y));
        const std::vector<int32_t> all = download<int32_t>(order);
        std::vector<int32_t> routes;
        for (int64_t token = 0; token < shape.tokens; token++) {
            const auto first = all.begin() + token * shape.count;
            routes.insert(routes.end(), first, first + shape.choices);
        }
        write("routes.u32", routes);
    }

  private:
    void compute(const stacks & layer) {
        const auto [tokens, width, hidden, count, choices] = shape;
        ggml_tensor * probabilities = ggml_soft_max(context, ggml_mul_mat(context, router, x));
        ggml_tensor * chosen = ggml_argsort_top_k(context, probabilities, choices);
        ggml_tensor * column = ggml_reshape_3d(context, probabilities, 1, count, tokens);
        ggml_tensor * shares = ggml_reshape_2d(context, ggml_get_rows(context, column, chosen), choices, tokens);
        ggml_tensor * total = ggml_clamp(context, ggml_sum_rows(context, shares), 0x1p-14f, INFINITY);
        shares = ggml_reshape_3d(context, ggml_div(context, shares, total), 1, choices, tokens);
        // In this order and in one piece, the backend has one kernel for all of routing.
        ggml_build_forward_expand(graph, shares);

        ggml_tensor * rows = ggml_reshape_3d(context, x, width, 1, tokens);
        ggml_tensor *gate, *up;
        if (merged) {
            ggml_tensor * both = ggml_mul_mat_id(context, layer.gate_up, rows, chosen);
            const auto half = [&](size_t at) {
                return ggml_view_3d(context, both, hidden, choices, tokens, both->nb[1], both->nb[2], at * hidden * both->nb[0]);
            };
            gate = half(0);
            up = half(1);
        } else {
            up = ggml_mul_mat_id(context, layer.up, rows, chosen);
            gate = ggml_mul_mat_id(context, layer.gate, rows, chosen);
        }
        ggml_tensor * inner = ggml_swiglu_split(context, gate, up);
        ggml_tensor * outer = ggml_mul(context, ggml_mul_mat_id(context, layer.down, inner, chosen), shares);
        ggml_build_forward_expand(graph, outer);

        std::vector<ggml_tensor *> parts;
        for (int64_t n = 0; n < choices; n++) {
            parts.push_back(ggml_view_2d(context, outer, width, tokens, outer->nb[2], n * outer->nb[1]));
            ggml_build_forward_expand(graph, parts.back());
        }
        ggml_tensor * sum = choices == 1 ? ggml_cont(context, parts[0]) : parts[0];
        for (int64_t n = 1; n < choices; n++) {
            sum = ggml_add(context, sum, parts[n]);
        }
        ggml_build_forward_expand(graph, sum);
        if (!y) {
            y = sum;
            order = chosen->view_src;
        }
    }

    // Uploads all numbers, and writes the weights as they are after rounding: all gates, all ups, all downs.
    void fill() {
        const auto [tokens, width, hidden, count, choices] = shape;
        const int64_t one = width * hidden, all = one * count;
        std::vector<float> values = read("w.f32", 3 * all);
        const std::vector<char> gate = pack(type, values.data(), hidden * count, width);
        const std::vector<char> up = pack(type, values.data() + all, hidden * count, width);
        const std::vector<char> down = pack(type, values.data() + 2 * all, width * count, hidden);
        write("stored.f32", values);
        std::vector<char> gate_up;
        const size_t bytes = gate.size() / count;
        for (int64_t n = 0; merged && n < count; n++) {
            for (const auto & part : {std::cref(gate), std::cref(up)}) {
                const auto first = part.get().begin() + n * bytes;
                gate_up.insert(gate_up.end(), first, first + bytes);
            }
        }
        for (const stacks & layer : weights) {
            if (merged) {
                upload(layer.gate_up, gate_up);
            } else {
                upload(layer.gate, gate);
                upload(layer.up, up);
            }
            upload(layer.down, down);
        }
        upload(x, read("x.f32", tokens * width));
        upload(router, read("router.f32", count * width));
    }
};

// The quicker of both ways to store gate and up.
inline std::unique_ptr<work> quicker_experts(ggml_type type, experts_shape shape, int copies) {
    return quicker([&](bool merged) { return std::make_unique<experts>(type, shape, copies, merged); });
}
