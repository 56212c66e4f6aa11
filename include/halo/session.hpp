// halo/session.hpp: models that the engine owns: trained, evaluated, sampled from, saved. Needs a library built with sessions; others
// answer HALO_E_UNSUPPORTED.
#ifndef HALO_SESSION_HPP
#define HALO_SESSION_HPP

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core.hpp"
#include "data.hpp"
#include "loss.hpp"
#include "span.hpp"

namespace halo {

// How a long call is watched and stopped. It may be used for several calls, one at a time; what it was given must live as long.
class run {
public:
  // Told how far the call is; false stops it with HALO_E_CANCELLED.
  using progress_function = std::function<bool(std::string_view phase, std::uint64_t done, std::uint64_t total)>;
  // Gets the text of a generation as it comes, in whole characters.
  using text_function = std::function<bool(std::string_view piece)>;

  // The most optimizer steps of one call.
  run &max_steps(std::uint64_t steps) noexcept {
    max_steps_ = steps;
    return *this;
  }
  run &cancel(const halo::cancel &token) noexcept {
    cancel_ = token.get();
    return *this;
  }
  run &progress(progress_function function) {
    progress_ = std::move(function);
    return *this;
  }
  run &text(text_function function) {
    text_ = std::move(function);
    return *this;
  }

  // For one call of C; `this` is the callbacks' user pointer.
  halo_run raw() noexcept {
    halo_run raw = init<halo_run>();
    raw.max_steps = max_steps_;
    raw.cancel = cancel_;
    if (progress_) raw.progress = on_progress;
    if (text_) raw.text = on_text;
    raw.user = this;
    return raw;
  }
  // What the callbacks threw.
  caught &thrown() noexcept { return thrown_; }

private:
  static std::int32_t on_progress(void *user, const char *phase, std::uint64_t done, std::uint64_t total) {
    run &self = *static_cast<run *>(user);
    return self.thrown_.run([&] { return self.progress_(phase, done, total) ? 0 : 1; });
  }
  static std::int32_t on_text(void *user, const char *text, std::size_t size) {
    run &self = *static_cast<run *>(user);
    return self.thrown_.run([&] { return self.text_({text, size}) ? 0 : 1; });
  }

  std::uint64_t max_steps_ = 0;
  halo_cancel *cancel_ = nullptr;
  progress_function progress_;
  text_function text_;
  caught thrown_;
};

// A model with what it is trained on and with.
class session {
public:
  explicit session(handle<halo_session> owned) noexcept : handle_(std::move(owned)) {}
  // The keys are those of `halo train`'s configuration; model, a folder, must be there.
  static result<session> try_new(const std::string &config_json) {
    return detail::wrap<session>(try_make(halo_session_new, config_json));
  }

  // role: "train" or "eval".
  result<void> try_attach(const std::string &role, const dataset &data) {
    return try_call(halo_session_attach, handle_, role, data);
  }
  result<void> try_train(run &watch) {
    const halo_run raw = watch.raw();
    return try_call(halo_session_train, handle_, &raw);
  }
  result<void> try_evaluate(run &watch) {
    const halo_run raw = watch.raw();
    return try_call(halo_session_evaluate, handle_, &raw);
  }
  result<std::string> try_generate(std::string_view prompt, const std::string &options_json, run &watch) {
    const halo_run raw = watch.raw();
    return detail::text(try_make(halo_session_generate, handle_, prompt.data(), prompt.size(), options_json, &raw));
  }
  // ln p(completion | prompt) of each row, or with HALO_SCORE_TOKENS of each completion token: row i is tokens[offsets[i]] to
  // tokens[offsets[i + 1]], of which the first prompt_tokens[i] are prompt.
  result<void> try_score(span<const std::int64_t> offsets, span<const std::int32_t> prompt_tokens,
                         span<const std::int32_t> tokens, std::uint32_t flags, span<double> logps) {
    if (offsets.size() != prompt_tokens.size() + 1 || static_cast<std::size_t>(offsets.back()) != tokens.size()) {
      return error(HALO_E_SHAPE, "session.offsets", "offsets do not fit prompt_tokens and tokens");
    }
    return try_call(halo_session_score, handle_, prompt_tokens.size(), offsets.data(), prompt_tokens.data(), tokens.data(), flags,
                    logps.data(), logps.size());
  }
  result<std::vector<std::int32_t>> try_tokenize(std::string_view text, std::uint32_t flags = 0) const {
    auto made = try_make(halo_session_tokenize, handle_, text.data(), text.size(), flags);
    if (!made) return made.error();
    const blob bytes(std::move(*made));
    std::vector<std::int32_t> tokens(bytes.size() / sizeof(std::int32_t));
    if (!tokens.empty()) std::memcpy(tokens.data(), bytes.data(), bytes.size());
    return tokens;
  }
  result<void> try_set(const std::string &key, const std::string &value_json) {
    return try_call(halo_session_set, handle_, key, value_json);
  }
  result<std::string> try_metrics() const { return detail::text(try_make(halo_session_metrics, handle_)); }
  result<std::string> try_describe() const { return detail::text(try_make(halo_session_describe, handle_)); }
  result<void> try_save(const std::string &folder) { return try_call(halo_session_save, handle_, folder); }
  result<void> try_load(const std::string &folder) { return try_call(halo_session_load, handle_, folder); }
  // format: "hf" or "peft".
  result<void> try_export(const std::string &folder, const std::string &format) {
    return try_call(halo_session_export, handle_, folder, format);
  }
  halo_session *get() const noexcept { return handle_.get(); }

#if HALO_EXCEPTIONS
  explicit session(const std::string &config_json) : session(try_new(config_json).value()) {}
  void attach(const std::string &role, const dataset &data) { try_attach(role, data).value(); }
  void train(run &watch) { finish(watch, try_train(watch)); }
  void train() {
    run watch;
    train(watch);
  }
  void evaluate(run &watch) { finish(watch, try_evaluate(watch)); }
  void evaluate() {
    run watch;
    evaluate(watch);
  }
  std::string generate(std::string_view prompt, const std::string &options_json, run &watch) {
    auto text = try_generate(prompt, options_json, watch);
    watch.thrown().rethrow();
    return std::move(text).value();
  }
  std::string generate(std::string_view prompt, const std::string &options_json = {}) {
    run watch;
    return generate(prompt, options_json, watch);
  }
  void score(span<const std::int64_t> offsets, span<const std::int32_t> prompt_tokens, span<const std::int32_t> tokens,
             std::uint32_t flags, span<double> logps) {
    try_score(offsets, prompt_tokens, tokens, flags, logps).value();
  }
  std::vector<std::int32_t> tokenize(std::string_view text, std::uint32_t flags = 0) const {
    return try_tokenize(text, flags).value();
  }
  void set(const std::string &key, const std::string &value_json) { try_set(key, value_json).value(); }
  std::string metrics() const { return try_metrics().value(); }
  std::string describe() const { return try_describe().value(); }
  void save(const std::string &folder) { try_save(folder).value(); }
  void load(const std::string &folder) { try_load(folder).value(); }
  void export_to(const std::string &folder, const std::string &format) { try_export(folder, format).value(); }
#endif

private:
#if HALO_EXCEPTIONS
  // What a callback threw goes before what the library says of it.
  static void finish(run &watch, const result<void> &done) {
    watch.thrown().rethrow();
    done.value();
  }
#endif

  handle<halo_session> handle_;
};

} // namespace halo

#endif // HALO_SESSION_HPP
