// A host with a model of its own: trained by halo::drive, in one micro-batch or two, with failures on the way.
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>

#include "bigram.hpp"

namespace {

int failures = 0;

void expect(bool holds, const char *what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  failures++;
}

// A host that fails in one of its forward passes.
class frail : public bigram {
public:
  int fails_at = -1;
  std::int32_t code = 7;
  int forwards = 0, steps = 0;
  std::string last_metrics;

  std::int32_t forward(const halo_work &work, halo::span<double> logps, halo::span<double> collisions) override {
    if (forwards++ == fails_at) {
#if HALO_EXCEPTIONS
      if (code == 0) throw std::runtime_error("the accelerator is gone");
#endif
      return code;
    }
    return bigram::forward(work, logps, collisions);
  }

  std::int32_t stepped(const halo::trainer &trainer) override {
    steps++;
    last_metrics = *trainer.try_metrics();
    return 0;
  }
};

halo::trainer begin(int rows, int accumulate) {
  auto data = halo::dataset::try_new();
  fill(*data);
  auto trainer = halo::trainer::try_new(settings(rows, accumulate));
  expect(bool(trainer), "the settings are accepted");
  expect(bool(trainer->try_attach(*data)), "so are the data, which may go before the trainer");
  return std::move(*trainer);
}

double good_share(const bigram &model) {
  double good = 0.0;
  for (std::size_t before = 0; before < bigram::vocab; before++) {
    good += model.policy[before * bigram::vocab + 3] - model.policy[before * bigram::vocab + 4];
  }
  return good;
}

void results() {
  frail whole, halves, failing, again;
  auto trainer = begin(8, 1);
  expect(bool(halo::try_drive(trainer, whole)), "a run in one micro-batch");
  expect(whole.steps == 6 && whole.last_metrics.find("rewards/chosen") != std::string::npos, "six steps with metrics");
  expect(good_share(whole) > good_share(bigram()) + 1.0, "good answers became likelier than bad ones");

  trainer = begin(4, 2);
  expect(bool(halo::try_drive(trainer, halves)), "a run in two micro-batches");
  expect(distance(whole.policy, halves.policy) < 1e-12, "gives the same weights");

  trainer = begin(8, 1);
  failing.fails_at = 5;
  const auto failed = halo::try_drive(trainer, failing);
  expect(!failed && failed.error().host_code() == 7, "the host's own code is in the error");

  trainer = begin(8, 1);
  again.fails_at = 5;
  again.retries = 1;
  expect(bool(halo::try_drive(trainer, again)), "a step that failed is tried again");
  expect(distance(whole.policy, again.policy) < 1e-12, "and gives the same weights");
}

#if HALO_EXCEPTIONS
void exceptions() {
  frail failing;
  failing.fails_at = 3;
  failing.code = 0;
  auto trainer = begin(8, 1);
  try {
    halo::drive(trainer, failing);
    expect(false, "what the host throws comes out of drive");
  } catch (const std::runtime_error &error) {
    expect(std::strcmp(error.what(), "the accelerator is gone") == 0, "as it was thrown");
  }
  failing.fails_at = -1;
  halo::drive(trainer, failing);
  expect(failing.steps == 6, "and the run goes on where it stood");

  halo::trainer late(settings(8, 1));
  try {
    late.load("{");
    expect(false, "a torn state throws");
  } catch (const halo::error &error) {
    expect(error.code() != HALO_OK, "with its record");
  }
}
#endif

} // namespace

int main() {
  results();
#if HALO_EXCEPTIONS
  exceptions();
  std::puts("drive: with exceptions");
#else
  std::puts("drive: without exceptions");
#endif
  return failures == 0 ? 0 : 1;
}
