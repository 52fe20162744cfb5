// Products in a row: the same input with weights in other memory each time, and outputs that do not wait for another.
#pragma once

#include "common.h"

struct products : work {
    ggml_type type;
    ggml_tensor * first;
    std::vector<float> stored;

    products(ggml_type type, int64_t rows, int64_t outputs, int64_t inputs, int copies)
        : work(2 * copies + 1), type(type) {
        ggml_tensor * x = ggml_new_tensor_2d(context, GGML_TYPE_F32, inputs, rows);
        std::vector<ggml_tensor *> weights, y;
        for (int n = 0; n < copies; n++) {
            weights.push_back(ggml_new_tensor_2d(context, type, inputs, outputs));
            y.push_back(ggml_mul_mat(context, weights.back(), x));
            ggml_build_forward_expand(graph, y.back());
        }
        allocate();
        first = y[0];
        stored = read("w.f32", outputs * inputs);
        const std::vector<char> packed = pack(type, stored.data(), outputs, inputs);
        for (ggml_tensor * tensor : weights) {
            upload(tensor, packed);
        }
        upload(x, read("x.f32", rows * inputs));
        run(1);
    }

    void write_results() const override {
        write("y.f32", download<float>(first));
        write("stored.f32", stored);
    }

    std::string note() const override { return ggml_type_name(type); }
};
