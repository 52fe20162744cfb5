// llama.cpp's side: products asked for on standard input, a line each, and answered with a line each, as burn's.
// Uses ggml's public functions only.

#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "ggml-vulkan.h"
#include "ggml.h"

static std::string capabilities;

// What the backend says about its device goes to the log, at a level that is not shown otherwise.
static void on_log(ggml_log_level, const char * text, void *) {
    const std::string line = text;
    if (line.find("matrix cores:") != std::string::npos) {
        capabilities = line.substr(line.find("| ") + 2);
        capabilities.erase(capabilities.find_last_not_of('\n') + 1);
    }
}

static ggml_type type_of(const std::string & format) {
    if (format == "f32") return GGML_TYPE_F32;
    if (format == "f16") return GGML_TYPE_F16;
    if (format == "int8") return GGML_TYPE_Q8_0;
    if (format == "int4") return GGML_TYPE_Q4_0;
    if (format == "int2") return GGML_TYPE_Q2_K;
    throw std::runtime_error("llama.cpp has nothing like " + format);
}

static std::vector<float> read(const char * file, size_t count) {
    std::vector<float> values(count);
    std::ifstream stream(file, std::ios::binary);
    if (!stream.read(reinterpret_cast<char *>(values.data()), count * sizeof(float))) {
        throw std::runtime_error(std::string(file) + " is too short");
    }
    return values;
}

static void write(const char * file, const std::vector<float> & values) {
    std::ofstream stream(file, std::ios::binary);
    stream.write(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float));
}

// Products in a row: the same input with weights in other memory each time, and outputs that do not wait for another.
struct products {
    ggml_backend_t backend;
    ggml_context * context;
    ggml_backend_buffer_t buffer = nullptr;
    ggml_cgraph * graph;
    ggml_type type;

    products(ggml_backend_t backend, ggml_type type, int64_t rows, int64_t outputs, int64_t inputs, int copies)
        : backend(backend), type(type) {
        const size_t tensors = 2 * copies + 1;
        context = ggml_init({ggml_tensor_overhead() * tensors + ggml_graph_overhead_custom(tensors, false), nullptr, true});
        graph = ggml_new_graph_custom(context, tensors, false);
        ggml_tensor * x = ggml_new_tensor_2d(context, GGML_TYPE_F32, inputs, rows);
        std::vector<ggml_tensor *> weights, y;
        for (int n = 0; n < copies; n++) {
            weights.push_back(ggml_new_tensor_2d(context, type, inputs, outputs));
            y.push_back(ggml_mul_mat(context, weights.back(), x));
            ggml_build_forward_expand(graph, y.back());
        }
        if (!ggml_backend_supports_op(backend, y[0])) {
            throw std::runtime_error("the backend does not support it");
        }
        buffer = ggml_backend_alloc_ctx_tensors(context, backend);
        if (!buffer) {
            throw std::runtime_error("out of memory");
        }
        const std::vector<float> values = read("w.f32", outputs * inputs);
        std::vector<char> stored(ggml_row_size(type, inputs) * outputs);
        ggml_quantize_chunk(type, values.data(), stored.data(), 0, outputs, inputs, nullptr);
        for (ggml_tensor * tensor : weights) {
            ggml_backend_tensor_set(tensor, stored.data(), 0, stored.size());
        }
        const std::vector<float> input = read("x.f32", rows * inputs);
        ggml_backend_tensor_set(x, input.data(), 0, input.size() * sizeof(float));
        run(1);

        std::vector<float> result(rows * outputs);
        ggml_backend_tensor_get(y[0], result.data(), 0, result.size() * sizeof(float));
        write("y.f32", result);
        std::vector<float> rounded = values;
        if (const auto to_float = ggml_get_type_traits(type)->to_float) {
            to_float(stored.data(), rounded.data(), rounded.size());
        }
        write("stored.f32", rounded);
    }

    ~products() {
        ggml_backend_buffer_free(buffer);
        ggml_free(context);
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

int main() {
    ggml_log_set(on_log, nullptr);
    ggml_backend_t backend = ggml_backend_vk_get_device_count() > 0 ? ggml_backend_vk_init(0) : nullptr;
    if (!backend) {
        std::cerr << "llama.cpp found no Vulkan device" << std::endl;
        return 1;
    }
    char name[256];
    ggml_backend_vk_get_device_description(0, name, sizeof(name));
    std::cout << name << "\t" << capabilities << std::endl;

    products * prepared = nullptr;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string request, format;
        words >> request;
        try {
            if (request == "prepare") {
                int64_t rows, outputs, inputs;
                int copies;
                words >> format >> rows >> outputs >> inputs >> copies;
                delete prepared;
                prepared = nullptr;
                prepared = new products(backend, type_of(format), rows, outputs, inputs, copies);
                std::cout << ggml_type_name(prepared->type) << std::endl;
            } else if (request == "run" && prepared) {
                int times;
                words >> times;
                std::cout << prepared->run(times) << std::endl;
            } else {
                throw std::runtime_error("unknown request: " + line);
            }
        } catch (const std::exception & error) {
            std::cout << "cannot " << error.what() << std::endl;
        }
    }
}
