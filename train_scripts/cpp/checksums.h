// SHA-256 of a file (FIPS 180-4), and its comparison with the SHA256SUMS that `kd_trainer deploy` writes beside a model.
//
// One header without dependencies, C++17, like jet_inputs.h:
//
//     checksums::verify("DIR/model.onnx");        // std::runtime_error if it is damaged
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

namespace checksums {

// The constants of the standard: the first 32 bits of the fractional part of a root of the n-th prime.
inline std::array<std::uint32_t, 64> constants(double (*root)(double)) {
    std::array<std::uint32_t, 64> result{};
    int prime = 1;
    for (auto &constant : result) {
        for (bool found = false; !found;) {
            ++prime;
            found = true;
            for (int i = 2; i * i <= prime; ++i) found = found && prime % i;
        }
        const double value = root(prime);
        constant = static_cast<std::uint32_t>((value - std::floor(value)) * 4294967296.0);
    }
    return result;
}

inline std::string sha256(std::string text) {
    static const auto cube_roots = constants([](double x) { return std::cbrt(x); });
    static const auto square_roots = constants([](double x) { return std::sqrt(x); });
    const auto turn = [](std::uint32_t x, int n) { return x >> n | x << (32 - n); };
    const std::uint64_t bits = 8 * static_cast<std::uint64_t>(text.size());
    text += '\x80';
    text.append((120 - text.size() % 64) % 64, '\0');
    for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift);
    std::array<std::uint32_t, 8> hash;
    for (int i = 0; i < 8; ++i) hash[i] = square_roots[i];
    for (std::size_t block = 0; block < text.size(); block += 64) {
        std::array<std::uint32_t, 64> w{};
        for (int i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<unsigned char>(text[block + i]);
        for (int i = 16; i < 64; ++i) {
            const std::uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
        }
        auto h = hash;
        for (int i = 0; i < 64; ++i) {
            const std::uint32_t choice = (h[4] & h[5]) ^ (~h[4] & h[6]);
            const std::uint32_t majority = (h[0] & h[1]) ^ (h[0] & h[2]) ^ (h[1] & h[2]);
            const std::uint32_t first =
                h[7] + (turn(h[4], 6) ^ turn(h[4], 11) ^ turn(h[4], 25)) + choice + cube_roots[i] + w[i];
            const std::uint32_t second = (turn(h[0], 2) ^ turn(h[0], 13) ^ turn(h[0], 22)) + majority;
            h = {first + second, h[0], h[1], h[2], h[3] + first, h[4], h[5], h[6]};
        }
        for (int i = 0; i < 8; ++i) hash[i] += h[i];
    }
    std::string result;
    for (const std::uint32_t word : hash) {
        char digits[9];
        std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(word));
        result += digits;
    }
    return result;
}

// A file is not checked if its folder has no SHA256SUMS, or if SHA256SUMS does not contain the file.
inline void verify(const std::string &path) {
    const std::string name = std::filesystem::path(path).filename().string();
    std::ifstream sums(std::filesystem::path(path).replace_filename("SHA256SUMS")), file(path, std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(file)), {});
    for (std::string line; std::getline(sums, line);)
        if (file.is_open() && line.size() > 66 && line.substr(66) == name && line.substr(0, 64) != sha256(content))
            throw std::runtime_error(path + " is damaged or was changed: its SHA-256 is not that in SHA256SUMS beside it");
}

}  // namespace checksums
