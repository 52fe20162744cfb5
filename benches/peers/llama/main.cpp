// llama.cpp's side: products, attention or layers of experts asked for on standard input, a line each, and answered with a line
// each, as burn's.

#include <iostream>
#include <sstream>

#include "attention.h"
#include "experts.h"
#include "products.h"

static std::string capabilities;

// What the backend says about its device goes to the log, at a level that is not shown otherwise.
static void on_log(ggml_log_level, const char * text, void *) {
    const std::string line = text;
    if (line.find("matrix cores:") != std::string::npos) {
        capabilities = line.substr(line.find("| ") + 2);
        capabilities.erase(capabilities.find_last_not_of('\n') + 1);
    }
}

static std::unique_ptr<work> prepare(std::istringstream & words) {
    std::string what, format;
    int copies;
    words >> what >> format >> copies;
    if (what == "product") {
        int64_t rows, outputs, inputs;
        words >> rows >> outputs >> inputs;
        return std::make_unique<products>(type_of(format), rows, outputs, inputs, copies);
    }
    if (what == "attention") {
        attention_shape shape;
        words >> shape.sequences >> shape.rows >> shape.tokens >> shape.heads >> shape.kv_heads >> shape.width >> shape.window;
        return quicker_attention(type_of(format), shape, copies);
    }
    if (what == "experts") {
        experts_shape shape;
        words >> shape.tokens >> shape.width >> shape.hidden >> shape.count >> shape.choices;
        return quicker_experts(type_of(format), shape, copies);
    }
    throw std::runtime_error("nothing is called " + what);
}

int main() {
    ggml_log_set(on_log, nullptr);
    // This one tells what the device is capable of.
    ggml_backend_t backend = ggml_backend_vk_get_device_count() > 0 ? ggml_backend_vk_init(0) : nullptr;
    if (!backend) {
        std::cerr << "llama.cpp found no Vulkan device" << std::endl;
        return 1;
    }
    char name[256];
    ggml_backend_vk_get_device_description(0, name, sizeof(name));
    std::cout << name << "\t" << capabilities << std::endl;
    ggml_backend_free(backend);

    std::unique_ptr<work> prepared;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string request;
        words >> request;
        try {
            if (request == "prepare") {
                // First of all, the memory of the row before.
                prepared.reset();
                prepared = prepare(words);
                prepared->write_results();
                std::cout << prepared->note() << std::endl;
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
