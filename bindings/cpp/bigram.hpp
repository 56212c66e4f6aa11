// A model that a page holds: ln p(token | the token before) from a table of logits. What hosts do, with nothing else around it.
#ifndef BIGRAM_HPP
#define BIGRAM_HPP

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "halo.hpp"

class bigram : public halo::host {
public:
  static constexpr std::size_t vocab = 7;
  std::vector<double> policy = std::vector<double>(vocab * vocab), reference;
  // Adds over the ranks, in place; one rank needs none.
  std::function<std::int32_t(halo::span<double>)> sum;

  bigram() {
    for (std::size_t i = 0; i < policy.size(); i++) policy[i] = static_cast<double>(i * 37 % 11) / 10.0;
    reference = policy;
    // So that the policy has moved already, and the reference point is not zero.
    for (std::size_t i = 0; i < policy.size(); i++) policy[i] += static_cast<double>(i * 53 % 13) / 10.0;
  }

  std::int32_t forward(const halo_work &work, halo::span<double> logps, halo::span<double>) override {
    if ((work.flags & HALO_WORK_TOKENS) != 0) return 1;
    const auto &table = (work.flags & HALO_WORK_REFERENCE) != 0 ? reference : policy;
    for (std::size_t row = 0; row < work.rows; row++) {
      scored(work, row, [&](std::size_t before, std::size_t token) {
        logps[row] += table[before * vocab + token] - std::log(total(table, before));
      });
    }
    return 0;
  }

  std::int32_t backward(const halo_work &work, halo::span<const double> seeds) override {
    for (std::size_t row = 0; row < work.grad_rows; row++) {
      scored(work, row, [&](std::size_t before, std::size_t token) {
        for (std::size_t other = 0; other < vocab; other++) {
          const double p = std::exp(policy[before * vocab + other]) / total(policy, before);
          gradient_[before * vocab + other] += seeds[row] * ((other == token ? 1.0 : 0.0) - p);
        }
      });
    }
    return 0;
  }

  std::int32_t optimizer_step(const halo_work &work, double &grad_norm) override {
    if (const std::int32_t code = reduce(gradient_)) return code;
    for (std::size_t i = 0; i < policy.size(); i++) {
      policy[i] -= work.learning_rate * gradient_[i];
      grad_norm += gradient_[i] * gradient_[i];
    }
    grad_norm = std::sqrt(grad_norm);
    drop();
    return 0;
  }

  std::int32_t reduce(halo::span<double> values) override { return sum ? sum(values) : 0; }

  bool retry(const halo::error &) override {
    drop();
    return retries-- > 0;
  }
  int retries = 0;

private:
  // The tokens behind the prompt, each with the one before.
  template <class Visit> static void scored(const halo_work &work, std::size_t row, Visit visit) {
    const std::int64_t first = work.offsets[row] + std::max(work.prompt_tokens[row], 1);
    for (std::int64_t at = first; at < work.offsets[row + 1]; at++) {
      visit(static_cast<std::size_t>(work.tokens[at - 1]), static_cast<std::size_t>(work.tokens[at]));
    }
  }

  static double total(const std::vector<double> &table, std::size_t before) {
    double sum = 0.0;
    for (std::size_t token = 0; token < vocab; token++) sum += std::exp(table[before * vocab + token]);
    return sum;
  }

  void drop() { std::fill(gradient_.begin(), gradient_.end(), 0.0); }

  std::vector<double> gradient_ = std::vector<double>(vocab * vocab);
};

// Sixteen judged answers: those that end in 3 are good.
inline void fill(halo::dataset &data) {
  for (std::int32_t i = 0; i < 16; i++) {
    const bool good = i % 3 != 0;
    const std::int32_t tokens[] = {i % 7, i / 3 % 7, (i * 5 + 1) % 7, (i * 3 + 2) % 7, good ? 3 : 4};
    if (!data.try_add(halo::record().tokens(tokens, 2).label(good))) std::abort();
  }
}

// Six steps of eight answers each, as many at once as `rows`, on `ranks` ranks.
inline std::string settings(int rows, int accumulate) {
  return R"({"loss": "kto", "loss_parameters": {"beta": 0.5, "desirable_weight": 1.5}, "max_steps": 6, "learning_rate": 4.0,
             "lr_scheduler_type": "linear", "per_device_train_batch_size": )" +
         std::to_string(rows) + R"(, "gradient_accumulation_steps": )" + std::to_string(accumulate) + "}";
}

inline double distance(const std::vector<double> &a, const std::vector<double> &b) {
  double most = 0.0;
  for (std::size_t i = 0; i < a.size(); i++) most = std::fmax(most, std::fabs(a[i] - b[i]));
  return most;
}

#endif // BIGRAM_HPP
