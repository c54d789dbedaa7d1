// candidates PREPROCESS.json TIER < JETS: the network inputs of jets, a line an input, from their candidates.
// JETS: pt eta phi mass vertex_z n of each jet, and n lines of pt eta phi mass charge pid d0 d0_error dz dz_error.

#include <cstdio>
#include <exception>
#include <iostream>

#include "jet_variables.h"

int main(int, char **argv) {
    try {
        const auto groups = jet_inputs::load(argv[1]);
        const auto tier = jet_inputs::tier_of(argv[2]);
        jet_inputs::Axis axis;
        double z;
        std::size_t number;
        while (std::cin >> axis.pt >> axis.eta >> axis.phi >> axis.mass >> z >> number) {
            std::vector<jet_inputs::Candidate> candidates(number);
            for (auto &c : candidates)
                std::cin >> c.pt >> c.eta >> c.phi >> c.mass >> c.charge >> c.pid >> c.d0 >> c.d0_error >> c.dz >> c.dz_error;
            const auto jet = jet_inputs::variables(axis, candidates, z, tier);
            for (const auto &group : groups) {
                for (const float x : jet_inputs::fill(group, jet)) std::printf("%.9g ", x);
                std::printf("\n");
            }
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "candidates: %s\n", error.what());
        return 1;
    }
    return 0;
}
