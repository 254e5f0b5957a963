// Roundings, against values of IEEE 754.
#include <cmath>
#include <limits>

#include "check.h"
#include "convert.h"

using trtbench::to_bfloat;
using trtbench::to_half;

int main() {
    CHECK(to_half(0.0F) == 0x0000 && to_half(-0.0F) == 0x8000);
    CHECK(to_half(1.0F) == 0x3C00 && to_half(-2.0F) == 0xC000);
    CHECK(to_half(65504.0F) == 0x7BFF && to_half(65519.99F) == 0x7BFF && to_half(65520.0F) == 0x7C00);
    CHECK(to_half(std::numeric_limits<float>::infinity()) == 0x7C00);
    CHECK((to_half(std::nanf("")) & 0x7FFF) > 0x7C00);
    CHECK(to_half(1.0F + std::ldexp(1.0F, -11)) == 0x3C00);      // a tie goes to the even one below
    CHECK(to_half(1.0F + 3 * std::ldexp(1.0F, -11)) == 0x3C02);  // and to the even one above
    CHECK(to_half(std::ldexp(1.0F, -14)) == 0x0400);
    CHECK(to_half(std::ldexp(1.0F, -24)) == 0x0001 && to_half(std::ldexp(1.0F, -25)) == 0x0000);
    CHECK(to_half(-3 * std::ldexp(1.0F, -25)) == 0x8002);
    CHECK(to_bfloat(1.0F) == 0x3F80 && to_bfloat(-1.5F) == 0xBFC0);
    CHECK(to_bfloat(1.0F + std::ldexp(1.0F, -8)) == 0x3F80 && to_bfloat(1.0F + 3 * std::ldexp(1.0F, -8)) == 0x3F82);

    const std::int64_t wide = -7;
    std::vector<char> bytes(sizeof(wide));
    std::memcpy(bytes.data(), &wide, sizeof(wide));
    const std::vector<char> narrow = trtbench::converted(bytes, "int64", "int32");
    std::int32_t value = 0;
    CHECK(narrow.size() == sizeof(value));
    std::memcpy(&value, narrow.data(), sizeof(value));
    CHECK(value == -7);
    CHECK(trtbench::converted(bytes, "int64", "int64") == bytes);
    bool refused = false;
    try {
        trtbench::converted(bytes, "int64", "float16");
    } catch (const trtbench::RunnerError& error) {
        refused = error.kind() == "Unsupported";
    }
    CHECK(refused);
    return 0;
}
