// halo/data.hpp: data sets, record by record or from files.
#ifndef HALO_DATA_HPP
#define HALO_DATA_HPP

#include <cstdint>
#include <string>
#include <string_view>

#include "core.hpp"
#include "loss.hpp"
#include "span.hpp"

namespace halo {

// One completion of one prompt; what each part means says halo_record. It borrows its texts and tokens until it is added.
class record {
public:
  record &id(std::string_view text) noexcept { return put(raw_.id, text); }
  record &prompt(std::string_view text) noexcept { return put(raw_.prompt, text); }
  record &completion(std::string_view text) noexcept { return put(raw_.completion, text); }
  // Instead of text: the prompt, then the completion with its end-of-sequence token.
  record &tokens(span<const std::int32_t> all, std::size_t prompt_tokens) noexcept {
    raw_.tokens = all.data();
    raw_.token_count = all.size();
    raw_.prompt_tokens = prompt_tokens;
    return *this;
  }
  record &old_logps(span<const double> nats) noexcept {
    raw_.old_logps = nats.data();
    raw_.old_logp_count = nats.size();
    return *this;
  }
  // A pair is two records of one group.
  record &group(std::uint64_t number) noexcept { return put(raw_.group, number); }
  // Desirable or chosen; else undesirable or rejected.
  record &label(bool desirable) noexcept { return put(raw_.label, desirable ? 1 : -1); }
  record &score(double reward) noexcept {
    raw_.flags |= HALO_RECORD_SCORE;
    return put(raw_.score, reward);
  }
  record &weight(double factor) noexcept { return put(raw_.weight, factor); }
  record &beta_scale(double factor) noexcept { return put(raw_.beta_scale, factor); }
  const halo_record *get() const noexcept { return &raw_; }

private:
  record &put(halo_str &place, std::string_view text) noexcept {
    place = {text.data(), text.size()};
    return *this;
  }
  template <class T, class Value> record &put(T &place, Value value) noexcept {
    place = static_cast<T>(value);
    return *this;
  }

  halo_record raw_ = init<halo_record>();
};

// Records in their order. What it is attached to shares it: this may go first.
class dataset {
public:
  explicit dataset(handle<halo_dataset> owned) noexcept : handle_(std::move(owned)) {}
  static result<dataset> try_new() { return detail::wrap<dataset>(try_make(halo_dataset_new)); }

  result<void> try_add(const record &one) { return try_call(halo_dataset_add, handle_, one); }
  // One line of JSON, in any shape that a file may have.
  result<void> try_add_json(std::string_view line) {
    return try_call(halo_dataset_add_json, handle_, line.data(), line.size());
  }
  // A JSONL file, plain or gzip; the error's example() is the line at fault.
  result<void> try_load(const std::string &path, const std::string &options_json = {}) {
    return try_call(halo_dataset_load, handle_, path, options_json);
  }
  // JSON: what the data is, its contradictions, and which losses fit it.
  result<std::string> try_diagnose(const std::string &config_json = {}) const {
    return detail::text(try_make(halo_dataset_diagnose, handle_, config_json));
  }
  std::uint64_t count() const noexcept { return halo_dataset_count(handle_.get()); }
  halo_dataset *get() const noexcept { return handle_.get(); }

#if HALO_EXCEPTIONS
  dataset() : dataset(make(halo_dataset_new)) {}
  void add(const record &one) { try_add(one).value(); }
  void add_json(std::string_view line) { try_add_json(line).value(); }
  void load(const std::string &path, const std::string &options_json = {}) { try_load(path, options_json).value(); }
  std::string diagnose(const std::string &config_json = {}) const { return try_diagnose(config_json).value(); }
#endif

private:
  handle<halo_dataset> handle_;
};

} // namespace halo

#endif // HALO_DATA_HPP
