// What goes wrong is told: with exceptions, with results, and in a program that was built with -fno-exceptions.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "halo.hpp"

namespace {

int failures = 0;

void expect(bool holds, const char *what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  failures++;
}

// The third row is at fault.
const std::vector<double> poisoned = {-20.0, -18.0, std::numeric_limits<double>::quiet_NaN(), -9.0};
const std::vector<double> ref_logp = {-22.0, -17.0, -30.0, -9.5};
const std::vector<std::int8_t> label = {1, -1, 1, -1};

void results() {
  const auto unknown = halo::loss::try_new("kt0");
  expect(!unknown && unknown.error().code() == HALO_E_NOT_FOUND, "an unknown name is not found");
  expect(std::strstr(unknown.error().what(), "kto") != nullptr, "the message names the nearest");
  expect(unknown.error().argument() == 0, "the name is the argument at fault");

  const auto negative = halo::loss::try_new("kto", R"({"beta": -1})");
  expect(!negative && negative.error().code() == HALO_E_INVALID_ARGUMENT, "beta = -1 is refused");
  expect(std::strstr(negative.error().site(), "beta") != nullptr, "the site names the parameter");

  auto kto = halo::loss::try_new("kto");
  expect(bool(kto), "kto is there");
  halo::batch<double> batch;
  batch.label(label).logp(poisoned).ref_logp(ref_logp);
  std::vector<double> gradient(4, 7.0);
  const auto nan = kto->try_evaluate(batch, gradient);
  expect(!nan && nan.error().code() == HALO_E_NONFINITE && nan.error().example() == 2, "NaN is refused with its row");
  expect(gradient == std::vector<double>(4, 7.0), "nothing was written");

  // Lengths are the wrapper's matter: C sees pointers only.
  const std::vector<double> three = {-1.0, -2.0, -3.0};
  const auto uneven = kto->try_evaluate(halo::batch<double>().label(label).logp(three).ref_logp(ref_logp), gradient);
  expect(!uneven && std::string(uneven.error().site()) == "batch.logp", "a short column is named");
  halo::batch<double> never;
  never.label(label).logp(three);
  halo_loss_result raw = halo::init<halo_loss_result>();
  const auto refused = halo::try_call(halo_loss_evaluate, *kto, never, &raw);
  expect(!refused && refused.error().code() == HALO_E_ABI, "nor does C read it");
  std::vector<double> places(3);
  batch.logp(ref_logp);
  expect(!kto->try_evaluate(batch, places), "too few places are refused");
  expect(bool(kto->try_evaluate(batch, gradient)) && gradient[0] < 0.0, "the same batch, mended, is evaluated");

  // Any function of C, by its own name.
  auto made = halo::try_make(halo_refpoint_of_loss, *kto);
  expect(made && halo_refpoint_width(made->get(), 0) > 0, "a handle by the function that makes it");
  auto none = halo::refpoint::try_of(*halo::loss::try_new("dpo"));
  expect(!none && none.error().code() == HALO_E_NOT_FOUND, "dpo has no reference point");
  expect(bool(halo::try_version_check()), "header and library fit");
}

void state() {
  auto kto = halo::loss::try_new("kto", R"({"reference_point": "ema"})");
  expect(bool(kto), "kto with a moving average");
  auto point = halo::refpoint::try_of(*kto);
  std::vector<float> logp = {-20.0F, -18.0F}, ref = {-22.0F, -19.0F};
  halo::batch<float> rows;
  rows.label(halo::span<const std::int8_t>(label.data(), 2)).logp(logp).ref_logp(ref);
  std::vector<double> sums(point->width());
  expect(bool(point->try_accumulate(rows, sums)) && bool(point->try_finish(sums)), "a step");
  auto saved = point->try_save();
  auto other = halo::refpoint::try_of(*kto);
  expect(bool(other->try_load(saved->text())), "what was saved is loaded");
  expect(other->try_save()->str() == saved->str(), "and saved again as it was");
  expect(other->try_load("{").error().code() == HALO_E_FORMAT, "a torn state is refused");

  auto stop = halo::cancel::try_new();
  std::thread([&stop] { stop->request(); }).join();
  stop->reset();

  std::vector<double> metrics(kto->metric_count()), gradient(2);
  std::vector<float> d_logp(2), reward(2);
  const auto value = kto->try_evaluate(
      rows, halo::outputs<float>().d_logp(d_logp).row_reward(reward).metric_sums(metrics));
  expect(bool(value) && reward[0] > 0.19F && reward[0] < 0.21F, "rewards are beta times the log-ratio");
  expect(kto->try_summarize(metrics)->find("rewards/chosen") != std::string::npos, "metrics have TRL's names");
  expect(kto->try_describe()->find("\"kto\"") != std::string::npos, "the loss describes itself");
}

void data() {
  auto set = halo::dataset::try_new();
  const std::vector<std::int32_t> tokens = {5, 6, 7, 2};
  expect(bool(set->try_add(halo::record().tokens(tokens, 2).label(true))), "a record of tokens");
  const auto beyond = set->try_add(halo::record().tokens(tokens, 5).label(false));
  expect(!beyond && beyond.error().argument() == 1, "more prompt than tokens is refused");
  expect(set->count() == 1, "what was refused was not added");
}

#if HALO_EXCEPTIONS
void exceptions() {
  try {
    halo::loss("kt0");
    expect(false, "an unknown name throws");
  } catch (const halo::error &error) {
    expect(error.code() == HALO_E_NOT_FOUND, "what is thrown is the record");
  }
  try {
    halo::call(halo_version_check, HALO_ABI_VERSION + (1U << 16));
    expect(false, "another major throws");
  } catch (const std::exception &error) {
    expect(*error.what() != '\0', "and is a std::exception");
  }
  const halo::handle<halo_blob> json = halo::make(halo_loss_describe, halo::loss("kto"));
  expect(json != nullptr, "make gives the handle");
}
#endif

} // namespace

int main() {
  results();
  state();
  data();
#if HALO_EXCEPTIONS
  exceptions();
  std::puts("errors: with exceptions");
#else
  std::puts("errors: without exceptions");
#endif
  return failures == 0 ? 0 : 1;
}
