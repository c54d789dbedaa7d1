// ROOT macro that writes the scores of jets in a Delphes file: `tag DIR events.root` without Python (docs/howto/cpp.md).
//
//     root -l -b -q 'train_scripts/cpp/analyze.C("events.root", "scored.root", "DIR", "full", "JetPUPPIAK8")'
//
// The output has one entry per event, with vectors jet_pt, jet_probs_<i>, jet_hidneurons_<i> as that of Sophon's
// analyser. The macro needs OpenVINO, but not Delphes: it reads branches by name, and finds constituents by their ids.

#include <TError.h>
#include <TFile.h>
#include <TRefArray.h>
#include <TSystem.h>
#include <TTree.h>
#include <TTreeReader.h>
#include <TTreeReaderArray.h>

#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "jet_tagger.h"
#include "jet_variables.h"

int analyze(const std::string &input, const std::string &output, const std::string &folder,
            const std::string &tier_name = "full", const std::string &jets = "JetPUPPIAK8", unsigned classes = 188) {
    try {
        gErrorIgnoreLevel = kError;  // no warnings about missing Delphes classes
        TFile file(input.c_str());
        if (file.TestBit(TFile::kRecovered)) throw std::runtime_error(input + " is truncated or was not closed");
        const auto events = file.Get<TTree>("Delphes");
        if (!events) throw std::runtime_error(input + " cannot be read or has no tree Delphes");
        for (const std::string name : {jets, std::string("ParticleFlowCandidate"), std::string("Vertex")})
            if (!events->GetBranch(name.c_str())) throw std::runtime_error(input + " has no " + name);
        jet_inputs::Tagger tagger(folder + "/model.onnx", folder + "/preprocess.json");
        const auto tier = jet_inputs::tier_of(tier_name);
        const std::size_t width = tagger({jet_inputs::variables({1, 0, 0, 0}, {}, 0, tier)})[0].size();

        TTreeReader reader("Delphes", &file);
        const std::string particle = "ParticleFlowCandidate.", jet = jets + ".";
        using Floats = TTreeReaderArray<float>;
        using Ints = TTreeReaderArray<int>;
        TTreeReaderArray<UInt_t> id(reader, (particle + "fUniqueID").c_str());
        Floats pt(reader, (particle + "PT").c_str()), eta(reader, (particle + "Eta").c_str());
        Floats phi(reader, (particle + "Phi").c_str()), mass(reader, (particle + "Mass").c_str());
        Ints charge(reader, (particle + "Charge").c_str()), pid(reader, (particle + "PID").c_str());
        Floats d0(reader, (particle + "D0").c_str()), d0_error(reader, (particle + "ErrorD0").c_str());
        Floats dz(reader, (particle + "DZ").c_str()), dz_error(reader, (particle + "ErrorDZ").c_str());
        Floats jet_pt(reader, (jet + "PT").c_str()), jet_eta(reader, (jet + "Eta").c_str());
        Floats jet_phi(reader, (jet + "Phi").c_str()), jet_mass(reader, (jet + "Mass").c_str());
        TTreeReaderArray<TRefArray> constituents(reader, (jet + "Constituents").c_str());
        Floats vertex_z(reader, "Vertex.Z");

        const std::string unfinished = output + ".unfinished";
        TFile target(unfinished.c_str(), "RECREATE");
        if (target.IsZombie()) throw std::runtime_error(output + " cannot be written");
        TTree tree("tree", "tree");
        std::vector<std::vector<float>> columns(1 + width);
        for (unsigned i = 0; i < columns.size(); ++i) {
            const bool score = i <= classes;
            const unsigned number = i - 1 - (score ? 0 : classes);
            const std::string name = (score ? "jet_probs_" : "jet_hidneurons_") + std::to_string(number);
            tree.Branch(i ? name.c_str() : "jet_pt", &columns[i]);
        }
        while (reader.Next()) {
            for (auto &column : columns) column.clear();
            std::map<unsigned, std::size_t> places;
            for (std::size_t i = 0; i < id.GetSize(); ++i) places[id[i] & 0xffffff] = i;
            std::vector<jet_inputs::Jet> inputs;
            for (std::size_t j = 0; j < jet_pt.GetSize(); ++j) {
                std::vector<jet_inputs::Candidate> candidates;
                for (int k = 0; k < constituents[j].GetEntriesFast(); ++k) {
                    const auto found = places.find(constituents[j].GetUID(k) & 0xffffff);
                    if (found == places.end())
                        throw std::runtime_error(jets + " has constituents that are not in ParticleFlowCandidate");
                    const std::size_t i = found->second;
                    candidates.push_back({pt[i], eta[i], phi[i], mass[i], charge[i], pid[i], d0[i], d0_error[i], dz[i],
                                          dz_error[i]});
                }
                const jet_inputs::Axis axis{jet_pt[j], jet_eta[j], jet_phi[j], jet_mass[j]};
                inputs.push_back(jet_inputs::variables(axis, candidates, vertex_z.GetSize() ? vertex_z[0] : 0, tier));
                columns[0].push_back(jet_pt[j]);
            }
            for (const auto &scores : tagger(inputs))
                for (unsigned i = 0; i < width; ++i) columns[1 + i].push_back(scores[i]);
            tree.Fill();
        }
        if (tree.GetEntries() != events->GetEntries()) throw std::runtime_error(input + " cannot be read whole");
        tree.Write();
        std::printf("%s: %lld events\n", output.c_str(), tree.GetEntries());
        target.Close();
        gSystem->Rename(unfinished.c_str(), output.c_str());
    } catch (const std::exception &error) {
        gSystem->Unlink((output + ".unfinished").c_str());
        std::fprintf(stderr, "analyze: %s\n", error.what());
        return 1;
    }
    return 0;
}
