// A model that the engine owns, from C++: trained on judged answers, watched, stopped, sampled from. The argument is a model's folder.
#include <cstdio>
#include <stdexcept>
#include <string>

#include "halo.hpp"

namespace {

int failures = 0;

void expect(bool holds, const char *what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  failures++;
}

void train(halo::session &session) {
  halo::run run;
  bool told = false;
  run.progress([&told](std::string_view phase, std::uint64_t done, std::uint64_t total) {
    told = told || (phase == "train" && done < total && total == 6);
    return true;
  });
  session.train(run.max_steps(2));
  expect(told, "progress is told, in optimizer steps of the whole run");
  expect(session.metrics().find("\"loss\"") != std::string::npos, "metrics are those of the last step");
}

// However a call is ended, the session goes on.
void stop(halo::session &session) {
  halo::run throwing;
  throwing.progress([](std::string_view, std::uint64_t, std::uint64_t) -> bool { throw std::runtime_error("enough"); });
  try {
    session.train(throwing);
    expect(false, "what a callback throws comes out of the call");
  } catch (const std::runtime_error &error) {
    expect(error.what() == std::string("enough"), "as it was thrown");
  }
  halo::run refusing;
  refusing.progress([](std::string_view, std::uint64_t, std::uint64_t) { return false; });
  const auto refused = session.try_train(refusing);
  expect(!refused && refused.error().code() == HALO_E_CANCELLED, "a callback stops the call");
  const halo::cancel token;
  token.request();
  halo::run cancelled;
  const auto stopped = session.try_train(cancelled.cancel(token));
  expect(!stopped && stopped.error().code() == HALO_E_CANCELLED, "so does a token");
  train(session);
}

void generate(halo::session &session) {
  std::string pieces;
  halo::run run;
  run.text([&pieces](std::string_view piece) {
    pieces += piece;
    return true;
  });
  const std::string text = session.generate("Name an animal.", R"({"max_new_tokens": 8, "seed": 1})", run);
  expect(!text.empty() && pieces == text, "text comes piece by piece");
  const auto tokens = session.tokenize("Name an animal.");
  expect(tokens.size() > 2, "text has tokens");
  double logp = 0.0;
  const std::int64_t offsets[] = {0, static_cast<std::int64_t>(tokens.size())};
  const std::int32_t prompt[] = {1};
  session.score(offsets, prompt, tokens, 0, {&logp, 1});
  expect(logp < 0.0, "and the tokens a probability");
}

} // namespace

int main(int count, char **arguments) try {
  if (count != 2) return 2;
  const std::string config = R"({"loss": "kto", "learning_rate": 1e-3, "per_device_train_batch_size": 4, "max_steps": 6, "model": ")" +
                             std::string(arguments[1]) + "\"}";
  if (halo_feature_has("session") == 0) {
    const auto none = halo::session::try_new(config);
    expect(!none && none.error().code() == HALO_E_UNSUPPORTED, "a library without sessions says so");
    std::puts("session: not in this library");
    return failures;
  }
  halo::session session(config);
  {
    halo::dataset data;
    for (int i = 0; i < 12; i++) {
      const char *prompt = i % 2 == 0 ? "Name an animal." : "Name a tool.";
      const bool dog = i % 3 == 0;
      data.add(halo::record().prompt(prompt).completion(dog ? "dog" : "hammer").label(dog == (i % 2 == 0)));
    }
    session.attach("train", data);
  }
  train(session);
  stop(session);
  generate(session);
  expect(session.describe().find("tensors") != std::string::npos, "a session describes itself");
  std::puts("session: trained, stopped and sampled from");
  return failures;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
