// tag_jets MODEL.onnx PREPROCESS.json JETS.txt: the scores of each jet, one line a jet, with OpenVINO on the CPU.
//
// JETS.txt is what `python -m kd_trainer variables` writes: the names of the variables in one line, then for each jet a
// line with the number of its particles and a line with the variables of each.
// A model that is not what SHA256SUMS in its folder says is refused.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <openvino/openvino.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "checksums.h"
#include "jet_inputs.h"

namespace {

constexpr std::size_t batch_size = 256;

std::vector<std::string> read_names(std::istream &file) {
    std::string line, name;
    std::getline(file, line);
    std::istringstream words(line);
    std::vector<std::string> names;
    while (words >> name) names.push_back(name);
    return names;
}

float read_float(std::istream &file) {  // operator>> does not know nan and inf
    std::string word;
    if (!(file >> word)) throw std::runtime_error("the file of jets ends within a jet");
    char *end = nullptr;
    const float value = std::strtof(word.c_str(), &end);
    if (*end) throw std::runtime_error("the file of jets has '" + word + "' where a number belongs");
    return value;
}

bool read_jet(std::istream &file, const std::vector<std::string> &names, jet_inputs::Jet &jet) {
    std::string word;
    if (!(file >> word)) return false;
    if (word.find_first_not_of("0123456789") != std::string::npos)
        throw std::runtime_error("the file of jets has '" + word + "' where a number of particles belongs");
    const std::size_t particles = std::stoul(word);
    for (const auto &name : names) jet[name].clear();
    for (std::size_t i = 0; i < particles; ++i)
        for (const auto &name : names) jet[name].push_back(read_float(file));
    return true;
}

// The group of each input that the model has: exporters leave out those that the network does not use.
std::vector<jet_inputs::Group> used_groups(const ov::Model &model, const std::vector<jet_inputs::Group> &groups) {
    std::vector<jet_inputs::Group> used;
    for (const auto &input : model.inputs()) {
        const std::string name = input.get_any_name();
        const auto group = std::find_if(groups.begin(), groups.end(), [&](const auto &g) { return g.name == name; });
        if (group == groups.end()) throw std::runtime_error("preprocess.json has no input " + name + " of the model");
        const auto shape = input.get_partial_shape();  // N x C x P
        const ov::PartialShape filled{-1, static_cast<long>(group->variables.size()), static_cast<long>(group->length)};
        if (!shape.compatible(filled))
            throw std::runtime_error("the model and preprocess.json do not belong together: they differ in " + name);
        used.push_back(*group);
    }
    return used;
}

void print_scores(const ov::Tensor &output, std::size_t jets) {
    const std::size_t width = output.get_size() / output.get_shape()[0];
    const float *scores = output.data<float>();
    for (std::size_t jet = 0; jet < jets; ++jet)
        for (std::size_t i = 0; i < width; ++i)
            std::printf("%.9g%c", scores[jet * width + i], i + 1 < width ? ' ' : '\n');
}

// OpenVINO says first where in its source an exception comes from, and the reason last.
std::string last_line(std::string text) {
    text.erase(text.find_last_not_of(" \n") + 1);
    return text.substr(text.find_last_of('\n') + 1);
}

void tag(const std::string &model_path, const std::string &preprocess_path, const std::string &jets_path) {
    for (const auto &path : {model_path, preprocess_path}) checksums::verify(path);
    ov::Core core;
    const auto model = core.read_model(model_path);
    const auto groups = used_groups(*model, jet_inputs::load(preprocess_path));
    const auto dimension = model->input(0).get_partial_shape()[0];
    const bool fixed = dimension.is_static();  // a model for triggers takes a number of jets and no other
    const std::size_t size = fixed ? dimension.get_length() : batch_size;
    // single precision: processors that can would compute with bfloat16
    auto request = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();

    std::ifstream file(jets_path);
    if (!file) throw std::runtime_error("cannot read " + jets_path);
    const auto names = read_names(file);
    jet_inputs::Jet jet;
    for (bool more = true; more;) {
        std::vector<std::vector<float>> inputs(groups.size());
        std::size_t jets = 0;
        while (jets < size && (more = read_jet(file, names, jet))) {
            for (std::size_t i = 0; i < groups.size(); ++i) {
                const auto values = jet_inputs::fill(groups[i], jet);
                inputs[i].insert(inputs[i].end(), values.begin(), values.end());
            }
            ++jets;
        }
        if (jets == 0) break;
        const std::size_t taken = fixed ? size : jets;
        for (std::size_t i = 0; i < groups.size(); ++i) {
            const std::size_t channels = groups[i].variables.size(), particles = groups[i].length;
            inputs[i].resize(taken * channels * particles);  // a fixed batch is filled up with zeros
            request.set_input_tensor(i, ov::Tensor(ov::element::f32, {taken, channels, particles}, inputs[i].data()));
        }
        request.infer();
        print_scores(request.get_output_tensor(0), jets);
    }
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: tag_jets MODEL.onnx PREPROCESS.json JETS.txt\n");
        return 2;
    }
    try {
        tag(argv[1], argv[2], argv[3]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "tag_jets: %s\n", last_line(error.what()).c_str());
        return 1;
    }
    return 0;
}
