// Errors that the worker turns into rows: their kind is the name of a class of its error tree.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace trtbench {

class RunnerError : public std::runtime_error {
  public:
    RunnerError(std::string error_kind, const std::string& message)
        : std::runtime_error(message), kind_(std::move(error_kind)) {}

    [[nodiscard]] const std::string& kind() const { return kind_; }

  private:
    std::string kind_;
};

}  // namespace trtbench
