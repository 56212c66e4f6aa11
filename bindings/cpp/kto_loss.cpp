// KTO from C++: the value of a loss and its gradient, for a host that has log-probabilities and does the rest itself.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "halo.hpp"

int main() try {
  // Four answers, and the same prompts with other prompts' answers, which say how far the policy has moved (z0).
  const std::vector<double> logp = {-20.0, -18.0, -31.5, -9.0, -40.0, -38.0, -52.0, -41.5};
  const std::vector<double> ref_logp = {-22.0, -17.0, -30.0, -9.5, -41.0, -38.5, -51.0, -43.0};
  const std::vector<std::int8_t> label = {1, -1, 1, -1, 1, -1, 1, -1};
  const std::vector<std::uint8_t> role = {0, 0, 0, 0, 1, 1, 1, 1};

  halo::version_check();
  const halo::loss kto("kto", R"({"beta": 0.1})");
  halo::refpoint point(kto);
  halo::batch<double> batch;
  batch.label(label).role(role).logp(logp).ref_logp(ref_logp);

  std::vector<double> sums(point.width()), gradient(batch.rows());
  point.accumulate(batch, sums);
  // With several ranks: add `sums` over them here, once a step.
  const halo_refpoint_value z0 = point.finish(sums);
  const double value = kto.evaluate(batch.common_refpoint(z0.value), gradient);

  std::printf("z0 = %.12g\nloss = %.12g\n", z0.value, value);
  for (int i = 0; i < 4; i++) std::printf("d loss / d logp[%d] = %.12g\n", i, gradient[static_cast<std::size_t>(i)]);
} catch (const halo::error &error) {
  std::fprintf(stderr, "%s: %s\n", error.site(), error.what());
  return error.code();
}
