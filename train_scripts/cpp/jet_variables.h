// Variables of a jet from its candidates, with the formulas of the data configs of JetClass and JetClass-II.
//
// One header that needs jet_inputs.h, C++17. It computes the same as `convert delphes` and `tag` in Python:
//
//     jet_inputs::Axis axis{jet.PT, jet.Eta, jet.Phi, jet.Mass};
//     std::vector<jet_inputs::Candidate> candidates = {{pt, eta, phi, mass, charge, pid, d0, d0err, dz, dzerr}, ...};
//     const auto jet = jet_inputs::variables(axis, candidates, vertex_z, jet_inputs::Tier::full);
//     std::vector<float> x = jet_inputs::fill(groups[0], jet);
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "jet_inputs.h"

namespace jet_inputs {

struct Candidate {
    double pt, eta, phi, mass;  // GeV
    int charge, pid;            // PDG code; 0 for a neutral hadron
    double d0, d0_error, dz, dz_error;  // mm, 0 for neutrals; d0 with the sign of Delphes, dz from the origin
};

struct Axis {
    double pt, eta, phi, mass;  // GeV; of the jet
};

enum class Tier { full, hlt, l1 };  // inputs of a network; those of kin and kinpid are a part of full

inline Tier tier_of(const std::string &name) {
    if (name == "full" || name == "kinpid" || name == "kin") return Tier::full;
    if (name == "hlt") return Tier::hlt;
    if (name == "l1") return Tier::l1;
    throw std::runtime_error("no variables for the tier " + name + "; valid are full, kinpid, kin, hlt, l1");
}

constexpr double pi = 3.14159265358979323846;

inline double wrap(double angle) {  // to [-pi, pi)
    return angle - 2 * pi * std::floor((angle + pi) / (2 * pi));
}

// Create all lists, so that a jet without particles also has them.
inline void add_lists(Jet &jet, const std::string &prefix) {
    for (const char *name :
         {"px", "py", "pz", "energy", "pt", "eta", "phi", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "d0", "dz",
          "charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon", "mask", "px_scale", "py_scale",
          "pz_scale", "energy_scale", "pt_log", "e_log", "pt_scale_log", "e_scale_log", "logptrel", "logerel", "deltaR"})
        jet[prefix + name];
}

// Variables of all tiers, from the momenta, the directions and the jet that the tier sees.
inline void add_relative(Jet &jet, const std::string &prefix, float jet_pt, float jet_energy) {
    const auto of = [&](const char *name) -> std::vector<float> & { return jet[prefix + name]; };
    for (const char *name : {"px", "py", "pz", "energy"})
        for (const float x : of(name)) jet[prefix + name + "_scale"].push_back(x * 500 / jet_pt);
    for (std::size_t i = 0; i < of("px").size(); ++i) {
        const float pt = of("pt")[i], energy = of("energy")[i];
        of("mask").push_back(1);
        of("pt_log").push_back(std::log(pt));
        of("e_log").push_back(std::log(energy));
        of("pt_scale_log").push_back(std::log(pt * 500 / jet_pt));
        of("e_scale_log").push_back(std::log(of("energy_scale")[i]));
        of("logptrel").push_back(std::log(pt / jet_pt));
        of("logerel").push_back(std::log(energy / jet_energy));
        of("deltaR").push_back(std::hypot(of("deta")[i], of("dphi")[i]));
    }
}

// Variables of the tiers hlt and l1: the hardest candidates of full, relative to the sum of these candidates.
inline void add_kept(Jet &jet, Tier tier) {
    const bool grid = tier == Tier::l1;  // pT in steps of 0.25 GeV, eta and phi in steps of pi/720, no mass
    const auto part = [&](const char *name) -> const std::vector<float> & { return jet["part_" + std::string(name)]; };
    const auto cand = [&](const char *name) -> std::vector<float> & { return jet["cand_" + std::string(name)]; };
    const auto round = [](float x) { return std::nearbyint(x); };
    const float step = static_cast<float>(720 / pi);
    std::vector<float> pts = part("pt");
    if (grid)
        for (float &pt : pts) pt = round(pt * 4) / 4;
    std::vector<std::size_t> kept(pts.size());
    std::iota(kept.begin(), kept.end(), 0);
    std::stable_sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) { return pts[a] > pts[b]; });
    const auto low = [&](std::size_t i) { return !(pts[i] > (grid ? 2 : 1)); };
    kept.erase(std::remove_if(kept.begin(), kept.end(), low), kept.end());
    kept.resize(std::min<std::size_t>(kept.size(), grid ? 16 : 64));
    add_lists(jet, "cand_");
    std::vector<double> sum(4, 0.0);
    for (const std::size_t i : kept) {
        const float pt = pts[i];
        float eta = std::asinh(part("pz")[i] / part("pt")[i]), phi = std::atan2(part("py")[i], part("px")[i]);
        std::vector<float> p = {part("px")[i], part("py")[i], part("pz")[i], part("energy")[i]};
        if (grid) {
            eta = round(eta * step) / step;
            phi = round(phi * step) / step;
            p = {pt * std::cos(phi), pt * std::sin(phi), pt * std::sinh(eta), pt * std::cosh(eta)};
        }
        const char *const momentum[] = {"px", "py", "pz", "energy"};
        for (int x = 0; x < 4; ++x) {
            cand(momentum[x]).push_back(p[x]);
            sum[x] += p[x];
        }
        cand("pt").push_back(pt);
        cand("eta").push_back(eta);
        cand("phi").push_back(phi);
        for (const char *name : {"charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"})
            cand(name).push_back(part(name)[i]);
    }
    const double pt = std::hypot(sum[0], sum[1]), eta = std::asinh(sum[2] / pt), phi = std::atan2(sum[1], sum[0]);
    for (std::size_t i = 0; i < kept.size(); ++i) {
        cand("deta").push_back(static_cast<float>((cand("eta")[i] - eta) * (eta < 0 ? -1 : 1)));
        cand("dphi").push_back(static_cast<float>(wrap(cand("phi")[i] - phi)));
    }
    add_relative(jet, "cand_", static_cast<float>(pt), static_cast<float>(sum[3]));
}

// All variables of a jet: those in the files of JetClass-II (part_px, ..., part_isMuon) and those derived from them.
// `vertex_z` is the position of the hard collision along the beam in mm. Candidates can be in any order.
inline Jet variables(const Axis &axis, std::vector<Candidate> candidates, double vertex_z, Tier tier) {
    const auto out = [](const Candidate &c) {
        return c.pt <= 0 || std::abs(c.pt * std::sinh(c.eta)) > 10000 || std::abs(c.eta) > 5;
    };
    candidates.erase(std::remove_if(candidates.begin(), candidates.end(), out), candidates.end());
    const auto harder = [](const Candidate &a, const Candidate &b) { return a.pt > b.pt; };
    std::stable_sort(candidates.begin(), candidates.end(), harder);
    Jet jet;
    add_lists(jet, "part_");
    for (const Candidate &c : candidates) {
        const auto add = [&](const std::string &name, double x) { jet["part_" + name].push_back(static_cast<float>(x)); };
        const float px = static_cast<float>(c.pt * std::cos(c.phi)), py = static_cast<float>(c.pt * std::sin(c.phi));
        const double dz = c.dz != 0 ? c.dz - vertex_z : 0;
        const int kind = std::abs(c.pid);
        add("px", px);
        add("py", py);
        add("pz", c.pt * std::sinh(c.eta));
        add("energy", std::hypot(c.pt * std::cosh(c.eta), c.mass));
        add("pt", std::hypot(px, py));
        add("deta", (c.eta - axis.eta) * (axis.eta > 0 ? 1 : -1));
        add("dphi", wrap(c.phi - axis.phi));
        add("d0val", c.d0);
        add("d0err", c.d0_error);
        add("dzval", dz);
        add("dzerr", c.dz_error);
        add("d0", std::tanh(c.d0));
        add("dz", std::tanh(dz));
        add("charge", c.charge);
        add("isElectron", kind == 11);
        add("isMuon", kind == 13);
        add("isPhoton", kind == 22);
        add("isChargedHadron", c.charge != 0 && kind != 11 && kind != 13);
        add("isNeutralHadron", c.charge == 0 && kind != 22);
    }
    const double energy = std::hypot(axis.pt * std::cosh(axis.eta), axis.mass);
    add_relative(jet, "part_", static_cast<float>(axis.pt), static_cast<float>(energy));
    if (tier != Tier::full) add_kept(jet, tier);
    return jet;
}

}  // namespace jet_inputs
