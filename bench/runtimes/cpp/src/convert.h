// Values of inputs at the types that an engine takes them in.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "errors.h"

namespace trtbench {

// Rounds to nearest, ties to even, as NumPy does; subnormal and infinite values included.
inline std::uint16_t to_half(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude >= 0x7F800000U) {
        return sign | (magnitude > 0x7F800000U ? 0x7E00U : 0x7C00U);
    }
    if (magnitude >= 0x477FF000U) {  // 65520, which rounds to infinity
        return sign | 0x7C00U;
    }
    if (magnitude < 0x38800000U) {  // below 2^-14: a multiple of 2^-24
        float scaled = 0;
        std::memcpy(&scaled, &magnitude, sizeof(scaled));
        const float rounded = scaled + 0.5F;  // whose unit in the last place is 2^-24
        std::uint32_t result = 0;
        std::memcpy(&result, &rounded, sizeof(result));
        return sign | static_cast<std::uint16_t>(result - 0x3F000000U);
    }
    const std::uint32_t odd = (magnitude >> 13) & 1U;
    return sign | static_cast<std::uint16_t>((magnitude - 0x38000000U + 0xFFFU + odd) >> 13);
}

inline std::uint16_t to_bfloat(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

template <typename From, typename To, typename Convert>
std::vector<char> each(const std::vector<char>& bytes, Convert convert) {
    const std::size_t count = bytes.size() / sizeof(From);
    std::vector<char> result(count * sizeof(To));
    for (std::size_t index = 0; index < count; ++index) {
        From from{};
        std::memcpy(&from, bytes.data() + index * sizeof(From), sizeof(From));
        const To to = convert(from);
        std::memcpy(result.data() + index * sizeof(To), &to, sizeof(To));
    }
    return result;
}

// The values of a tensor as another type. RunnerError for types that are not converted.
inline std::vector<char> converted(const std::vector<char>& bytes, const std::string& from, const std::string& to) {
    if (from == to) {
        return bytes;
    }
    if (from == "float32" && to == "float16") {
        return each<float, std::uint16_t>(bytes, to_half);
    }
    if (from == "float32" && to == "bfloat16") {
        return each<float, std::uint16_t>(bytes, to_bfloat);
    }
    if (from == "int64" && to == "int32") {
        return each<std::int64_t, std::int32_t>(bytes, [](std::int64_t n) { return static_cast<std::int32_t>(n); });
    }
    if (from == "int32" && to == "int64") {
        return each<std::int32_t, std::int64_t>(bytes, [](std::int32_t n) { return static_cast<std::int64_t>(n); });
    }
    throw RunnerError("Unsupported", "the engine takes " + to + ", and the C++ runner converts no " + from + " to it");
}

}  // namespace trtbench
