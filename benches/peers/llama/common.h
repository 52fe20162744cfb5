// What products, attention and layers of experts share: numbers in files, formats, and a graph that is computed again and again.
// Uses ggml's public functions only.
#pragma once

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "ggml-vulkan.h"
#include "ggml.h"

inline ggml_type type_of(const std::string & format) {
    if (format == "f32") return GGML_TYPE_F32;
    if (format == "f16") return GGML_TYPE_F16;
    if (format == "int8") return GGML_TYPE_Q8_0;
    if (format == "int4") return GGML_TYPE_Q4_0;
    if (format == "int2") return GGML_TYPE_Q2_K;
    throw std::runtime_error("llama.cpp has nothing like " + format);
}

inline std::vector<float> read(const char * file, size_t count) {
    std::vector<float> values(count);
    std::ifstream stream(file, std::ios::binary);
    if (!stream.read(reinterpret_cast<char *>(values.data()), count * sizeof(float))) {
        throw std::runtime_error(std::string(file) + " is too short");
    }
    return values;
}

template <typename T> void write(const char * file, const std::vector<T> & values) {
    std::ofstream stream(file, std::ios::binary);
    stream.write(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

template <typename T> void upload(ggml_tensor * tensor, const std::vector<T> & values) {
    ggml_backend_tensor_set(tensor, values.data(), 0, values.size() * sizeof(T));
}

template <typename T> std::vector<T> download(const ggml_tensor * tensor) {
    std::vector<T> values(ggml_nelements(tensor));
    ggml_backend_tensor_get(tensor, values.data(), 0, values.size() * sizeof(T));
    return values;
}

// Rows of weights as they are stored. Where they stood, they then stand as they are after rounding.
inline std::vector<char> pack(ggml_type type, float * values, int64_t rows, int64_t inputs) {
    if (inputs % ggml_blck_size(type) != 0) {
        throw std::runtime_error(std::string(ggml_type_name(type)) + " has no blocks for " + std::to_string(inputs) + " inputs");
    }
    std::vector<char> stored(ggml_row_size(type, inputs) * rows);
    ggml_quantize_chunk(type, values, stored.data(), 0, rows, inputs, nullptr);
    if (const auto to_float = ggml_get_type_traits(type)->to_float) {
        to_float(stored.data(), values, rows * inputs);
    }
    return stored;
}

// A graph with the memory of all its tensors. Its backend is its own: on a software driver, one that was given graphs of experts
// one after the other, each freed before the next, left the heap corrupt.
struct work {
    ggml_backend_t backend;
    ggml_context * context;
    ggml_cgraph * graph;
    ggml_backend_buffer_t buffer = nullptr;

    explicit work(size_t tensors) {
        backend = ggml_backend_vk_init(0);
        if (!backend) {
            throw std::runtime_error("there is no Vulkan device");
        }
        context = ggml_init({ggml_tensor_overhead() * tensors + ggml_graph_overhead_custom(tensors, false), nullptr, true});
        graph = ggml_new_graph_custom(context, tensors, false);
    }

    work(const work &) = delete;

    virtual ~work() {
        ggml_backend_free(backend);
        ggml_backend_buffer_free(buffer);
        ggml_free(context);
    }

    // How it computes.
    virtual std::string note() const = 0;

    // Writes what it computes, and the weights as they are after rounding.
    virtual void write_results() const = 0;

    // Once the graph is complete.
    void allocate() {
        for (int n = 0; n < ggml_graph_n_nodes(graph); n++) {
            if (!ggml_backend_supports_op(backend, ggml_graph_node(graph, n))) {
                throw std::runtime_error(std::string("the backend does not support ") + ggml_op_desc(ggml_graph_node(graph, n)));
            }
        }
        buffer = ggml_backend_alloc_ctx_tensors(context, backend);
        if (!buffer) {
            throw std::runtime_error("out of memory");
        }
    }

    // Everything `times` times, then waits once.
    long long run(int times) {
        const auto begin = std::chrono::steady_clock::now();
        for (int n = 0; n < times; n++) {
            if (ggml_backend_graph_compute_async(backend, graph) != GGML_STATUS_SUCCESS) {
                throw std::runtime_error("the graph failed");
            }
        }
        ggml_backend_synchronize(backend);
        return std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
    }
};

// Of two ways the quicker; of one that is not possible the other.
template <typename Way> std::unique_ptr<work> quicker(const Way & way) {
    std::unique_ptr<work> best;
    long long least = 0;
    std::string problem;
    for (const bool second : {false, true}) {
        try {
            std::unique_ptr<work> candidate = way(second);
            const long long time = std::min({candidate->run(1), candidate->run(1), candidate->run(1)});
            if (!best || time < least) {
                best = std::move(candidate);
                least = time;
            }
        } catch (const std::exception & error) {
            problem += std::string(problem.empty() ? "" : "; ") + error.what();
        }
    }
    if (!best) {
        throw std::runtime_error(problem);
    }
    return best;
}
