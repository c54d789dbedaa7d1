// Scores of jets from an exported model, with OpenVINO on the CPU.
//
//     jet_inputs::Tagger tagger("DIR/model.onnx", "DIR/preprocess.json");
//     std::vector<std::vector<float>> scores = tagger(jets);   // from a vector of jet_inputs::Jet; one row per jet
//
// A model whose checksum differs from that in SHA256SUMS is refused.
#pragma once

#include <algorithm>
#include <openvino/openvino.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "checksums.h"
#include "jet_inputs.h"

namespace jet_inputs {

// The group of each input of the model; exporters drop inputs that the network does not use.
inline std::vector<Group> used_groups(const ov::Model &model, const std::vector<Group> &groups) {
    std::vector<Group> used;
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

class Tagger {
public:
    Tagger(const std::string &model_path, const std::string &preprocess_path) {
        for (const auto &path : {model_path, preprocess_path}) checksums::verify(path);
        ov::Core core;
        const auto model = core.read_model(model_path);
        groups_ = used_groups(*model, load(preprocess_path));
        const auto dimension = model->input(0).get_partial_shape()[0];
        fixed_ = dimension.is_static();  // a static model for triggers takes a fixed number of jets
        if (fixed_) batch_size_ = dimension.get_length();
        // single precision; by default OpenVINO uses bfloat16 on processors that support it
        const auto precise = ov::hint::inference_precision(ov::element::f32);
        request_ = core.compile_model(model, "CPU", precise).create_infer_request();
    }

    std::size_t batch_size() const { return batch_size_; }  // best number of jets per call

    std::vector<std::vector<float>> operator()(const std::vector<Jet> &jets) {
        std::vector<std::vector<float>> scores;
        for (std::size_t start = 0; start < jets.size(); start += batch_size_) {
            const std::size_t number = std::min(batch_size_, jets.size() - start), taken = fixed_ ? batch_size_ : number;
            std::vector<std::vector<float>> inputs;  // must exist until the model has run
            for (std::size_t i = 0; i < groups_.size(); ++i) {
                const std::size_t channels = groups_[i].variables.size(), particles = groups_[i].length;
                std::vector<float> &values = inputs.emplace_back();
                for (std::size_t jet = start; jet < start + number; ++jet) {
                    const auto filled = fill(groups_[i], jets[jet]);
                    values.insert(values.end(), filled.begin(), filled.end());
                }
                values.resize(taken * channels * particles);  // pad a fixed batch with zeros
                request_.set_input_tensor(i, ov::Tensor(ov::element::f32, {taken, channels, particles}, values.data()));
            }
            request_.infer();
            const auto output = request_.get_output_tensor(0);
            const std::size_t width = output.get_size() / taken;
            const float *values = output.data<float>();
            for (std::size_t jet = 0; jet < number; ++jet)
                scores.emplace_back(values + jet * width, values + (jet + 1) * width);
        }
        return scores;
    }

private:
    std::vector<Group> groups_;
    ov::InferRequest request_;
    std::size_t batch_size_ = 256;
    bool fixed_ = false;
};

}  // namespace jet_inputs
