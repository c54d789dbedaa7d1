// Network inputs of a jet, from preprocess.json: standardisation, clipping and padding as in weaver's training.
//
// One header without dependencies, C++17: copy it into a Delphes or CMSSW-style loop. The variables (such as cand_pt_log)
// come from jet_variables.h or from the caller. Measured z0 and dxy (l1trk) must not be smeared.
//
//     const auto groups = jet_inputs::load("preprocess.json");
//     jet_inputs::Jet jet = {{"cand_pt_log", {4.1f, 3.2f}}, ...};        // one number per particle
//     std::vector<float> x = jet_inputs::fill(groups[0], jet);           // C x P, row by row
#pragma once

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace jet_inputs {

// ---- a reader for the subset of JSON that preprocess.json needs ----

struct Json {
    enum class Kind { null, number, string, array, object } kind = Kind::null;
    double number = 0;  // true and false are 1 and 0
    std::string string;
    std::vector<Json> array;
    std::vector<std::pair<std::string, Json>> object;  // in the order of the file

    const Json *find(const std::string &key) const {
        for (const auto &[name, value] : object)
            if (name == key) return &value;
        return nullptr;
    }
    const Json &at(const std::string &key) const {
        if (const Json *value = find(key)) return *value;
        throw std::runtime_error("preprocess.json lacks the key \"" + key + "\"");
    }
};

class JsonReader {
public:
    explicit JsonReader(std::string text) : text_(std::move(text)) {}

    Json read() {
        Json value = read_value();
        if (peek()) fail();
        return value;
    }

private:
    std::string text_;
    std::size_t at_ = 0;

    [[noreturn]] void fail() const {
        throw std::runtime_error("preprocess.json is not JSON, see character " + std::to_string(at_));
    }
    char peek() {  // the next character that is not a space; 0 at the end
        while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
        return at_ < text_.size() ? text_[at_] : '\0';
    }
    bool take(char wanted) {
        if (peek() != wanted) return false;
        ++at_;
        return true;
    }
    void expect(char wanted) {
        if (!take(wanted)) fail();
    }
    bool take_word(const std::string &word) {
        if (text_.compare(at_, word.size(), word) != 0) return false;
        at_ += word.size();
        return true;
    }

    Json read_value() {
        Json value;
        const char first = peek();
        if (first == '{') {
            value.kind = Json::Kind::object;
            expect('{');
            for (bool more = !take('}'); more; more = next('}')) {
                std::string key = read_string();
                expect(':');
                value.object.emplace_back(std::move(key), read_value());
            }
        } else if (first == '[') {
            value.kind = Json::Kind::array;
            expect('[');
            for (bool more = !take(']'); more; more = next(']')) value.array.push_back(read_value());
        } else if (first == '"') {
            value.kind = Json::Kind::string;
            value.string = read_string();
        } else if (take_word("true") || take_word("false")) {
            value.kind = Json::Kind::number;
            value.number = text_[at_ - 2] == 'u';
        } else if (!take_word("null")) {
            value.kind = Json::Kind::number;
            value.number = read_number();
        }
        return value;
    }
    bool next(char end) {  // after an entry: is there another one?
        if (take(end)) return false;
        expect(',');
        return true;
    }
    double read_number() {
        const char *begin = text_.c_str() + at_;
        char *end = nullptr;
        const double number = std::strtod(begin, &end);
        if (end == begin) fail();
        at_ += end - begin;
        return number;
    }
    std::string read_string() {
        expect('"');
        std::string result;
        while (at_ < text_.size() && text_[at_] != '"') {
            if (text_[at_] == '\\' && (++at_ >= text_.size() || text_[at_] == 'u')) fail();
            result += text_[at_++];
        }
        if (at_ == text_.size()) fail();
        ++at_;
        return result;
    }
};

// ---- preprocessing ----

struct Variable {
    std::string name;
    bool standardised;
    float centre, scale, lowest, highest, padding;
};

struct Group {  // an input of the network
    std::string name;
    std::size_t length;  // particles P
    bool wrap;           // true: padded by repeating the particles of the jet; false: padded with a number
    std::vector<Variable> variables;
};

using Jet = std::map<std::string, std::vector<float>>;  // variable -> one number per particle

inline Group read_group(const std::string &name, const Json &json) {
    Group group{name, static_cast<std::size_t>(json.at("var_length").number), false, {}};
    if (group.length == 0) throw std::runtime_error("the input " + name + " is not a list of particles, which is not supported");
    if (const Json *mode = json.find("pad_mode")) group.wrap = mode->string == "wrap";
    for (const Json &variable : json.at("var_names").array) {
        const Json &info = json.at("var_infos").at(variable.string);
        const auto number = [&](const char *key) { return static_cast<float>(info.at(key).number); };
        const bool standardised = number("lower_bound") > -1e31f;  // weaver writes -1e32 for a variable that is not standardised
        group.variables.push_back({variable.string, standardised, number("median"), number("norm_factor"),
                                   number("lower_bound"), number("upper_bound"), number("pad")});
    }
    return group;
}

// The groups of preprocess.json in the order of the network's inputs; std::runtime_error if the file is invalid.
inline std::vector<Group> load(const std::string &path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const Json json = JsonReader(text).read();
    std::vector<Group> groups;
    for (const Json &name : json.at("input_names").array) groups.push_back(read_group(name.string, json.at(name.string)));
    return groups;
}

inline float standardise(const Variable &variable, float value) {
    if (variable.standardised) {
        value = (value - variable.centre) * variable.scale;
        if (value < variable.lowest) value = variable.lowest;
        if (value > variable.highest) value = variable.highest;
    }
    return std::isnan(value) ? 0.0f : value;
}

// One input of the network for one jet: C x P numbers; all particles of the first variable come first.
inline std::vector<float> fill(const Group &group, const Jet &jet) {
    std::vector<float> result;
    result.reserve(group.variables.size() * group.length);
    for (const Variable &variable : group.variables) {
        const auto found = jet.find(variable.name);
        if (found == jet.end()) throw std::runtime_error("the jet lacks the variable " + variable.name);
        const std::vector<float> &values = found->second;
        for (std::size_t i = 0; i < group.length; ++i) {
            if (i < values.size())
                result.push_back(standardise(variable, values[i]));
            else if (!group.wrap)
                result.push_back(variable.padding);
            else
                result.push_back(values.empty() ? 0.0f : standardise(variable, values[i % values.size()]));
        }
    }
    return result;
}

}  // namespace jet_inputs
