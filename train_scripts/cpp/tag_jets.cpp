// tag_jets MODEL.onnx PREPROCESS.json JETS.txt: print the scores of each jet, one line per jet, with OpenVINO on the CPU.
//
// `python -m kd_trainer variables` writes JETS.txt: one line with the names of the variables, then for each jet one line
// with the number of its particles and one line per particle with its variables.

#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "jet_tagger.h"

namespace {

std::vector<std::string> read_names(std::istream &file) {
    std::string line, name;
    std::getline(file, line);
    std::istringstream words(line);
    std::vector<std::string> names;
    while (words >> name) names.push_back(name);
    return names;
}

float read_float(std::istream &file) {  // operator>> cannot read nan and inf
    std::string word;
    if (!(file >> word)) throw std::runtime_error("the file of jets ends in the middle of a jet");
    char *end = nullptr;
    const float value = std::strtof(word.c_str(), &end);
    if (*end) throw std::runtime_error("the file of jets has '" + word + "' instead of a number");
    return value;
}

bool read_jet(std::istream &file, const std::vector<std::string> &names, jet_inputs::Jet &jet) {
    std::string word;
    if (!(file >> word)) return false;
    if (word.find_first_not_of("0123456789") != std::string::npos)
        throw std::runtime_error("the file of jets has '" + word + "' instead of a number of particles");
    const std::size_t particles = std::stoul(word);
    for (const auto &name : names) jet[name].clear();
    for (std::size_t i = 0; i < particles; ++i)
        for (const auto &name : names) jet[name].push_back(read_float(file));
    return true;
}

// The messages of OpenVINO begin with positions in its source; the last line gives the reason.
std::string last_line(std::string text) {
    text.erase(text.find_last_not_of(" \n") + 1);
    return text.substr(text.find_last_of('\n') + 1);
}

void tag(const std::string &model_path, const std::string &preprocess_path, const std::string &jets_path) {
    jet_inputs::Tagger tagger(model_path, preprocess_path);
    std::ifstream file(jets_path);
    if (!file) throw std::runtime_error("cannot read " + jets_path);
    const auto names = read_names(file);
    for (bool more = true; more;) {
        std::vector<jet_inputs::Jet> jets;
        jet_inputs::Jet jet;
        while (jets.size() < tagger.batch_size() && (more = read_jet(file, names, jet))) jets.push_back(jet);
        for (const auto &scores : tagger(jets))
            for (std::size_t i = 0; i < scores.size(); ++i)
                std::printf("%.9g%c", scores[i], i + 1 < scores.size() ? ' ' : '\n');
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
