// Attention in a row: the same queries with keys and values in other memory each time.
#pragma once

#include <cmath>

#include "common.h"

struct attention_shape {
    int64_t sequences, rows, tokens, heads, kv_heads, width, window;
};

struct attention : work {
    ggml_type type;
    attention_shape shape;
    // By the kernel for attention, or by two products with a softmax between them, which wants values by columns.
    bool flash;
    ggml_tensor *q, *mask = nullptr;
    std::vector<ggml_tensor *> keys, values;
    // Of the first.
    ggml_tensor * y = nullptr;
    // Keys, then values, as they are after rounding.
    std::vector<float> stored;

    attention(ggml_type type, attention_shape shape, int copies, bool flash)
        : work(2 + copies * 16), type(type), shape(shape), flash(flash) {
        const auto [sequences, rows, tokens, heads, kv_heads, width, window] = shape;
        if (!flash && ggml_is_quantized(type)) {
            throw std::runtime_error("values by columns have no blocks");
        }
        q = ggml_new_tensor_4d(context, GGML_TYPE_F32, width, heads, rows, sequences);
        // The row of a step sees everything there is.
        if (rows > 1) {
            mask = ggml_new_tensor_2d(context, GGML_TYPE_F16, tokens, rows);
        }
        for (int n = 0; n < copies; n++) {
            keys.push_back(ggml_new_tensor_4d(context, type, width, kv_heads, tokens, sequences));
            values.push_back(
                flash ? ggml_new_tensor_4d(context, type, width, kv_heads, tokens, sequences)
                      : ggml_new_tensor_4d(context, type, tokens, width, kv_heads, sequences));
            compute(keys.back(), values.back());
        }
        allocate();
        fill();
        run(1);
    }

    std::string note() const override { return std::string(ggml_type_name(type)) + (flash ? " flash" : " plain"); }

    void write_results() const override {
        write("y.f32", download<float>(y));
        write("stored.f32", stored);
    }

  private:
    // By heads instead of by tokens, without a copy.
    ggml_tensor * by_heads(ggml_tensor * tensor) { return ggml_permute(context, tensor, 0, 2, 1, 3); }

    void compute(ggml_tensor * keys, ggml_tensor * values) {
        const float scale = 1.0f / std::sqrt(static_cast<float>(shape.width));
        ggml_tensor * out;
        if (flash) {
            out = ggml_flash_attn_ext(context, by_heads(q), by_heads(keys), by_heads(values), mask, scale, 0.0f, 0.0f);
        } else {
            ggml_tensor * scores = ggml_mul_mat(context, by_heads(keys), by_heads(q));
            ggml_tensor * weights = ggml_soft_max_ext(context, scores, mask, scale, 0.0f);
            out = ggml_cont(context, by_heads(ggml_mul_mat(context, values, weights)));
        }
        ggml_build_forward_expand(graph, out);
        if (!y) {
            y = out;
        }
    }

    // Uploads all numbers.
    void fill() {
        const auto [sequences, rows, tokens, heads, kv_heads, width, window] = shape;
        const int64_t row = kv_heads * width, half = tokens * row;
        stored = read("w.f32", 2 * half);
        std::vector<float> columns(stored.begin() + half, stored.end());
        const std::vector<char> k = pack(type, stored.data(), tokens * kv_heads, width);
        std::vector<char> v = pack(type, stored.data() + half, tokens * kv_heads, width);
        if (!flash) {
            const std::vector<float> by_tokens = columns;
            for (int64_t token = 0; token < tokens; token++) {
                for (int64_t column = 0; column < row; column++) {
                    columns[column * tokens + token] = by_tokens[token * row + column];
                }
            }
            v = pack(type, columns.data(), row, tokens);
        }
        for (size_t n = 0; n < keys.size(); n++) {
            upload(keys[n], repeated(k));
            upload(values[n], repeated(v));
        }
        upload(q, read("x.f32", sequences * rows * heads * width));
        if (mask) {
            std::vector<ggml_fp16_t> seen;
            const ggml_fp16_t yes = ggml_fp32_to_fp16(0.0f), no = ggml_fp32_to_fp16(-INFINITY);
            for (int64_t query = 0; query < rows; query++) {
                const int64_t position = tokens - rows + query;
                for (int64_t token = 0; token < tokens; token++) {
                    const bool sees = token <= position && (window == 0 || position - token < window);
                    seen.push_back(sees ? yes : no);
                }
            }
            upload(mask, seen);
        }
    }

    // Once for every sequence.
    std::vector<char> repeated(const std::vector<char> & one) const {
        std::vector<char> all;
        for (int64_t n = 0; n < shape.sequences; n++) {
            all.insert(all.end(), one.begin(), one.end());
        }
        return all;
    }
};

// The quicker of both ways that are possible.
inline std::unique_ptr<work> quicker_attention(ggml_type type, attention_shape shape, int copies) {
    return quicker([&](bool flash) { return std::make_unique<attention>(type, shape, copies, flash); });
}
